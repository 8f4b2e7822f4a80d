r"""Tables as LaTeX; they need the package booktabs and T1 fonts.

Every column is as wide as its longest cell. What a table needs beyond that (wrapped words, smaller
type, a turned page) depends on the document that it is put into, and is left to it.
"""

import re

from midspan.report.model import Cell, Table
from midspan.report.tables import as_cell, numeric_columns

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "\u2013": "--",
    "\u2014": "---",
    "\u2018": "`",
    "\u2019": "'",
    "\u201c": "``",
    "\u201d": "''",
    "\u2212": "$-$",
    "\u2264": r"$\le$",
    "\u2265": r"$\ge$",
    "\u2026": r"\dots{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
# Two hyphens would become a dash; what pdfLaTeX has no letter for would stop it.
_PATTERN = re.compile(rf"-(?=-)|[{re.escape(''.join(_SPECIAL))}]|[^ -~\u00a1-\u00ff]")
_MINUS = re.compile(r"(?<![A-Za-z0-9])-(?=\d)")


def escape(text: str) -> str:
    """Plain text as LaTeX text, on one line; ``?`` stands for what pdfLaTeX cannot set."""
    return _PATTERN.sub(_sign, _MINUS.sub("\u2212", " ".join(text.split())))


def table_latex(table: Table, name: str) -> str:
    """A table with caption and the label ``tab:<name>``."""
    caption = ". ".join(part.rstrip(".") for part in (table.title, table.caption) if part)
    columns = "".join("r" if is_number else "l" for is_number in numeric_columns(table))
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(caption)}.}}\label{{tab:{name}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(_cell(Cell(column)) for column in table.columns) + r" \\",
        r"\midrule",
        *(" & ".join(_cell(as_cell(cell)) for cell in row) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _cell(cell: Cell) -> str:
    """Text and, in small type, the note; braces keep a bracket from being the break's option."""
    note = rf" {{\scriptsize {escape(cell.note)}}}" if cell.note else ""
    return f"{{{escape(cell.text)}}}{note}"


def _sign(match: re.Match[str]) -> str:
    return "-{}" if match[0] == "-" else _SPECIAL.get(match[0], "?")
