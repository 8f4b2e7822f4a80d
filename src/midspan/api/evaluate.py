"""`midspan.evaluate`: what models still solve and what they refuse, under stated settings."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midspan.api.records import TaskRecord
from midspan.api.results import RunResult, by_name, few, picked
from midspan.api.runs import Model, call_text, listed, named, run_folder, warn_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from midspan.bounds import MeanBounds, RateBounds
    from midspan.report import Table
    from midspan.statistics import Estimate, Interval
    from midspan.studies.tasks.run import TaskResult


@dataclass(frozen=True, repr=False)
class EvaluationRun(RunResult[TaskRecord]):
    """Scores of models on tasks, on the same items and settings.

    Attributes:
        tasks: Names of the tasks.
    """

    tasks: tuple[str, ...] = field(default=())

    def score(
        self, task: str | None = None, model: str | None = None
    ) -> "Estimate | Interval | RateBounds | MeanBounds":
        """A task's first measure on a model, as a share from 0 to 1 with its 95 % interval.

        Args:
            task: One of `tasks`; the first by default.
            model: One of `models`; the first by default.

        Returns:
            An `Estimate` (`rate`, `low`, `high`, `n`), or for several samples an item an
            `Interval` (`mean`, `low`, `high`, `n`). Where a judge's verdict is missing, bounds:
            `least` and `most`, each such a figure.

        Raises:
            MidspanError: There is no such task or model.
        """
        from midspan.tasks.compare import rows

        task = picked("task", task, self.tasks)
        model = picked("model", model, self.models)
        result = self._results[self.tasks.index(task)]
        return rows(result.measures, result.records[model])[0].figure

    def summary(self) -> str:
        """The result in a few words."""
        return few(
            [
                f"{task} on {model} {self.score(task, model)}"
                for task in self.tasks
                for model in self.models
            ]
        )

    @cached_property
    def _results(self) -> "list[TaskResult]":
        from midspan.runs.folder import FinishedRun
        from midspan.studies.tasks.run import results_of

        return results_of(FinishedRun.open(self.folder))

    def _tables(self) -> "Sequence[Table]":
        sections = self._report.sections
        return [table for section in sections for table in section.tables]

    @property
    def _figures(self) -> "dict[str, Figure]":
        """Rates by task, a bar a model; then what the page has."""
        from midspan.report import figures
        from midspan.statistics import Estimate

        scores = {model: [self.score(task, model) for task in self.tasks] for model in self.models}
        if not all(isinstance(score, Estimate) for row in scores.values() for score in row):
            return self._page_figures
        series: list[Any] = list(scores.items())
        with figures.kept() as drawn:
            figures.bars("Scores", self.tasks, series, "score, %")
        return by_name(drawn) | self._page_figures


def evaluate(
    models: "Model | Sequence[Model]",
    tasks: str | Sequence[str],
    *,
    out: str | Path | None = None,
    progress: bool | None = None,
    **fields: Any,
) -> EvaluationRun:
    """Score models on tasks; every difference comes with a paired test and what n can show.

    Examples:
        >>> lm = midspan.load("organism")
        >>> scores = midspan.evaluate([lm, "organism:mosa"], ["arithmetic"], items=50)
        >>> scores.score("arithmetic").rate
        1.0

    Args:
        models: Loaded models, adapters of `midspan.align`, or specs; the others are
            compared with the first.
        tasks: "gsm8k", "mmlu", "mmlu-likelihood", "humaneval", "overrefusal"; of the organism's
            own, "arithmetic", "choice", "program". One, or several.
        out: Run folder; a temporary one by default. The same call continues a run.
        progress: False for silence; by default bars on a terminal or in a notebook.
        **fields: Fields of the run's config: `items` (at most so many a task), `samples`
            (responses to each humaneval problem), `preset` ("llada" or "lm-eval"), `data`
            (files instead of the published ones, by task), `column` (what these call their
            requests), `decoding` (a mapping with fields of `DecodingConfig`), `batch_size`,
            `seed`, `code` ("isolated" lets code run that a model
            wrote), `judge` (of overrefusal: such as ``xstest=MODEL``, or one as an object), and
            `servers` (what its server needs).

    Returns:
        The records, scores, tables and page of the run.

    Raises:
        MidspanError: A field, file or model is wrong, models would be decoded differently, or the
            folder belongs to another run; one line that names it.
    """
    from midspan.runs.progress import library_output
    from midspan.studies.given import Given
    from midspan.studies.redteam.roles import with_refusal_judge
    from midspan.studies.tasks.config import TaskConfig
    from midspan.studies.tasks.run import problems_of, run_tasks

    started = time.monotonic()
    specs, loaded = named(models)
    names = tuple(listed(tasks))
    command = call_text("evaluate", models, tasks, out=out, **fields)
    judge, judges = fields.get("judge"), {}
    if judge is not None and not isinstance(judge, str):
        fields["judge"], judges = judge.fingerprint, {judge.fingerprint: judge}
    config = TaskConfig.model_validate({**fields, "models": specs, "tasks": names})
    folder = run_folder(out, "evaluate")
    asked = (config.behind(spec)[0] for spec in config.models)
    given = with_refusal_judge(config.judge, config.servers, Given(loaded, judges), asked)
    with library_output(progress):
        warn_of(problems_of(run_tasks(config, folder, command, given)))
    return EvaluationRun(folder, specs, time.monotonic() - started, names)
