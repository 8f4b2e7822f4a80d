"""What the figures share: axes under our settings, legends, and how one bar or curve is drawn."""

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from midspan.report import styles, svg
from midspan.statistics import Estimate

HALF_PAGE = 5.2  # inches
FULL_PAGE = 11.6
INCHES_PER_LETTER = 0.085
_HEIGHT = 3.3
_TARGET = "target"
_MARGINS = 12  # points at both sides of a legend together

_LEFT_OUT: ContextVar[bool] = ContextVar("figures left out", default=False)
_KEPT: ContextVar[list[tuple[str, Any]] | None] = ContextVar("kept figures", default=None)


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


def is_left_out() -> bool:
    """Whether nothing is to be drawn."""
    return _LEFT_OUT.get()


@contextmanager
def axes_of(title: str, width: float, height: float = _HEIGHT) -> Iterator[tuple[Any, io.StringIO]]:
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
        "hatch.linewidth": 0.7,
    }
    output = io.StringIO()
    with matplotlib.rc_context(), styles.one_report():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure.add_subplot(), output
        figure.savefig(output, format="svg", transparent=True, metadata={"Date": None})
    drawn = _KEPT.get()
    if drawn is not None:
        drawn.append((title, figure))


def dress(axes: Any, xlabel: str, ylabel: str, target: float | None) -> None:
    """Labels, grid, the target's line and the legend."""
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
        _legend(axes.figure, [handles[i] for i in order], [labels[i] for i in order])


def _legend(figure: Any, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Above the axes, in as many columns as the figure is wide enough for."""
    letters = max(map(len, labels))
    columns = int(figure.get_figwidth() / (0.6 + 0.8 * INCHES_PER_LETTER * letters))
    for count in range(max(1, columns), 0, -1):
        legend = figure.legend(
            handles, labels, loc="outside upper left", ncols=count, frameon=False,
            handlelength=2.6, handleheight=1.1, columnspacing=1.4, borderpad=0.1,
        )  # fmt: skip
        if count == 1 or legend.get_window_extent().width <= figure.bbox.width - _MARGINS:
            return
        legend.remove()


def percent_axis(axes: Any) -> None:
    """From 0 to 100, whatever was measured, so that figures compare at a glance."""
    axes.set_ylim(-2, 104)
    axes.set_yticks(range(0, 101, 20))


def draw_bars(
    axes: Any, place: tuple[int, int], label: str, estimates: Sequence[Estimate], is_dense: bool
) -> None:
    """One series; ``place`` is its index among so many."""
    index, count = place
    width = 0.82 / count
    style = styles.style_of(label)
    for group, estimate in enumerate(estimates):
        x = group + (index - (count - 1) / 2) * width
        name = label if group == 0 else "_nolegend_"
        # The hatch takes the colour of the edge, which has no width.
        look = {
            "color": style.colour, "edgecolor": svg.PAPER, "hatch": style.hatch, "lw": 0,
            "label": name,
        }  # fmt: skip
        if not estimate.n:  # an empty slot must not look like a rate of zero
            axes.bar(x, 0, **look)
            axes.text(x, 1, "n/a", ha="center", va="bottom", fontsize=7, alpha=0.8)
            continue
        rate, low, high = (100 * value for value in (estimate.rate, estimate.low, estimate.high))
        low, high = max(0.0, low), min(100.0, high)
        axes.bar(x, rate, width * 0.9, **look)
        axes.vlines(x, low, high, color=svg.PAPER, lw=2.6)  # a halo, seen on any bar's colour
        axes.vlines(x, low, high, color=svg.INK, lw=1)
        if not is_dense:
            axes.text(x, high + 1, f"{rate:.0f}", ha="center", va="bottom", fontsize=7.5)


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """Centred mean, whose window shrinks at both ends so that no point is invented."""
    half = window // 2
    smooth = []
    for index in range(len(values)):
        reach = min(half, index, len(values) - 1 - index)
        part = values[index - reach : index + reach + 1]
        smooth.append(sum(part) / len(part))
    return smooth


def apart(xs: Sequence[float], place: tuple[int, int]) -> float:
    """How far a series' points are moved aside, so that no point hides another's.

    Args:
        xs: Where the points of all series are.
        place: The series' index among so many.
    """
    index, count = place
    distinct = sorted(set(xs))
    span = distinct[-1] - distinct[0] if len(distinct) > 1 else 1.0
    gap = min((b - a for a, b in zip(distinct, distinct[1:], strict=False)), default=span)
    step = min(0.5 * gap / max(1, count - 1), 0.018 * span)
    return (index - (count - 1) / 2) * step


def told_rate(estimate: Estimate) -> str:
    """A rate as a figure's description has it."""
    return f"{100 * estimate.rate:.0f} %" if estimate.n else "not measured"


def told_value(value: float) -> str:
    """A value as a figure's description has it."""
    return "nothing" if math.isnan(value) else f"{value:.3g}"
