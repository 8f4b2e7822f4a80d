"""The kinds of figure that a report needs: bars, lines, points and differences, with intervals.

All return SVG text for ``Figure.svg``; equal input gives equal bytes. Matplotlib loads with the
first figure, not with this module.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from midspan.report import styles, svg
from midspan.report.drawing import (
    FULL_PAGE,
    HALF_PAGE,
    INCHES_PER_LETTER,
    apart,
    axes_of,
    draw_bars,
    dress,
    is_left_out,
    kept,
    left_out,
    percent_axis,
    running_mean,
    told_rate,
    told_value,
)
from midspan.report.tables import csv_text
from midspan.statistics import Estimate, Interval

__all__ = [
    "Curve", "bars", "bars_csv", "differences", "differences_csv", "kept", "left_out", "lines",
    "lines_csv", "points",
]  # fmt: skip

_MAX_ERROR_BARS = 16
_MAX_MARKERS = 40
_POINT = 6.5  # size of a mark in points
_MOST_TICKS = 8
_LEAST_APART = 0.06  # of the axis; the numbers of nearer ticks would overlap
_MOST_VALUES = 40  # bars with their value above; more would overlap

Series = tuple[str, Sequence[Estimate]]


@dataclass(frozen=True)
class Curve:
    """One line; ``low`` and ``high`` bound its interval, ``smoothing`` is a running-mean window.

    With smoothing above 1 the raw values stay visible, faint, behind the smooth line. ``model``
    gives colour and marker where the label is another (several lines of one model), ``variant``
    what tells these lines apart. ``within`` is what is possible; intervals end there.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    smoothing: int = 1
    model: str = ""
    variant: str = ""
    within: tuple[float, float] = (-math.inf, math.inf)

    def __post_init__(self) -> None:
        bounds = {len(self.low), len(self.high)}
        if len(self.x) != len(self.y) or bounds not in ({0}, {len(self.x)}):
            raise ValueError(f"curve {self.label!r}: x, y, low and high differ in length")
        least, most = self.within
        object.__setattr__(self, "low", [max(least, value) for value in self.low])
        object.__setattr__(self, "high", [min(most, value) for value in self.high])

    @classmethod
    def of_estimates(
        cls, label: str, x: Sequence[float], estimates: Sequence[Estimate], model: str = ""
    ) -> "Curve":
        """Rates in percent over x, with their intervals."""
        return cls.of_shares(label, x, [estimate.interval for estimate in estimates], model)

    @classmethod
    def of_shares(
        cls, label: str, x: Sequence[float], means: Sequence[Interval], model: str = ""
    ) -> "Curve":
        """Means of shares in percent over x, with their intervals."""
        return cls(
            label,
            x,
            [100 * interval.mean for interval in means],
            [100 * interval.low for interval in means],
            [100 * interval.high for interval in means],
            model=model,
            within=(0.0, 100.0),
        )


def bars(
    title: str,
    groups: Sequence[str],
    series: Sequence[Series],
    ylabel: str,
    target: float | None = None,
) -> str:
    """Grouped bars of rates in percent, with intervals and the value above each bar.

    ``target`` draws a dashed line at that percentage.
    """
    if is_left_out():
        return ""
    for label, estimates in series:
        if len(estimates) != len(groups):
            raise ValueError(f"{label!r} has {len(estimates)} values for {len(groups)} groups")
    count = len(groups) * len(series)
    # Between both widths type would be scaled, and no longer be as large as the neighbours'.
    width = HALF_PAGE if 1.6 + 0.3 * count <= HALF_PAGE else FULL_PAGE
    with axes_of(title, width) as (axes, output):
        for index, (label, estimates) in enumerate(series):
            draw_bars(axes, (index, len(series)), label, estimates, count > _MOST_VALUES)
        axes.set_xticks(range(len(groups)), groups, parse_math=False)
        axes.tick_params(axis="x", length=0)
        room = (width - 1) / max(len(groups), 1)
        if INCHES_PER_LETTER * max(map(len, groups), default=0) > room:
            axes.tick_params(axis="x", labelrotation=25)
            for tick in axes.get_xticklabels():
                tick.set_ha("right")
                tick.set_rotation_mode("anchor")
        axes.set_ylim(0, 106)
        axes.set_yticks(range(0, 101, 20))
        axes.set_xlim(-0.5, max(len(groups), 1) - 0.5)
        dress(axes, "", ylabel, target)
    return svg.finish(output.getvalue(), title, _told_bars(groups, series, ylabel))


def lines(
    title: str,
    curves: Sequence[Curve],
    xlabel: str,
    ylabel: str,
    target: float | None = None,
    diagonal: bool = False,
) -> str:
    """Lines with intervals: error bars where the points are few, else a band.

    An axis of percent (its label ends in ``%``) goes from 0 to 100. ``diagonal`` adds a dotted
    line from the first to the last corner of the data, which is strict left-to-right order when y
    is a position and x a step.
    """
    if is_left_out():
        return ""
    with axes_of(title, width=HALF_PAGE) as (axes, output):
        xs = [value for curve in curves for value in curve.x]
        for index, curve in enumerate(curves):
            _draw_curve(axes, curve, apart(xs, (index, len(curves))) if xs else 0.0)
        if diagonal and curves:
            ys = [value for curve in curves for value in curve.y if not math.isnan(value)]
            axes.plot(
                [min(xs), max(xs)],
                [min(ys), max(ys)],
                color=svg.INK, alpha=0.55, lw=1, ls=":", label="left to right",
            )  # fmt: skip
        axes.margins(x=0.03)
        _x_ticks(axes, xs)
        if ylabel.endswith("%"):
            percent_axis(axes)
        dress(axes, xlabel, ylabel, target)
    return svg.finish(output.getvalue(), title, _told_lines(curves, xlabel, ylabel))


def _marked(label: str) -> dict[str, Any]:
    """A label's mark without a line."""
    style = styles.style_of(label)
    return {
        "color": style.colour, "marker": style.marker, "lw": 0, "mec": svg.PAPER, "mew": 0.8,
    }  # fmt: skip


def points(
    title: str,
    labels: Sequence[str],
    x: Sequence[Estimate],
    y: Sequence[Estimate],
    names: tuple[str, str],
) -> str:
    """Points at two rates in percent, with both intervals; names of the x and y axis.

    Points of one label are joined in their order. Where points coincide, the later ones stand
    smaller within the earlier.
    """
    if is_left_out():
        return ""
    with axes_of(title, width=HALF_PAGE) as (axes, output):
        places = [(round(100 * a.rate), round(100 * b.rate)) for a, b in zip(x, y, strict=True)]
        for index, (label, right, up) in enumerate(zip(labels, x, y, strict=True)):
            style = styles.style_of(label)
            at = (100 * right.rate, 100 * up.rate)
            line = {"color": style.colour, "lw": 1.3, "alpha": 0.8}
            axes.hlines(at[1], 100 * max(0, right.low), 100 * min(1, right.high), **line)
            axes.vlines(at[0], 100 * max(0, up.low), 100 * min(1, up.high), **line)
            later = places[index + 1 :].count(places[index])
            axes.plot(*at, ms=_POINT + 5 * min(later, 2), **_marked(label))
        for label in dict.fromkeys(labels):
            axes.plot([], [], ms=_POINT, label=label, **_marked(label))
            own = [n for n, name in enumerate(labels) if name == label]
            ends = [100 * x[n].rate for n in own], [100 * y[n].rate for n in own]
            axes.plot(*ends, color=styles.style_of(label).colour, lw=0.8, alpha=0.6)
        axes.set_xlim(-3, 103)
        axes.set_ylim(-3, 103)
        dress(axes, *names, None)
    told = "; ".join(
        f"{label}: {names[0]} {told_rate(a)}, {names[1]} {told_rate(b)}"
        for label, a, b in zip(labels, x, y, strict=True)
    )
    return svg.finish(output.getvalue(), title, f"Points. {told}.")


def differences(
    title: str, labels: Sequence[str], found: Sequence[Interval], changed: Sequence[bool]
) -> str:
    """Differences in points with their intervals, one line each; a filled mark where it changed.

    Args:
        title: Of the figure.
        labels: One a line.
        found: From -1 to 1.
        changed: Whether a test says so.
    """
    if is_left_out():
        return ""
    with axes_of(title, HALF_PAGE + 1.6, 1.1 + 0.27 * len(labels)) as (axes, output):
        axes.axvline(0, color=svg.INK, alpha=0.6, lw=1)
        for row, (one, is_change) in enumerate(zip(found, changed, strict=True)):
            low, high = 100 * max(-1, one.low), 100 * min(1, one.high)
            axes.hlines(row, low, high, color=svg.INK, lw=1.3)
            face = svg.INK if is_change else svg.PAPER
            axes.plot(100 * one.mean, row, "o", ms=6, mfc=face, mec=svg.INK, mew=1.2)
        axes.set_yticks(range(len(labels)), labels, parse_math=False)
        axes.set_xlim(-104, 104)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        dress(axes, "difference, percentage points", "", None)
    told = "; ".join(
        f"{label}: {100 * one.mean:+.0f} points" for label, one in zip(labels, found, strict=True)
    )
    return svg.finish(output.getvalue(), title, f"Differences. {told}.")


def bars_csv(groups: Sequence[str], series: Sequence[Series]) -> str:
    """The numbers of ``bars``, one line a bar, as fractions."""
    rows = [
        (group, label, e.successes, e.n, e.rate, e.low, e.high)
        for label, estimates in series
        for group, e in zip(groups, estimates, strict=True)
    ]
    return csv_text(("group", "series", "successes", "n", "rate", "low", "high"), rows)


def lines_csv(curves: Sequence[Curve]) -> str:
    """The numbers of ``lines``, one line a point, unsmoothed."""
    rows = [
        (curve.label, x, y, *(bounds or ("", "")))
        for curve in curves
        for x, y, bounds in zip(curve.x, curve.y, _bounds(curve), strict=True)
    ]
    return csv_text(("series", "x", "y", "low", "high"), rows)


def differences_csv(labels: Sequence[str], found: Sequence[Interval]) -> str:
    """The numbers of ``differences``, as fractions."""
    rows = [(label, o.mean, o.low, o.high, o.n) for label, o in zip(labels, found, strict=True)]
    return csv_text(("cell", "difference", "low", "high", "n"), rows)


def _bounds(curve: Curve) -> Sequence[tuple[float, float] | None]:
    if not len(curve.low):
        return [None] * len(curve.x)
    return list(zip(curve.low, curve.high, strict=True))


def _draw_curve(axes: Any, curve: Curve, aside: float) -> None:
    style = styles.style_of(curve.model or curve.label)
    colour, x, y = style.colour, list(curve.x), list(curve.y)
    few = len(x) <= _MAX_ERROR_BARS
    if len(curve.low) and few:
        x = [value + aside for value in x]
        axes.vlines(x, curve.low, curve.high, color=colour, lw=1.3, alpha=0.8)
    elif len(curve.low):
        axes.fill_between(x, curve.low, curve.high, color=colour, alpha=0.18, lw=0)
    if curve.smoothing > 1:
        axes.plot(x, y, color=colour, lw=0.7, alpha=0.3)
        y = running_mean(y, curve.smoothing)
    variant = styles.variant_of(curve.variant) if curve.variant else 0
    axes.plot(
        x, y, color=colour, lw=1.7, ls=styles.dash_of(variant) if curve.variant else style.dash,
        marker=style.marker, markevery=1 if len(x) <= _MAX_MARKERS else len(x) // 8, ms=5,
        mfc=svg.PAPER if variant % 2 else colour, mec=colour, mew=1 if variant % 2 else 0,
        label=curve.label,
    )  # fmt: skip


def _x_ticks(axes: Any, xs: Sequence[float]) -> None:
    """Ticks where the points are, if these are few; whole numbers where all are."""
    from matplotlib.ticker import MaxNLocator

    distinct = sorted(set(xs))
    near = min((b - a for a, b in zip(distinct, distinct[1:], strict=False)), default=math.inf)
    if 1 <= len(distinct) <= _MOST_TICKS and near >= _LEAST_APART * (distinct[-1] - distinct[0]):
        axes.set_xticks(distinct, [f"{value:g}" for value in distinct])
    elif all(float(value).is_integer() for value in distinct):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _told_bars(groups: Sequence[str], series: Sequence[Series], ylabel: str) -> str:
    parts = (
        f"{label}: {', '.join(f'{g} {told_rate(e)}' for g, e in zip(groups, made, strict=True))}"
        for label, made in series
    )
    return f"Bars, {ylabel}. {'; '.join(parts)}."


def _told_lines(curves: Sequence[Curve], xlabel: str, ylabel: str) -> str:
    parts = (
        f"{c.label}: {told_value(c.y[0])} at {told_value(c.x[0])}, {told_value(c.y[-1])} at "
        f"{told_value(c.x[-1])}, from {told_value(min(c.y))} to {told_value(max(c.y))}"
        for c in curves
        if len(c.x)
    )
    return f"Lines, {ylabel} by {xlabel}. {'; '.join(parts)}."
