"""The audit as a badge: an SVG of its own that loads nothing."""

from html import escape

from midspan.studies.audit.schema import Audit, LevelResult
from midspan.studies.hypotheses import FEWEST_CASES

# Widths of Verdana's letters at 11 pixels are near this mean.
_LETTER, _PADDING, _HEIGHT = 6.6, 8, 20
_LEFT = "midspan audit"
# Colours of white text on it, at least 4.5 to 1: by the share that fell at most, in percent.
_COLOURS = ((5.0, "#12694a"), (25.0, "#8a5a00"), (100.0, "#a8361a"))
_TOO_FEW = "#5a6169"
_SHOWN = ("chat", "infill", "sampler")


def badge_svg(audit: Audit) -> str:
    """How much fell at the levels that a service has; the colour is that of the worst of them.

    Grey where there are too few behaviors for a verdict.
    """
    levels = [level for level in audit.levels if level.access in _SHOWN] or [audit.levels[0]]
    text = " · ".join(map(_part, levels)) + f" of {audit.n}"
    worst = 100 * max(level.worst_case.most for level in levels)
    colour = next(colour for limit, colour in _COLOURS if worst <= limit)
    if audit.n < FEWEST_CASES:
        colour = _TOO_FEW
    return _drawn(text, colour, f"{audit.model}: {audit.in_short}")


def _part(level: LevelResult) -> str:
    rate = level.worst_case
    least, most = _percent(rate.least), _percent(rate.most)
    return f"{level.access} {least if least == most else f'{least}-{most}'} %"


def _percent(share: float) -> str:
    """Whole percent; what fell at all is never shown as none."""
    return "<1" if 0 < share < 0.005 else f"{100 * share:.0f}"


def _drawn(text: str, colour: str, title: str) -> str:
    left, right = (round(len(part) * _LETTER + 2 * _PADDING) for part in (_LEFT, text))
    width, half = left + right, _HEIGHT // 2 + 4
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{_HEIGHT}" role="img"'
        f' aria-label="{escape(f"{_LEFT}: {text}")}">\n<title>{escape(title)}</title>\n'
        f'<rect width="{width}" height="{_HEIGHT}" rx="3" fill="{colour}"/>\n'
        f'<path d="M3 0H{left}V{_HEIGHT}H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z" fill="#3b424b"/>\n'
        f'<g fill="#fff" font-family="Verdana, DejaVu Sans, sans-serif" font-size="11">\n'
        f'<text x="{_PADDING}" y="{half}" textLength="{left - 2 * _PADDING}">{_LEFT}</text>\n'
        f'<text x="{left + _PADDING}" y="{half}" textLength="{right - 2 * _PADDING}">'
        f"{escape(text)}</text>\n</g>\n</svg>\n"
    )
