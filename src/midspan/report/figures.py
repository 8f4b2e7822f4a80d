"""The two kinds of figure that the paper needs: grouped bars and lines, always with intervals.

Both return SVG text for ``Figure.svg``; equal input gives equal bytes. Matplotlib loads with the
first figure, not with this module.
"""

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from midspan.report import svg
from midspan.report.tables import csv_text
from midspan.statistics import Estimate

_MARKERS = "osD^vPX"
_DASHES = ("-", "--", "-.", ":")
_TARGET = "target"
_HALF_PAGE = 5.2  # inches
_INCHES_PER_LETTER = 0.085
_MAX_ERROR_BARS = 16
_MAX_MARKERS = 40

Series = tuple[str, Sequence[Estimate]]
_LEFT_OUT: ContextVar[bool] = ContextVar("figures left out", default=False)
_KEPT: ContextVar[list[tuple[str, Any]] | None] = ContextVar("kept figures", default=None)


@dataclass(frozen=True)
class Curve:
    """One line; ``low`` and ``high`` bound its interval, ``smoothing`` is a running-mean window.

    With smoothing above 1 the raw values stay visible, faint, behind the smooth line.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    smoothing: int = 1

    def __post_init__(self) -> None:
        bounds = {len(self.low), len(self.high)}
        if len(self.x) != len(self.y) or bounds not in ({0}, {len(self.x)}):
            raise ValueError(f"curve {self.label!r}: x, y, low and high differ in length")

    @classmethod
    def of_estimates(cls, label: str, x: Sequence[float], estimates: Sequence[Estimate]) -> "Curve":
        """Rates in percent over x, with their intervals."""
        return cls(
            label,
            x,
            [100 * estimate.rate for estimate in estimates],
            [100 * estimate.low for estimate in estimates],
            [100 * estimate.high for estimate in estimates],
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
    if _LEFT_OUT.get():
        return ""
    for label, estimates in series:
        if len(estimates) != len(groups):
            raise ValueError(f"{label!r} has {len(estimates)} values for {len(groups)} groups")
    width = min(11.0, max(_HALF_PAGE, 1.6 + 0.3 * len(groups) * len(series)))
    with _axes(title, width) as (axes, output):
        palette = svg.colours([label for label, _ in series])
        for index, (label, estimates) in enumerate(series):
            _draw_bars(axes, index, len(series), label, palette[label], estimates)
        axes.set_xticks(range(len(groups)), groups, parse_math=False)
        axes.tick_params(axis="x", length=0)
        if _INCHES_PER_LETTER * max(map(len, groups), default=0) > (width - 1) / max(
            len(groups), 1
        ):
            axes.tick_params(axis="x", labelrotation=25)
            for tick in axes.get_xticklabels():
                tick.set_ha("right")
                tick.set_rotation_mode("anchor")
        axes.set_ylim(0, 106)
        axes.set_yticks(range(0, 101, 20))
        axes.set_xlim(-0.5, max(len(groups), 1) - 0.5)
        _dress(axes, "", ylabel, target)
    return svg.finish(output.getvalue(), title)


def lines(
    title: str,
    curves: Sequence[Curve],
    xlabel: str,
    ylabel: str,
    target: float | None = None,
    diagonal: bool = False,
) -> str:
    """Lines with intervals: error bars where the points are few, else a band.

    ``diagonal`` adds a dotted line from the first to the last corner of the data, which is strict
    left-to-right order when y is a position and x a step.
    """
    if _LEFT_OUT.get():
        return ""
    with _axes(title, width=_HALF_PAGE) as (axes, output):
        palette = svg.colours([curve.label for curve in curves])
        for index, curve in enumerate(curves):
            _draw_curve(axes, index, curve, palette[curve.label])
        if diagonal and curves:
            xs = [value for curve in curves for value in curve.x]
            ys = [value for curve in curves for value in curve.y if not math.isnan(value)]
            axes.plot(
                [min(xs), max(xs)],
                [min(ys), max(ys)],
                color=svg.INK, alpha=0.55, lw=1, ls=":", label="left to right",
            )  # fmt: skip
        axes.margins(x=0.03)
        _dress(axes, xlabel, ylabel, target)
    return svg.finish(output.getvalue(), title)


def points(
    title: str,
    labels: Sequence[str],
    x: Sequence[Estimate],
    y: Sequence[Estimate],
    names: tuple[str, str],
) -> str:
    """One point a label at two rates in percent, with both intervals; names of the x and y axis."""
    if _LEFT_OUT.get():
        return ""
    with _axes(title, width=_HALF_PAGE) as (axes, output):
        palette = svg.colours(labels)
        for index, (label, right, up) in enumerate(zip(labels, x, y, strict=True)):
            at = (100 * right.rate, 100 * up.rate)
            style = {"color": palette[label], "lw": 1.3, "alpha": 0.8}
            axes.hlines(at[1], 100 * right.low, 100 * right.high, **style)
            axes.vlines(at[0], 100 * up.low, 100 * up.high, **style)
            marker = _MARKERS[index % len(_MARKERS)]
            axes.plot(*at, color=palette[label], marker=marker, ms=6, mew=0, lw=0, label=label)
        axes.set_xlim(-3, 103)
        axes.set_ylim(-3, 103)
        _dress(axes, *names, None)
    return svg.finish(output.getvalue(), title)


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


def _bounds(curve: Curve) -> Sequence[tuple[float, float] | None]:
    if not len(curve.low):
        return [None] * len(curve.x)
    return list(zip(curve.low, curve.high, strict=True))


@contextmanager
def kept() -> Iterator[list[tuple[str, Any]]]:
    """Within the context, title and matplotlib figure of all that is drawn go into the list."""
    drawn: list[tuple[str, Any]] = []
    token = _KEPT.set(drawn)
    try:
        yield drawn
    finally:
        _KEPT.reset(token)


@contextmanager
def left_out() -> Iterator[None]:
    """Within the context nothing is drawn: every figure is an empty text."""
    token = _LEFT_OUT.set(True)
    try:
        yield
    finally:
        _LEFT_OUT.reset(token)


@contextmanager
def _axes(title: str, width: float) -> Iterator[tuple[Any, io.StringIO]]:
    """Axes under our settings; on leaving, the SVG stands in the buffer."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": title,
        "text.parse_math": False,
        "text.usetex": False,
        "font.family": "DejaVu Sans",  # ships with matplotlib, so the layout is equal everywhere
        "font.size": 9.5,
        "text.color": svg.INK,
        "axes.edgecolor": svg.INK,
        "axes.labelcolor": svg.INK,
        "xtick.color": svg.INK,
        "ytick.color": svg.INK,
        "axes.unicode_minus": True,
    }
    output = io.StringIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        figure = Figure(figsize=(width, 3.3), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure.add_subplot(), output
        figure.savefig(output, format="svg", transparent=True, metadata={"Date": None})
    drawn = _KEPT.get()
    if drawn is not None:
        drawn.append((title, figure))


def _dress(axes: Any, xlabel: str, ylabel: str, target: float | None) -> None:
    axes.set_xlabel(xlabel, parse_math=False)
    axes.set_ylabel(ylabel, parse_math=False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_alpha(0.5)
    axes.grid(axis="y", color=svg.INK, alpha=0.13, lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    if target is not None:
        axes.axhline(target, color=svg.INK, alpha=0.7, lw=1, ls=(0, (4, 3)), label=_TARGET)
    handles, labels = axes.get_legend_handles_labels()
    if len(handles) > 1:
        # Matplotlib puts lines before bars; a reader looks for the models first.
        order = sorted(range(len(labels)), key=lambda index: labels[index] == _TARGET)
        letters = max(map(len, labels))
        columns = int(axes.figure.get_figwidth() / (0.6 + 0.8 * _INCHES_PER_LETTER * letters)) or 1
        handles, labels = [handles[i] for i in order], [labels[i] for i in order]
        axes.figure.legend(
            handles, labels, loc="outside upper left", ncols=columns, frameon=False,
            handlelength=1.8, columnspacing=1.4, borderpad=0.1,
        )  # fmt: skip


def _draw_bars(
    axes: Any, index: int, count: int, label: str, colour: str, estimates: Sequence[Estimate]
) -> None:
    width = 0.82 / count
    for group, estimate in enumerate(estimates):
        x = group + (index - (count - 1) / 2) * width
        name = label if group == 0 else "_nolegend_"
        if not estimate.n:  # an empty slot must not look like a rate of zero
            axes.bar(x, 0, color=colour, label=name)
            axes.text(x, 1, "n/a", ha="center", va="bottom", fontsize=7, alpha=0.8)
            continue
        rate, low, high = (100 * value for value in (estimate.rate, estimate.low, estimate.high))
        axes.bar(x, rate, width * 0.9, color=colour, label=name, lw=0)
        axes.vlines(x, low, high, color=svg.PAPER, lw=2.6)  # a halo, seen on any bar's colour
        axes.vlines(x, low, high, color=svg.INK, lw=1)
        axes.text(x, min(high, 100) + 1, f"{rate:.0f}", ha="center", va="bottom", fontsize=7.5)


def _draw_curve(axes: Any, index: int, curve: Curve, colour: str) -> None:
    x, y = list(curve.x), list(curve.y)
    few = len(x) <= _MAX_ERROR_BARS
    if len(curve.low) and few:
        axes.vlines(x, curve.low, curve.high, color=colour, lw=1.3, alpha=0.8)
    elif len(curve.low):
        axes.fill_between(x, curve.low, curve.high, color=colour, alpha=0.18, lw=0)
    if curve.smoothing > 1:
        axes.plot(x, y, color=colour, lw=0.7, alpha=0.3)
        y = _running_mean(y, curve.smoothing)
    marker = _MARKERS[index % len(_MARKERS)] if len(x) <= _MAX_MARKERS else ""
    axes.plot(
        x, y, color=colour, lw=1.7, ls=_DASHES[index % len(_DASHES)], marker=marker, ms=4.5,
        mew=0, label=curve.label,
    )  # fmt: skip


def _running_mean(values: Sequence[float], window: int) -> list[float]:
    """Centred mean, whose window shrinks at both ends so that no point is invented."""
    half = window // 2
    smooth = []
    for index in range(len(values)):
        reach = min(half, index, len(values) - 1 - index)
        part = values[index - reach : index + reach + 1]
        smooth.append(sum(part) / len(part))
    return smooth
