"""Turns matplotlib's SVG into one that can live inside a page, in light and in dark.

Colours are drawn as marker values and rewritten: ``INK`` becomes ``currentColor``; ``PAPER``
and the series colours become CSS variables whose fallback is the light colour, so that a file on
its own looks right.
"""

import hashlib
import html
import re
from collections.abc import Iterable

INK = "#010203"
PAPER = "#fcfdfe"
_ROOT_STYLE = (
    "font-family: system-ui, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif;"
    " stroke-linejoin: round"
)

_SIZE = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')
_HALF_PAGE = 520  # points
_LONG = re.compile(r"\d+\.\d{3,}")
# "MOSA (stable)" is mosa-stable.
_NOT_WORD = re.compile(r"\W+")

# Okabe and Ito's palette, darkened where needed to reach 3 : 1 against white; hue and lightness
# both differ. These belong to the models that most figures show.
_NAMED = {
    "original": ("original", "#6b7280"),
    "initial": ("initial", "#c98500"),
    "initial-stable": ("initial-stable", "#d55e00"),
    "mosa": ("mosa", "#3f9bd4"),
    "mosa-stable": ("mosa-stable", "#0072b2"),
    "psa": ("psa", "#00875f"),
}
_CYCLE = (
    ("extra-1", "#b8528e"),
    ("extra-2", "#8a6d00"),
    ("extra-3", "#6a51a3"),
    ("extra-4", "#a63d40"),
    ("extra-5", "#1b7f8c"),
)
_VARIABLES = {
    colour: f"var(--series-{name}, {colour})" for name, colour in (*_NAMED.values(), *_CYCLE)
}


def colours(labels: Iterable[str]) -> dict[str, str]:
    """A colour for each label: fixed for the known models, else the next of the cycle."""
    chosen: dict[str, str] = {}
    others = 0
    for label in labels:
        known = _NAMED.get(_NOT_WORD.sub("-", label.lower()).strip("-"))
        if known is None and label not in chosen:
            known = _CYCLE[others % len(_CYCLE)]
            others += 1
        if known is not None:
            chosen[label] = known[1]
    return chosen


def css_colour(colour: str) -> str:
    """The CSS value of a colour from ``colours``, which the page may redefine for dark."""
    return _VARIABLES[colour]


def is_wide(drawing: str) -> bool:
    """Whether a figure needs the whole width of the page."""
    size = _SIZE.search(drawing)
    return size is None or float(size[1]) > _HALF_PAGE


def finish(raw: str, title: str) -> str:
    """Make matplotlib's SVG themable, labelled, scalable, and free of ids that could clash."""
    body = raw[raw.index("<svg") :].strip()
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    for colour, variable in {
        INK: "currentColor",
        PAPER: "var(--paper, #fff)",
        **_VARIABLES,
    }.items():
        body = body.replace(colour, variable)
    # Fonts and joins are said once, on the root: matplotlib's own <style> would reach the page.
    body = re.sub(r"<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r" ?font-family:[^;\"]*;?", "", body)
    body = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", body)
    body = re.sub(r"\s*\n\s*", " ", body).replace("> <", ">\n<")
    # Inside tags only: a tick label such as 0.00125 is text and stays.
    body = re.sub(r"<[^>]*>", lambda tag: _LONG.sub(_shorten, tag[0]), body)
    body = _scope_ids(body, "f" + hashlib.sha256(f"{title}\n{body}".encode()).hexdigest()[:8])
    size = _SIZE.search(body)
    assert size is not None, "matplotlib writes a viewBox"
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        f' viewBox="0 0 {size[1]} {size[2]}" width="100%" role="img"'
        f' style="max-width: {float(size[1]):.0f}pt; {_ROOT_STYLE}"'
        f' aria-label="{html.escape(title)}">\n<title>{html.escape(title)}</title>'
    )
    return re.sub(r"<svg[^>]*>", lambda _: opening, body, count=1) + "\n"


def _shorten(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}"


def _scope_ids(body: str, prefix: str) -> str:
    """Keep only the ids that something refers to, under a prefix that no other figure has."""
    used = set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', body))
    names = {name for pair in used for name in pair if name}

    def rename(match: re.Match[str]) -> str:
        return f' id="{prefix}-{match[1]}"' if match[1] in names else ""

    body = re.sub(r'\sid="([^"]*)"', rename, body)
    body = re.sub(r'href="#([^"]*)"', rf'href="#{prefix}-\1"', body)
    return re.sub(r"url\(#([^)]*)\)", rf"url(#{prefix}-\1)", body)
