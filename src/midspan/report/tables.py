"""Tables as CSV text, file names, and which columns hold numbers. Knows nothing of HTML."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

from midspan.report.model import Cell, Table, Transcript

_NUMBER = re.compile(r"[-+−]?\d[\d,.  ]*(e[-+]?\d+)?\s?(%|s|x|×|GB|MB|h|min|ms)?", re.IGNORECASE)
# With the full-width forms, which some spreadsheets take for the same.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\n", "＝", "＋", "－", "＠")
_SIGNED_NUMBER = re.compile(
    r"[-+](\d[\d,. ]*|\.\d+)(e[-+]?\d+)?[^\S\n]?(%|s|x|h|min|ms)?|-", re.IGNORECASE
)
_VALUE = r"[-+−]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?"
_RANGE = re.compile(
    rf"(?P<least>{_VALUE})(?: to (?P<most>{_VALUE}))?\s?(?P<unit>%|s|x|×|GB|MB|h|min|ms|)",
    re.IGNORECASE,
)
_NOTED = (
    re.compile(rf"\[(?P<low>{_VALUE}), (?P<high>{_VALUE})\]", re.IGNORECASE),
    re.compile(r"\bn=(?P<n>\d+)"),
    re.compile(rf"\bp=(?P<p>{_VALUE})", re.IGNORECASE),
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
    """The table as CSV, with every number in a cell of its own.

    A column of numbers becomes ``name`` (or ``name least`` and ``name most``, where some go from
    one to another) and, where there are any, ``name unit``, ``name low``, ``name high`` and
    ``name n``; what else its notes say is in ``name note``. An empty field is "not available".
    """
    columns: list[tuple[str, list[str]]] = []
    for index, column in enumerate(table.columns):
        columns += _csv_columns(column, [as_cell(row[index]) for row in table.rows])
    lines = zip(*(values for _, values in columns), strict=True) if table.rows else ()
    return csv_text([name for name, _ in columns], list(lines))


def _csv_columns(name: str, cells: Sequence[Cell]) -> list[tuple[str, list[str]]]:
    texts = [cell.text.strip() for cell in cells]
    filled = [text for text in texts if text not in _BLANK]
    parsed = [_RANGE.fullmatch(text) for text in texts]
    if not filled or any(
        m is None for m, text in zip(parsed, texts, strict=True) if text in filled
    ):
        columns = [(name, [cell.text for cell in cells])]
    else:
        columns = _numbers(name, parsed)
    return columns + _note_columns(name, [cell.note for cell in cells])


def _numbers(name: str, parsed: Sequence[re.Match[str] | None]) -> list[tuple[str, list[str]]]:
    ends = [("", "", "") if m is None else (m["least"], m["most"] or "", m["unit"]) for m in parsed]
    least, most, units = ([_plain(one[part]) for one in ends] for part in range(3))
    columns = [(name, least)]
    if any(most):
        whole = [second or first for first, second in zip(least, most, strict=True)]
        columns = [(f"{name} least", least), (f"{name} most", whole)]
    return [*columns, (f"{name} unit", units)] if any(units) else columns


def _note_columns(name: str, notes: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Interval, n and p in cells of their own, and what is left over."""
    columns = {part: [""] * len(notes) for part in ("low", "high", "n", "p", "note")}
    for row, note in enumerate(notes):
        for pattern in _NOTED:
            if found := pattern.search(note):
                for part, value in found.groupdict().items():
                    columns[part][row] = _plain(value)
                note = note[: found.start()] + note[found.end() :]
        columns["note"][row] = " ".join(note.split()).strip(" ,;")
    return [(f"{name} {part}", values) for part, values in columns.items() if any(values)]


def _plain(number: str) -> str:
    return number.replace(",", "").replace("\N{MINUS SIGN}", "-").removeprefix("+").strip()


def transcripts_csv(transcripts: Iterable[Transcript]) -> str:
    """A line a message."""
    header = ("attack", "model", "behavior", "outcome", "detail", "turn", "role", "text")
    rows = [
        (one.attack, one.model, one.behavior, one.outcome, one.detail, number, turn.role, turn.text)
        for one in transcripts
        for number, turn in enumerate(one.turns, start=1)
    ]
    return csv_text(header, rows)


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
