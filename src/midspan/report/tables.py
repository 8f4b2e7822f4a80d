"""Tables as CSV text, file names, and which columns hold numbers. Knows nothing of HTML."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

from midspan.report.model import Cell, Table

_NUMBER = re.compile(r"[-+−]?\d[\d,.  ]*(e[-+]?\d+)?\s?(%|s|x|×|GB|MB|h|min|ms)?", re.IGNORECASE)
# With the full-width forms, which some spreadsheets take for the same.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\n", "＝", "＋", "－", "＠")
_SIGNED_NUMBER = re.compile(
    r"[-+](\d[\d,. ]*|\.\d+)(e[-+]?\d+)?[^\S\n]?(%|s|x|h|min|ms)?|-", re.IGNORECASE
)
_BLANK = frozenset({"", "-", "–", "—", "n/a"})


def slug(text: str) -> str:
    """A file name without its extension: lower-case ASCII letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "untitled"


def as_cell(cell: Cell | str) -> Cell:
    """A plain string is a cell without note."""
    return cell if isinstance(cell, Cell) else Cell(cell)


def is_number(text: str) -> bool:
    """Whether a cell's text is a number, with or without a unit."""
    return _NUMBER.fullmatch(text.strip()) is not None


def numeric_columns(table: Table) -> tuple[bool, ...]:
    """For each column, whether all that is filled in is a number, so that it is set flush right."""
    flags = []
    for index in range(len(table.columns)):
        texts = [as_cell(row[index]).text.strip() for row in table.rows]
        filled = [text for text in texts if text not in _BLANK]
        flags.append(bool(filled) and all(map(is_number, filled)))
    return tuple(flags)


def table_csv(table: Table) -> str:
    """The table as CSV; a column with notes is followed by a column ``<name> note``."""
    rows = [[as_cell(cell) for cell in row] for row in table.rows]
    noted = [any(row[index].note for row in rows) for index in range(len(table.columns))]
    header: list[str] = []
    for column, has_note in zip(table.columns, noted, strict=True):
        header += [column, f"{column} note"] if has_note else [column]
    lines: list[list[str]] = []
    for row in rows:
        line: list[str] = []
        for cell, has_note in zip(row, noted, strict=True):
            line += [cell.text, cell.note] if has_note else [cell.text]
        lines.append(line)
    return csv_text(header, lines)


def table_text(table: Table) -> str:
    """The table for a terminal."""
    rows = [[as_cell(cell) for cell in row] for row in table.rows]
    cells = [list(table.columns)]
    cells += [[f"{cell.text} {cell.note}".strip() for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV text with a header, in which a spreadsheet runs nothing.

    A text that a spreadsheet would take for a formula begins with an apostrophe, which it does not
    show (OWASP, CSV Injection); numbers stay as they are.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([_inert(value) for value in row] for row in (header, *rows))
    return buffer.getvalue()


def _inert(value: object) -> object:
    if not isinstance(value, str):
        return value
    # csv would leave a carriage return unquoted, which ends a row for most readers.
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    is_formula = text.startswith(_FORMULA_STARTS) and not _SIGNED_NUMBER.fullmatch(text)
    return f"'{text}" if is_formula else text
