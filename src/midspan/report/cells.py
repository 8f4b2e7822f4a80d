"""Cells and figures of estimates: a value with its interval and n."""

import math
from collections.abc import Sequence

from midspan.report import Cell as TableCell
from midspan.report import Figure, figures
from midspan.statistics import Estimate, Interval


def rate_cell(estimate: Estimate) -> TableCell:
    """A rate with its interval and n."""
    return TableCell(estimate.percent, estimate.note)


def mean_cell(interval: Interval | None) -> TableCell:
    """A mean with its interval and n."""
    if interval is None or math.isnan(interval.mean):
        return TableCell("n/a")
    note = f"n={interval.n}"
    if math.isfinite(interval.low):
        note = f"[{interval.low:.3g}, {interval.high:.3g}] {note}"
    return TableCell(f"{interval.mean:.3g}", note)


def line_figure(
    title: str, curves: Sequence[figures.Curve], xlabel: str, ylabel: str, caption: str
) -> Figure:
    """A figure of lines with its numbers."""
    drawn = figures.lines(title, curves, xlabel, ylabel)
    return Figure(title, drawn, caption, title, figures.lines_csv(curves))
