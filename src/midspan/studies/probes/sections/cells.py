"""Cells and curves that the sections of several probes have."""

from collections.abc import Sequence

from midspan.files import Record
from midspan.probes.context import OutcomeRates
from midspan.report import Cell, figures
from midspan.report.cells import COUNT, mean_cell, rate_cell
from midspan.statistics import Interval

Rows = tuple[tuple[Cell | str, ...], ...]
RATE_COLUMNS = ("answered", "refused", "mean score")
SCORE = (1.0, 5.0)
FEWEST = 5  # values: Student's t of fewer would hide the curves
# Of a model whose server does not fix tokens anywhere in an answer.
FIRST_ALONE = "has an answer's beginning fixed alone, so position 0 alone is measured"


def first_alone(records: Sequence[Record]) -> str:
    """Sentences that name such models, behind a text; empty where there are none."""
    gives = {row["model"]: row["settings"].get("gives", ("anchors",)) for row in records}
    return "".join(f" {name} {FIRST_ALONE}." for name, has in gives.items() if "anchors" not in has)


def rate_cells(rates: OutcomeRates) -> tuple[Cell, ...]:
    """The cells under `RATE_COLUMNS`."""
    return rate_cell(rates.success), rate_cell(rates.refusal), mean_cell(rates.score, SCORE)


def mean_curve(
    label: str, x: Sequence[float], means: Sequence[Interval], model: str = "", variant: str = ""
) -> figures.Curve:
    """Means of what is never negative, with their intervals where these are not too wide."""
    bounded = all(mean.n >= FEWEST for mean in means)
    return figures.Curve(
        label,
        x,
        [mean.mean for mean in means],
        [mean.low for mean in means] if bounded else (),
        [mean.high for mean in means] if bounded else (),
        model=model,
        variant=variant,
        within=COUNT,
    )
