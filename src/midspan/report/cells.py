"""Cells and figures of estimates: a value with its interval and n."""

import math
from collections.abc import Sequence
from typing import Protocol

from midspan.report import Cell, Figure, figures
from midspan.report.model import Tone
from midspan.statistics import Interval

# What is possible: intervals of means end there.
TAU = (-1.0, 1.0)
SHARE = (0.0, 1.0)
COUNT = (0.0, math.inf)


def percent(share: float) -> str:
    """A share in percent, such as ``6.2 %``."""
    return f"{100 * share:.1f} %"


def bounds(low: float, high: float) -> str:
    """Both ends of a share's interval in percent, such as ``[2.9, 12.8]``."""
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


class Rate(Protocol):
    """A rate, and what must stand beside it, such as an `Estimate`."""

    @property
    def percent(self) -> str: ...  # noqa: D102

    @property
    def note(self) -> str: ...  # noqa: D102


def rate_cell(estimate: Rate, tone: Tone = "plain", more: str = "") -> Cell:
    """A rate with its interval and n.

    Args:
        estimate: The rate.
        tone: Whether it is good or bad.
        more: What else stands beside it.
    """
    note = f"{estimate.note}, {more}" if more else estimate.note
    if estimate.percent == "n/a":  # of no trials everything is possible, which says nothing
        note = "n=0"
    return Cell(estimate.percent, note, tone)


def share_cell(interval: Interval) -> Cell:
    """A mean of shares with its interval and n, in percent."""
    if not interval.n:
        return Cell("n/a", "n=0")
    note = f"{bounds(interval.low, interval.high)} n={interval.n}"
    return Cell(percent(interval.mean), note)


def mean_cell(
    interval: Interval | None, within: tuple[float, float] = (-math.inf, math.inf)
) -> Cell:
    """A mean with its interval and n; the interval ends at what is possible."""
    if interval is None or math.isnan(interval.mean):
        return Cell("n/a")
    note = f"n={interval.n}"
    if math.isfinite(interval.low):
        low, high = max(within[0], interval.low), min(within[1], interval.high)
        note = f"[{low:.3g}, {high:.3g}] {note}"
    return Cell(f"{interval.mean:.3g}", note)


def bar_figure(
    title: str, groups: Sequence[str], series: Sequence[figures.Series], ylabel: str,
    caption: str = "", name: str = "",
) -> Figure:  # fmt: skip
    """A figure of bars with its numbers; files are called after the name, or the title."""
    drawn = figures.bars(title, groups, series, ylabel)
    return Figure(title, drawn, caption, name or title, figures.bars_csv(groups, series))


def line_figure(
    title: str, curves: Sequence[figures.Curve], xlabel: str, ylabel: str, caption: str
) -> Figure:
    """A figure of lines with its numbers."""
    drawn = figures.lines(title, curves, xlabel, ylabel)
    return Figure(title, drawn, caption, title, figures.lines_csv(curves))
