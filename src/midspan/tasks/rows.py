"""Rows of published benchmarks, from a local file or their authors, with their count and hash.

The hash covers the named columns of every row in order, so one benchmark has one hash whatever
file it came from.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midspan.data import files
from midspan.data.columns import Named, named_column
from midspan.data.origins import Origin, download
from midspan.errors import MidspanError

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Published:
    """A benchmark as its authors published it.

    Attributes:
        name: What users call it.
        columns: What every row must have.
        count: Rows of the published split.
        digest: Hash of the published rows, as `Rows.digest`; None where nobody has computed it.
        origin: Where it is published, and its file there; None where a file must be given.
        request: The column of requests or questions, which a user's file may call otherwise.
    """

    name: str
    columns: tuple[str, ...]
    count: int | None = None
    digest: str | None = None
    origin: tuple[Origin, str] | None = None
    request: str = "prompt"


@dataclass(frozen=True)
class Rows:
    """What was read.

    Attributes:
        rows: One mapping a row.
        source: Where they came from.
        digest: First 16 hexadecimal digits of the rows' SHA-256.
        note: How they compare with the published ones.
    """

    rows: tuple[Row, ...]
    source: str
    digest: str
    note: str

    def __str__(self) -> str:
        return f"{self.source}: {len(self.rows)} rows, sha256 {self.digest}, {self.note}"


def read_rows(published: Published, file: Path | None = None, column: Named = None) -> Rows:
    """Rows of a benchmark.

    Args:
        published: Which.
        file: A file that `midspan.data.files` reads; None for the authors' own.
        column: What the file calls its requests, or several names of which it has one; then that
            column is nothing else.

    Raises:
        MidspanError: The data are missing, gated, empty, or lack a column.
    """
    source, named = str(file), None if file is None else column
    if file is None:
        if published.origin is None:
            raise MidspanError(f"{published.name}: give a file, --data {published.name}=FILE")
        source = published.origin[0].page
        file = download(*published.origin)
    rows = files.read_rows(file)
    if own := named_column(rows[0], named, source):
        rows = [_renamed(row, own, published.request) for row in rows]
    for number, row in enumerate(rows, start=1):
        missing = [column for column in published.columns if row.get(column) is None]
        if missing:
            raise MidspanError(
                f"{published.name}: row {number} of {source} has no {', '.join(missing)}; it needs "
                f"the columns {', '.join(published.columns)}"
            )
    digest = _digest(rows, published.columns)
    return Rows(tuple(rows), source, digest, _compare(published, len(rows), digest))


def _renamed(row: Row, own: str, request: str) -> dict[str, Any]:
    others = {name: value for name, value in row.items() if name not in (own, request)}
    return {request: row.get(own), **others}


def _compare(published: Published, count: int, digest: str) -> str:
    if published.count is None:
        return "no published count to compare with"
    if count != published.count:
        return f"not the published {published.count} rows"
    if published.digest is None:
        return "the published count"
    return "as published" if digest == published.digest else "other rows than the published ones"


def _digest(rows: Sequence[Row], columns: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        values = [row[column] for column in columns]
        digest.update(json.dumps(values, ensure_ascii=False, default=str).encode())
    return digest.hexdigest()[:16]
