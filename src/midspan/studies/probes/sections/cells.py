"""Cells and curves that the sections of several probes have."""

from collections.abc import Sequence

from midspan.probes.context import OutcomeRates
from midspan.report import Cell, figures
from midspan.report.cells import mean_cell, rate_cell
from midspan.statistics import Interval

Rows = tuple[tuple[Cell | str, ...], ...]
RATE_COLUMNS = ("answered", "refused", "mean score")
FEWEST = 5  # values: Student's t of fewer would hide the curves


def rate_cells(rates: OutcomeRates) -> tuple[Cell, ...]:
    """The cells under `RATE_COLUMNS`."""
    return rate_cell(rates.success), rate_cell(rates.refusal), mean_cell(rates.score)


def mean_curve(label: str, x: Sequence[float], means: Sequence[Interval]) -> figures.Curve:
    """Means with their intervals, where these are no wider than the figure."""
    bounded = all(mean.n >= FEWEST for mean in means)
    return figures.Curve(
        label,
        x,
        [mean.mean for mean in means],
        [mean.low for mean in means] if bounded else (),
        [mean.high for mean in means] if bounded else (),
    )
