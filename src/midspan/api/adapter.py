"""A trained adapter, as `midspan.align` returns it."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midspan.api.records import TrainingRecord
from midspan.api.results import chosen, data_frame
from midspan.errors import not_one_of
from midspan.files import read_jsonl

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from midspan.alignment import AlignmentConfig
    from midspan.models import DiffusionLM
    from midspan.report import Table

# Columns of the metrics that are no metric of the objective.
_CLOCK = ("step", "epoch")


@dataclass(frozen=True, repr=False)
class TrainedAdapter:
    """A finished adapter.

    Attributes:
        folder: Holds the PEFT adapter, its card, the recipe and the metrics. A temporary one is
            deleted when the process ends.
        base: Spec of the model that it was trained on.
        recipe: The alignment's config.
        seconds: Wall time of the call; 0 where the adapter had been finished before.
        stopped: Why training ended early; empty where it ran through.
    """

    folder: Path
    base: str
    recipe: "AlignmentConfig" = field(repr=False)
    seconds: float
    stopped: str = ""

    @property
    def spec(self) -> str:
        """What every verb takes as this model: BASE+FOLDER."""
        return f"{self.base}+{self.folder.resolve()}"

    def load(self) -> "DiffusionLM":
        """The base, loaded with this adapter on.

        Raises:
            MidspanError: The base has moved.
        """
        from midspan.models import load
        from midspan.runs.progress import library_output

        with library_output(False):
            return load(self.base, adapter=self.folder)

    @cached_property
    def records(self) -> list[TrainingRecord]:
        """One record a step; objectives add metrics under names of their own."""
        rows: list[Any] = read_jsonl(self.folder / "metrics.jsonl")
        return rows

    @property
    def report(self) -> Path:
        """The adapter's card, in Markdown."""
        return self.folder / "README.md"

    def to_pandas(self) -> "DataFrame":
        """The steps as a `pandas.DataFrame`, one a row.

        Raises:
            MidspanError: pandas is not installed.
        """
        return data_frame(self.records)

    @property
    def figures(self) -> tuple[str, ...]:
        """Names that `figure` takes: the metrics."""
        return tuple(name for name in self.records[0] if name not in _CLOCK)

    def figure(self, name: str = "loss") -> "Figure":
        """One metric over the steps, as a `matplotlib.figure.Figure`.

        Args:
            name: One of `figures`.

        Raises:
            MidspanError: There is no metric of this name.
        """
        from midspan.report import figures

        if name not in self.figures:
            raise not_one_of("figure", name, self.figures)
        rows: list[dict[str, Any]] = [dict(row) for row in self.records if name in row]
        curve = figures.Curve(
            self.recipe.name, [row["step"] for row in rows], [row[name] for row in rows]
        )
        with figures.kept() as drawn:
            figures.lines(f"Training: {name}", [curve], "step", name)
        return chosen(dict(drawn), None)

    def __repr__(self) -> str:
        end = f", {self.stopped}" if self.stopped else ""
        steps = self.records[-1]["step"]
        return f"TrainedAdapter({self.recipe.name} on {self.base}: {steps} steps{end})"

    def _repr_html_(self) -> str:
        from midspan.api.tables import tables_html

        return tables_html(repr(self), (self._table(),))

    def _table(self) -> "Table":
        from midspan.report import Table

        first, last = (dict(self.records[index]) for index in (0, -1))
        rows = tuple((name, f"{first[name]:.4g}", f"{last[name]:.4g}") for name in self.figures)
        return Table("Training", ("metric", "first step", "last step"), rows)
