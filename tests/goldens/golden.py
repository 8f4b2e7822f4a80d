"""Golden files: how a run folder becomes a few readable texts, and how two of these differ.

Records are JSON lines; what all records of a run share stands once, in the first line. Report and
tables lose what names the machine, the versions and the time that a run took.
"""

import json
import re
from collections.abc import Iterator
from difflib import ndiff
from pathlib import Path
from typing import Any

# Processors round differently: floats agree to a thousandth, printed ones to their last digit.
RELATIVE, ABSOLUTE = 1e-3, 1e-5
SHARED = "in every record"
_VOLATILE_KEYS = ("seconds",)
_VOLATILE_LINE = re.compile(
    r"^\| (command|version: .*|cpu|cores|gpu|os|source revision) \||seconds a response|^midspan \d"
)
_TABLE_OF_TIMES = re.compile(r"^(\| )?Part( \| |,)Minutes")
_DECIMAL = re.compile(r"\d+\.\d+")


def texts_of(run: Path) -> dict[str, str]:
    """Golden texts of a run folder, by suffix; a study's parts are in its own."""
    files = [run / "records.jsonl", *sorted(run.glob("*/records.jsonl"))]
    records = [row for file in files if file.is_file() for row in _rows(file)]
    texts = {".jsonl": jsonl(records)} if records else {}
    if (run / "report.md").is_file():
        texts[".md"] = _kept_lines((run / "report.md").read_text(encoding="utf-8"))
        tables = sorted(run.glob("*/*.csv"))
        parts = [
            f"# {path.relative_to(run)}\n{path.read_text(encoding='utf-8')}" for path in tables
        ]
        texts[".csv"] = _kept_lines("\n".join(parts))
    return texts


def jsonl(records: list[dict[str, Any]]) -> str:
    """Records as lines, with their common fields in the first."""
    records = [_stable(record) for record in records]
    first = records[0] if len(records) > 1 else {}
    shared = {
        key: value
        for key, value in first.items()
        if all(key in record and record[key] == value for record in records)
    }
    own = [{k: v for k, v in record.items() if k not in shared} for record in records]
    lines = [{SHARED: shared}, *own] if shared else own
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def differences(expected: str, found: str, suffix: str) -> list[str]:
    """One line for each value or line that differs."""
    if suffix == ".jsonl":
        old, new = (_parsed(text) for text in (expected, found))
        if len(old) != len(new):
            return [f"{len(old)} records expected, {len(new)} found"]
        return [
            line
            for number, pair in enumerate(zip(old, new, strict=True), start=1)
            for line in _unequal(*pair, f"record {number}")
        ]
    lines, others = expected.splitlines(), found.splitlines()
    if len(lines) != len(others):
        changed = [line for line in ndiff(lines, others) if line.startswith(("-", "+"))]
        return [f"{len(lines)} lines expected, {len(others)} found", *changed]
    return [
        f"line {number}:\n- {old}\n+ {new}"
        for number, (old, new) in enumerate(zip(lines, others, strict=True), start=1)
        if not _same_line(old, new)
    ]


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _stable(value: Any) -> Any:
    """Without times; floats at the precision at which they are compared."""
    if isinstance(value, dict):
        return {k: _stable(v) for k, v in value.items() if k not in _VOLATILE_KEYS}
    if isinstance(value, list):
        return [_stable(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _kept_lines(text: str) -> str:
    """Without lines that name machine, versions and times, and without tables of times."""
    kept, in_times = [], False
    for line in text.splitlines():
        in_times = bool(line) and (in_times or bool(_TABLE_OF_TIMES.search(line)))
        if not in_times and not _VOLATILE_LINE.search(line):
            kept.append(f"{line}\n")
    return "".join(kept)


def _parsed(text: str) -> list[dict[str, Any]]:
    first, *others = (json.loads(line) for line in text.splitlines())
    return [first[SHARED] | row for row in others] if SHARED in first else [first, *others]


def _unequal(old: Any, new: Any, where: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            if key in old and key in new:
                yield from _unequal(old[key], new[key], f"{where}, {key}")
            else:
                yield f"{where}: {key} only in what was {'expected' if key in old else 'found'}"
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _unequal(one, other, f"{where}[{place}]")
    elif isinstance(old, float) and isinstance(new, float):
        if abs(old - new) > max(RELATIVE * abs(old), ABSOLUTE):
            yield f"{where}: {old} expected, {new} found"
    elif old != new or type(old) is not type(new):
        yield f"{where}: {old!r} expected, {new!r} found"


def _same_line(old: str, new: str) -> bool:
    if old == new:
        return True
    if _DECIMAL.sub("#", old) != _DECIMAL.sub("#", new):
        return False
    pairs = zip(_DECIMAL.findall(old), _DECIMAL.findall(new), strict=True)
    return all(_same_number(*pair) for pair in pairs)


def _same_number(old: str, new: str) -> bool:
    digit = 1.001 * 10.0 ** -min(len(text.partition(".")[2]) for text in (old, new))
    return abs(float(old) - float(new)) <= max(RELATIVE * float(old), digit)
