"""Tables of a report as HTML that a notebook can show inside its own page."""

from collections.abc import Iterable
from html import escape

from midspan.report.model import Cell, Table
from midspan.report.redact import withheld
from midspan.report.tables import as_cell, numeric_columns

_TONES = {"good": "color:#12694a", "bad": "color:#a8361a", "muted": "color:#59616b"}


def tables_html(title: str, tables: Iterable[Table], redact: bool = False) -> str:
    """A heading and tables, escaped throughout; text that a model wrote is kept back on request."""
    body = "".join(_table(table, redact) for table in tables)
    return f'<div class="midspan"><p><b>{escape(title)}</b></p>{body}</div>'


def _table(table: Table, redact: bool) -> str:
    numeric = numeric_columns(table)
    head = "".join(
        f'<th style="text-align:{_side(flag)}">{escape(column)}</th>'
        for column, flag in zip(table.columns, numeric, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(
            _cell(as_cell(cell), flag, redact) for cell, flag in zip(row, numeric, strict=True)
        )
        + "</tr>"
        for row in table.rows
    )
    caption = f"<p><small>{escape(table.caption)}</small></p>" if table.caption else ""
    return (
        f"<table><caption>{escape(table.title)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{caption}"
    )


def _cell(cell: Cell, is_number: bool, redact: bool) -> str:
    text = withheld(cell.text) if redact and cell.generated else cell.text
    note = f" <small>{escape(cell.note)}</small>" if cell.note else ""
    style = f"text-align:{_side(is_number)};{_TONES.get(cell.tone, '')}"
    return f'<td style="{style}">{escape(text)}{note}</td>'


def _side(is_number: bool) -> str:
    return "right" if is_number else "left"
