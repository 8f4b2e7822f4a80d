r"""Tables as LaTeX; they need the packages array, booktabs, longtable and lscape, and T1 fonts.

A table that is too wide for the text gets columns in which words wrap, as shares of ``\linewidth``,
and a page on its side where that is not enough; one that is too high for a page becomes a
``longtable``, which breaks over pages.
"""

import re
from collections.abc import Sequence
from itertools import product
from math import ceil
from typing import NamedTuple

from midspan.report.model import Cell, Table
from midspan.report.tables import as_cell, numeric_columns

_TIE, _BREAK = "\u00a0", "\u200b"
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
    _TIE: "~",
    _BREAK: r"\allowbreak{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
# Two hyphens would become a dash; what pdfLaTeX has no letter for would stop it.
_PATTERN = re.compile(rf"-(?=-)|[{re.escape(''.join(_SPECIAL))}]|[^ -~\u00a1-\u00ff]")
# A number and its unit, and the ends of an interval, stay on one line; names of models need not.
_TIED = re.compile(r"(?<=\d) (?=%)|(?<=,) (?=[^ \]]+\])")
_MINUS = re.compile(r"(?<![A-Za-z0-9])-(?=\d)")
_BREAKABLE = re.compile(r"(?<=[A-Za-z0-9][/+:_=])(?=[A-Za-z./])")

# In points: what a table may fill on the article class's page, upright and turned, the gap on each
# side of a column, and the one above a row.
_WIDTH, _HEIGHT, _TURNED = 345.0, 480.0, 540.0
_GAP, _LEADING = 3.0, 1.5
_LENGTHS = rf"\setlength{{\tabcolsep}}{{{_GAP}pt}}\setlength{{\extrarowheight}}{{{_LEADING}pt}}"


class _Size(NamedTuple):
    """Fonts of a table and of its notes, with the points that a letter and a line take."""

    font: str
    letter: float
    note: str
    note_letter: float
    line: float


_SIZES = (
    _Size(r"\small", 4.8, r"\scriptsize", 4.1, 11.0),
    _Size(r"\footnotesize", 4.4, r"\scriptsize", 4.1, 9.5),
    _Size(r"\scriptsize", 4.1, r"\tiny", 3.5, 8.0),
)


def escape(text: str) -> str:
    """Plain text as LaTeX text, on one line; ``?`` stands for what pdfLaTeX cannot set."""
    return _PATTERN.sub(_sign, _joined(text))


def table_latex(table: Table, name: str) -> str:
    """A table with caption and the label ``tab:<name>``."""
    cells = [[Cell(column) for column in table.columns]]
    cells += [[as_cell(cell) for cell in row] for row in table.rows]
    layout = _fit(cells)
    caption = ". ".join(part.rstrip(".") for part in (table.title, table.caption) if part)
    caption = rf"\caption{{{escape(caption)}.}}\label{{tab:{name}}}"
    columns = "".join(map(_column, numeric_columns(table), layout.shares))
    head, *body = (" & ".join(layout.cell(cell) for cell in row) + r" \\" for row in cells)
    top = [r"\toprule", head, r"\midrule"]
    is_turned = layout.width == _TURNED
    height = sum(_LEADING + layout.size.line * layout.lines(row) for row in cells)
    if is_turned or height > _HEIGHT:
        group = (r"\begin{landscape}", r"\end{landscape}") if is_turned else ("{", "}")
        opening = [group[0], layout.size.font, _LENGTHS, r"\setlength{\LTcapwidth}{\linewidth}"]
        opening += [rf"\begin{{longtable}}{{{columns}}}", caption + r" \\"]
        heads = [*top, r"\endfirsthead", *top, r"\endhead", r"\bottomrule", r"\endfoot"]
        lines = [*opening, *heads, *body, r"\end{longtable}", group[1]]
    else:
        opening = [r"\begin{table}", layout.size.font, _LENGTHS, r"\centering", caption]
        opening += [rf"\begin{{tabular}}{{{columns}}}", *top]
        lines = [*opening, *body, r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


class _Layout(NamedTuple):
    """How a table is set.

    ``width`` is the line's, ``shares`` are each column's part of it (0: what it needs), ``is_tied``
    says whether intervals stay on one line.
    """

    size: _Size
    width: float
    shares: list[float]
    is_tied: bool = True

    def cell(self, cell: Cell) -> str:
        """A cell as LaTeX; where columns wrap, the note has a line of its own."""
        # Braces: a row that begins with a bracket would be read as the option of the break before.
        text = f"{{{escape(cell.text)}}}"
        if not cell.note:
            return text
        note = escape(cell.note) if self.is_tied else escape(cell.note).replace("~", " ")
        between = r"\par" if any(self.shares) else " "
        return f"{text}{between}{{{self.size.note} {note}}}"

    def lines(self, row: Sequence[Cell]) -> int:
        """Lines that a row takes; one of a wrapped column is rarely full."""
        return max(
            sum(ceil(1.2 * width / (share * self.width)) for width in _widths(cell, self.size))
            if share
            else 1
            for cell, share in zip(row, self.shares, strict=True)
        )


def _fit(cells: Sequence[Sequence[Cell]]) -> _Layout:
    """The largest fonts with which a table fits, better on unwrapped lines than in wrapped ones."""
    columns = list(zip(*cells, strict=True))
    gaps = 2 * _GAP * len(columns)
    for size in _SIZES[:2]:
        natural = [max(sum(_widths(cell, size)) for cell in column) for column in columns]
        if sum(natural) + gaps <= _WIDTH:
            return _Layout(size, _WIDTH, [0.0] * len(columns))
    ways = (*((size, True) for size in _SIZES), (_SIZES[-1], False))
    for width, (size, is_tied) in product((_WIDTH, _TURNED), ways):
        least = [max(_longest_word(cell, size, is_tied) for cell in column) for column in columns]
        if sum(least) + gaps <= width:
            break
    wanted = [max(max(_widths(cell, size)) for cell in column) for column in columns]
    missing = [max(0.0, want - have) for want, have in zip(wanted, least, strict=True)]
    spare = min(1.0, max(0.0, width - gaps - sum(least)) / (sum(missing) or 1.0))
    shares = [
        (have + more * spare + 2 * _GAP) / width for have, more in zip(least, missing, strict=True)
    ]
    return _Layout(size, width, shares, is_tied)


def _widths(cell: Cell, size: _Size) -> tuple[float, float]:
    """Points of a cell's text and of its note, with a space before it."""
    note = size.note_letter * (1 + len(cell.note)) if cell.note else 0.0
    return len(cell.text) * size.letter, note


def _longest_word(cell: Cell, size: _Size, is_tied: bool) -> float:
    ends = f"[ {_BREAK}]|(?<=-)" if is_tied else f"[ {_BREAK}{_TIE}]|(?<=-)"
    words, notes = (re.split(ends, _joined(text)) for text in (cell.text, cell.note))
    return max(max(map(len, words)) * size.letter, max(map(len, notes)) * size.note_letter)


def _column(is_number: bool, share: float) -> str:
    if not share:
        return "r" if is_number else "l"
    ragged = r"\raggedleft" if is_number else r"\raggedright"
    return rf">{{{ragged}\arraybackslash}}p{{\dimexpr {share:.3f}\linewidth-2\tabcolsep}}"


def _joined(text: str) -> str:
    """On one line, with ties where it must not break and marks where it may."""
    line = _MINUS.sub("\u2212", " ".join(text.split()))
    return _BREAKABLE.sub(_BREAK, _TIED.sub(_TIE, line))


def _sign(match: re.Match[str]) -> str:
    return "-{}" if match[0] == "-" else _SPECIAL.get(match[0], "?")
