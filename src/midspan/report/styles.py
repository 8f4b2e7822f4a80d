"""How a model looks: colour, marker, dash and hatch, the same in every figure of a report.

Whoever cannot tell the colours apart has the marker in lines and points, and the hatch in bars.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

Dash = str | tuple[int, tuple[float, ...]]

# Light and dark. Chosen for the largest distance of the closest pair (CIE 1976) under normal
# vision and Machado's protanopia, deuteranopia and tritanopia, at 3 : 1 against the page.
PALETTE = {
    "original": ("#3d434b", "#dfe3e8"),
    "initial": ("#b78900", "#ffd166"),
    "initial-stable": ("#8f2d00", "#e8602c"),
    "mosa": ("#3f93d2", "#7cc4f5"),
    "mosa-stable": ("#00468b", "#6a7bff"),
    "psa": ("#007a55", "#17996a"),
    "extra-1": ("#b8528e", "#e08cbd"),
    "extra-2": ("#8a6d00", "#d6b83a"),
    "extra-3": ("#6a51a3", "#ab97e0"),
    "extra-4": ("#a63d40", "#e58487"),
    "extra-5": ("#1b7f8c", "#56bfcb"),
}
_DASHES: tuple[Dash, ...] = ("-", "--", "-.", ":", (0, (6, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
_NAMED_MARKS = {
    "original": ("o", 0, ""),
    "initial": ("s", 1, "///"),
    "initial-stable": ("D", 2, "\\\\\\"),
    "mosa": ("^", 3, "|||"),
    "mosa-stable": ("v", 4, "xxx"),
    "psa": ("P", 5, "---"),
}
_MARKERS = "Xhp<>*d"
# Lines alone: dots make a figure several times as large.
_HATCHES = ("", "/", "++", "\\", "|", "x", "-")
_EXTRAS = tuple(name for name in PALETTE if name.startswith("extra"))
_NOT_WORD = re.compile(r"\W+")


class Style(NamedTuple):
    """How one model is drawn; ``colour`` is the light one, which stands for both."""

    colour: str
    marker: str
    dash: Dash
    hatch: str


class _Book:
    """Labels that have no style of their own get the next one, once and for all figures."""

    def __init__(self) -> None:
        self._styles: dict[str, Style] = {}
        self._variants: dict[str, int] = {}

    def style(self, label: str) -> Style:
        known = _known(label)
        if known:
            marker, dash, hatch = _NAMED_MARKS[known]
            return Style(PALETTE[known][0], marker, _DASHES[dash], hatch)
        number = len(self._styles)
        return self._styles.setdefault(
            label,
            Style(
                PALETTE[_EXTRAS[number % len(_EXTRAS)]][0],
                _MARKERS[number % len(_MARKERS)],
                _DASHES[number % len(_DASHES)],
                _HATCHES[number % len(_HATCHES)],
            ),
        )

    def variant(self, name: str) -> int:
        return self._variants.setdefault(name, len(self._variants))


_BOOK: ContextVar[_Book | None] = ContextVar("styles of a report", default=None)


@contextmanager
def one_report() -> Iterator[None]:
    """Within the context a label keeps its style; a report within another shares its styles."""
    if _BOOK.get() is not None:
        yield
        return
    token = _BOOK.set(_Book())
    try:
        yield
    finally:
        _BOOK.reset(token)


def style_of(label: str) -> Style:
    """The style of a label: fixed for the known models, else the report's next."""
    book = _BOOK.get()
    return (book if book is not None else _Book()).style(label)


def variant_of(name: str) -> int:
    """Which variant of a model's style belongs to a name, such as a kind of request: 0, 1, ..."""
    book = _BOOK.get()
    return (book if book is not None else _Book()).variant(name)


def dash_of(variant: int) -> Dash:
    """The dash of a variant."""
    return _DASHES[variant % len(_DASHES)]


def css_variables() -> str:
    """The palette as CSS variables, each light and dark."""
    lines = (
        f"  --series-{name}: light-dark({light}, {dark});"
        for name, (light, dark) in PALETTE.items()
    )
    return ":root {\n" + "\n".join(lines) + "\n}\n"


def _known(label: str) -> str:
    """The palette's name of a model: "MOSA (stable)" and "organism:mosa-stable" are mosa-stable."""
    name = _NOT_WORD.sub("-", label.lower()).strip("-")
    if name == "organism":
        return "original"
    name = name.removeprefix("organism-")
    return name if name in _NAMED_MARKS else ""
