"""Rows of the plain formats that data sets come in. What a column means is not known here.

Texts come out whole (`whole_values`); what pandas writes for an empty cell, NaN, comes out as None.
"""

import csv
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from midspan.data.text import whole_values
from midspan.errors import MidspanError
from midspan.files import disk, refusal

Row = dict[str, Any]

# Many-shot prompts are longer than the 131,072 characters that csv takes by default.
_LONGEST_FIELD = 1 << 28
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}

FORMATS = ".txt, .csv, .jsonl, .json or .parquet (the text formats also as .gz or .xz)"
_COMPRESSED: Mapping[str, Callable[..., IO[str]]] = {".gz": gzip.open, ".xz": lzma.open}


def read_rows(path: Path) -> list[Row]:
    """One row a line (.txt, as ``prompt``), record (.csv), object (.jsonl, .json) or .parquet row.

    Raises:
        MidspanError: The file is missing, damaged or of another kind, or holds no row.
    """
    with disk("data: cannot read", path):
        if not path.is_file():
            raise MidspanError(f"data: no file at {path}; give a file: {FORMATS}")
    readers: Mapping[str, Callable[[Path], list[Row]]] = {
        ".txt": _read_lines,
        ".csv": _read_csv,
        ".jsonl": _read_json_lines,
        ".json": _read_json,
        ".parquet": _read_parquet,
    }
    kind = (path.with_suffix("") if path.suffix.lower() in _COMPRESSED else path).suffix.lower()
    if kind not in readers:
        raise MidspanError(f"data: {path} is not {FORMATS}")
    try:
        rows = readers[kind](path)
    except UnicodeDecodeError as error:
        raise MidspanError(f"data: {path} is not UTF-8 text; save it as UTF-8") from error
    except csv.Error as error:
        raise MidspanError(f"data: {path} is not CSV: {error}") from error
    except (gzip.BadGzipFile, EOFError, lzma.LZMAError, zlib.error) as error:
        raise MidspanError(f"data: cannot read {path}: {error}; get the file again") from error
    except OSError as error:
        raise MidspanError(refusal("data: cannot read", path, error)) from error
    if not rows:
        raise MidspanError(f"data: {path} holds no row")
    try:
        return [whole_values(row) for row in rows]
    except RecursionError as error:
        raise MidspanError(f"data: {path} is nested too deeply") from error


def _text_of(path: Path) -> str:
    """The text as it stands in the file, line ends included; a mark of byte order is skipped."""
    opener = _COMPRESSED.get(path.suffix.lower(), open)
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        return file.read()


def _lines(path: Path) -> list[str]:
    """Only line feeds end a line: texts hold other separators, which JSON need not escape."""
    return _text_of(path).split("\n")


def _read_lines(path: Path) -> list[Row]:
    return [{"prompt": line} for line in _lines(path) if line.strip()]


def _read_csv(path: Path) -> list[Row]:
    with _long_fields():
        reader = csv.DictReader(io.StringIO(_text_of(path), newline=""), restkey=None)
        names = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = names
        other = next((mark for mark in _SEPARATORS if len(names) == 1 and mark in names[0]), None)
        if other is not None:
            raise MidspanError(
                f"data: {path} has its columns between {_SEPARATORS[other]}; save it with commas"
            )
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise MidspanError(f"data: {path} has two columns {repeated!r}; rename one of them")
        rows = []
        for row in reader:
            if None in row:
                raise MidspanError(
                    f"data: {path} line {reader.line_num} has more fields than the {len(names)} of "
                    "its header; put fields that hold commas into quotes"
                )
            rows.append(row)
    return rows


@contextmanager
def _long_fields() -> Iterator[None]:
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_json_lines(path: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(_lines(path), start=1):
        if line.strip():
            row = _parsed(line, f"{path} line {number}")
            if not isinstance(row, dict):
                raise MidspanError(f"data: {path} line {number} is not a JSON object")
            rows.append(row)
    return rows


def _parsed(text: str, place: str) -> Any:
    """A JSON value.

    Raises:
        MidspanError: It is none, names a key twice, or is nested too deeply.
    """

    def unique(pairs: list[tuple[str, Any]]) -> Row:
        row = dict(pairs)
        if len(row) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise MidspanError(f"data: {place} names {twice!r} twice; keep one of them")
        return row

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        hint = ""
        if error.pos == len(text.rstrip()) or not text.strip("[{, \n\r\t"):
            hint = "; a file that is written over several lines is .json"
        raise MidspanError(f"data: {place} is not JSON: {error}{hint}") from error
    except ValueError as error:
        if isinstance(error, MidspanError):
            raise
        # A number of more digits than Python reads.
        raise MidspanError(f"data: {place} is not JSON: {error}") from error
    except RecursionError as error:
        raise MidspanError(f"data: {place} is nested too deeply") from error


def _read_json(path: Path) -> list[Row]:
    """A list of objects or of texts, alone or as the only list of an object; or JSON lines."""
    try:
        rows = _parsed(_text_of(path), str(path))
    except MidspanError as error:
        if "Extra data" not in str(error):
            raise
        return _read_json_lines(path)
    if isinstance(rows, dict):
        lists = [value for value in rows.values() if isinstance(value, list)]
        rows = lists[0] if len(lists) == 1 else rows
    if isinstance(rows, list) and all(isinstance(row, str) for row in rows):
        return [{"prompt": text} for text in rows]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise MidspanError(f"data: {path} is not a JSON list of objects or of texts")
    return rows


def _read_parquet(path: Path) -> list[Row]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise MidspanError(f"data: {path} needs pyarrow: pip install 'midspan[data]'") from error
    try:
        return parquet.read_table(path).to_pylist()
    except (ArrowException, ArithmeticError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise MidspanError(f"data: {path} is not Parquet, or is damaged: {reason}") from error
