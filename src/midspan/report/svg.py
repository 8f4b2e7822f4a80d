"""Turns matplotlib's SVG into one that can live inside a page, in light and in dark.

Colours are drawn as marker values and rewritten: ``INK`` becomes ``currentColor``; ``PAPER``
and the series colours become CSS variables whose fallback is the light colour, so that a file on
its own looks right.
"""

import hashlib
import html
import re

from midspan.report import styles

INK = "#010203"
PAPER = "#fcfdfe"
_ROOT_STYLE = (
    "font-family: system-ui, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif;"
    " stroke-linejoin: round"
)

_SIZE = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')
_HALF_PAGE = 520  # points
_TOLD = re.compile(r"<desc[^>]*>(.*?)</desc>", re.DOTALL)
_LONG = re.compile(r"\d+\.\d{3,}")
_VARIABLES = {
    light: f"var(--series-{name}, {light})" for name, (light, _) in styles.PALETTE.items()
}


def css_colour(colour: str) -> str:
    """The CSS value of a style's colour, which the page may redefine for dark."""
    return _VARIABLES[colour]


def is_wide(drawing: str) -> bool:
    """Whether a figure needs the whole width of the page."""
    size = _SIZE.search(drawing)
    return size is None or float(size[1]) > _HALF_PAGE


def finish(raw: str, title: str, told: str = "") -> str:
    """Make matplotlib's SVG themable, labelled, scalable, and free of ids that could clash.

    ``told`` says in words what is drawn, for whoever hears the page instead of seeing it.
    """
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
    prefix = "f" + hashlib.sha256(f"{title}\n{body}".encode()).hexdigest()[:8]
    body = _scope_ids(body, prefix)
    size = _SIZE.search(body)
    assert size is not None, "matplotlib writes a viewBox"
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        f' viewBox="0 0 {size[1]} {size[2]}" width="100%" role="img"'
        f' style="max-width: {float(size[1]):.0f}pt; {_ROOT_STYLE}"'
        f' aria-label="{html.escape(title)}" aria-describedby="{prefix}-told">\n'
        f'<title>{html.escape(title)}</title><desc id="{prefix}-told">{html.escape(told)}</desc>'
    )
    return re.sub(r"<svg[^>]*>", lambda _: opening, body, count=1) + "\n"


def description(drawing: str) -> str:
    """What a finished drawing says of itself in words."""
    found = _TOLD.search(drawing)
    return html.unescape(found[1]) if found else ""


def standalone(drawing: str) -> str:
    """The drawing as a file of its own: with its own paper, in the reader's colours.

    Inside a page it has the page's; as an image elsewhere it would be black on black.
    """
    size = _SIZE.search(drawing)
    if size is None:
        return drawing
    paper = f'<rect width="{size[1]}" height="{size[2]}" fill="var(--paper)"/>'
    dark = "".join(f"--series-{name}: {colour}; " for name, (_, colour) in styles.PALETTE.items())
    style = (
        "<style>svg { --paper: #fff; color: #1d2126 } @media (prefers-color-scheme: dark) "
        f"{{ svg {{ --paper: #14171b; color: #e4e6e9; {dark}}} }}</style>"
    )
    return drawing.replace("</desc>", f"</desc>{style}{paper}", 1)


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
