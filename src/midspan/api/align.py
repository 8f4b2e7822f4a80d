"""`midspan.align`: a model and prompts in, a trained adapter out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midspan.api.records import TrainingRecord
from midspan.api.results import chosen, data_frame
from midspan.api.runs import ready, run_folder
from midspan.errors import MidspanError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from midspan.alignment import AlignmentConfig, AlignmentData
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
        text = (self.folder / "metrics.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

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
            raise MidspanError(f"figure: must be one of {', '.join(self.figures)}; got {name!r}")
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

        first, last = (dict(self.records[place]) for place in (0, -1))
        rows = tuple((name, f"{first[name]:.4g}", f"{last[name]:.4g}") for name in self.figures)
        return Table("Training", ("metric", "first step", "last step"), rows)


def align(
    lm: "DiffusionLM | str",
    data: "AlignmentData | Mapping[str, Any] | str | None" = None,
    recipe: "AlignmentConfig | str" = "mosa",
    out: str | Path | None = None,
    *,
    progress: bool | None = None,
    **fields: Any,
) -> TrainedAdapter:
    """Train an alignment adapter; the same call continues one that was interrupted.

    The model is left as it was: the adapter lives in its folder alone.

    Examples:
        >>> lm = midspan.load("organism")
        >>> adapter = midspan.align(lm, "organism", midspan.objectives.mosa(), "adapters/mosa")
        >>> safer = adapter.load()

    Args:
        lm: A loaded model without an adapter, or a spec that `midspan.load` takes.
        data: Harmful requests as a file or a set of `midspan data`; a mapping with such names
            under `harmful`, `benign`, `phrases` and `exclude`; an `AlignmentData`; or "organism"
            (the default on the organism) for the organism's own lessons.
        recipe: What `midspan.objectives` has, called, or its name; by name, models other than the
            organism get the paper's learning rate and number of prompts.
        out: Adapter folder; a temporary one by default.
        progress: False for silence; by default a bar on a terminal or in a notebook.
        **fields: Fields of `AlignmentConfig` that replace the recipe's, such as `num_prompts`
            (prompts in all), `learning_rate` or `seed`; and `track`, where transformers reports
            the metrics too ("trackio", "wandb" or "tensorboard").

    Returns:
        The adapter. Its `stopped` says whether training ended early.

    Raises:
        MidspanError: A field or data set is wrong, the model has an adapter already, the folder
            belongs to another recipe, or training diverged; one line that names it.
    """
    from midspan.alignment import align as train
    from midspan.runs.progress import Reporter, library_output

    track = fields.pop("track", "none")
    name = lm if isinstance(lm, str) else lm.name
    config, lessons = _config(recipe, name, fields), _lessons(data, name)
    with library_output(progress):
        lm = ready(lm)
        with Reporter().stage(f"training {config.name}", config.num_steps) as stage:

            def show(step: int, total: int, row: Mapping[str, Any]) -> None:
                stage.advance(step - stage.done, f"loss {row['loss']:.2f}")

            result = train(lm, lessons, config, run_folder(out, "align"), show, track)
    return TrainedAdapter(result.folder, lm.name, config, result.seconds, result.stopped)


def _config(
    recipe: "AlignmentConfig | str", model: str, fields: Mapping[str, Any]
) -> "AlignmentConfig":
    from midspan.alignment import PRESETS, AlignmentConfig, at_paper_budget
    from midspan.frozen import merged
    from midspan.organism.behaviors import is_organism

    if isinstance(recipe, str):
        if recipe not in PRESETS:
            raise MidspanError(f"recipe: must be one of {', '.join(PRESETS)}; got {recipe!r}")
        own = PRESETS[recipe]() if is_organism(model) else at_paper_budget(recipe)
    elif isinstance(recipe, AlignmentConfig):
        own = recipe
    else:
        raise MidspanError(
            "recipe: must be a recipe of midspan.objectives, called, or its name; "
            f"got {type(recipe).__name__}"
        )
    return AlignmentConfig.model_validate(merged(own.model_dump(), dict(fields))) if fields else own


def _lessons(data: "AlignmentData | Mapping[str, Any] | str | None", model: str) -> "AlignmentData":
    from midspan.alignment import AlignmentData
    from midspan.organism.behaviors import SPEC
    from midspan.study.training import TrainingData, load_training_data

    if isinstance(data, AlignmentData):
        return data
    if data is None or data == SPEC:
        return load_training_data(TrainingData(), model if data is None else SPEC)
    names = {"harmful": data} if isinstance(data, str) else dict(data)
    return load_training_data(TrainingData(**names), model)
