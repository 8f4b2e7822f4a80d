"""Several models on several tasks: which items, one run folder, one table, one page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midspan.engine.problems import error_line, unjudged_line
from midspan.errors import MidspanError
from midspan.files import Record, write_jsonl
from midspan.journal.generation import each_batch
from midspan.journal.journal import Journal
from midspan.journal.ranks import join_others
from midspan.runs.folder import FinishedRun, RunFolder
from midspan.runs.kinds import write_page
from midspan.runs.progress import Reporter
from midspan.studies.given import NOTHING, Given
from midspan.studies.tasks.config import TaskConfig
from midspan.studies.tasks.prepare import PreparedTasks, prepare
from midspan.studies.tasks.servers import ServedModel
from midspan.tasks import Measure, Task
from midspan.tasks.fit import FittedTask, How, fit_prompts, work_of
from midspan.tasks.run import estimate_seconds, run_task
from midspan.tasks.served import run_served, served_settings

if TYPE_CHECKING:
    from midspan.models import DiffusionLM


@dataclass(frozen=True)
class TaskResult:
    """One task on all models, as its run folder has it; the items are not needed for it.

    Attributes:
        measures: The task's figures.
        settings: What all models shared.
        dropped: Items whose prompt lost examples, a model each.
        seconds: Time per item computed last, a model each; none where the journal held everything.
        records: By model.
    """

    measures: tuple[Measure, ...]
    settings: Mapping[str, Any]
    dropped: tuple[int, ...]
    seconds: tuple[float | None, ...]
    records: Mapping[str, list[Record]]

    @property
    def title(self) -> str:
        """Task and preset."""
        return f"{self.settings['task']} ({self.settings['preset']})"

    @property
    def errors(self) -> dict[str, Counter[str]]:
        """By model, why responses could not be scored, with their number."""
        return {
            model: Counter(row["verdict"]["error"] for row in rows if "error" in row["verdict"])
            for model, rows in self.records.items()
        }


def problems_of(results: Sequence[TaskResult]) -> list[str]:
    """What makes scores doubtful, a line each."""
    errors = [
        error
        for result in results
        for counts in result.errors.values()
        for error in counts.elements()
    ]
    # What a judge wrote stands in the journal, readable or not: it is not asked again.
    silent = [
        row["verdict"]["reason"]
        for result in results
        for rows in result.records.values()
        for row in rows
        if row["verdict"].get("failure") == "failed"
    ]
    lines = [error_line(errors, "responses")] if errors else []
    return [*lines, unjudged_line(silent)] if silent else lines


def results_of(run: FinishedRun) -> list[TaskResult]:
    """The results that a folder holds, in the order of its tasks."""
    models = run.info["config"]["models"]
    records: dict[tuple[str, str], list[Record]] = {}
    for row in run.rows("records.jsonl"):
        records.setdefault((row["task"], row["model"]), []).append(row)
    return [
        TaskResult(
            tuple(Measure(**measure) for measure in row["measures"]),
            row["settings"],
            row["dropped"],
            row["seconds"],
            {model: records[row["settings"]["task"], model] for model in models},
        )
        for row in run.rows("tasks.jsonl")
    ]


def run_tasks(
    config: TaskConfig,
    folder: str | Path,
    command: str = "",
    given: Given = NOTHING,
    fail_fast: bool = False,
) -> list[TaskResult]:
    """Run or continue all tasks on all models; one record an item, model and sample.

    Processes that a launcher started share the work; the first one returns the results, the others
    return none.

    Args:
        config: What is asked of which models.
        folder: The run folder.
        command: What started it; by default the program's own command line.
        given: Models that the caller has loaded.
        fail_fast: Raise an error in the code that scores a response.

    Raises:
        MidspanError: Bad input, or the folder belongs to another configuration.
    """
    return run_prepared(prepare(config, given), folder, command, fail_fast)


def run_prepared(
    prepared: PreparedTasks, folder: str | Path, command: str = "", fail_fast: bool = False
) -> list[TaskResult]:
    """Run or continue prepared tasks; see `run_tasks`.

    Raises:
        MidspanError: A model is missing or wrong, or the folder belongs to another configuration.
    """
    prepared.check_models()
    prepared.contact(folder)
    run = RunFolder(folder, prepared.config.model_dump(mode="json"), command, "task")
    with prepared.given.merged():
        if run.rank.count > 1:
            _fill_share(prepared, run)
            if not run.gather():
                return []
        with run.journal:
            by_task = _measure_all(prepared, run, fail_fast)
    write_jsonl(
        run.path / "tasks.jsonl",
        (
            {
                "measures": [asdict(measure) for measure in task.measures],
                "settings": measured[0].settings,
                "dropped": [one.dropped for one in measured],
                "seconds": [one.seconds for one in measured],
            }
            for task, measured in zip(prepared.tasks, by_task, strict=True)
        ),
    )
    rows = (row for measured in by_task for one in measured for row in one.records)
    write_jsonl(run.path / "records.jsonl", rows)
    Reporter().say(f"report: {write_page(run.path)}")
    return results_of(FinishedRun.open(run.path))


def _fill_share(prepared: PreparedTasks, run: RunFolder) -> None:
    """This process's share of the responses of all models, into its own journal."""
    join_others()
    with run.journal:
        # Servers are asked by the first process alone, when it collects.
        for spec in (spec for spec in prepared.config.models if spec not in prepared.servers):
            _fill_share_of(spec, prepared, run)


def _fill_share_of(spec: str, prepared: PreparedTasks, run: RunFolder) -> None:
    """Of one model; no name holds it afterwards, when the next one is loaded."""
    lm, how = prepared.load(spec)
    for task in prepared.tasks:
        for _ in each_batch(work_of(lm, fit_prompts(lm, task, how), how), run.journal, run.rank):
            pass


def _measure_all(
    prepared: PreparedTasks, run: RunFolder, fail_fast: bool
) -> "list[tuple[_Measured, ...]]":
    """Every task on every model, a model at a time; for each task, a result a model."""
    by_model = [_measure_model(spec, prepared, run, fail_fast) for spec in prepared.config.models]
    return list(zip(*by_model, strict=True))


def _measure_model(
    spec: str, prepared: PreparedTasks, run: RunFolder, fail_fast: bool
) -> "list[_Measured]":
    """Every task on one model; no name holds it afterwards, when the next one is loaded."""
    reporter = Reporter()
    if spec in prepared.servers:
        how, served = replace(prepared.config.how, fail_fast=fail_fast), prepared.servers[spec]
        return [_ask(served, task, run.journal, how, reporter) for task in prepared.tasks]
    lm, how = prepared.load(spec)
    how = replace(how, fail_fast=fail_fast)
    ready = [fit_prompts(lm, task, how) for task in prepared.tasks]
    return [_measure(lm, one, run.journal, how, reporter) for one in ready]


def estimate(prepared: PreparedTasks) -> list[tuple[str, str, Mapping[str, Any], float]]:
    """Model, task, settings and estimated hours on this machine, from one measured batch each.

    Raises:
        MidspanError: A model is missing or wrong.
    """
    prepared.check_models()
    if prepared.servers:
        raise MidspanError(
            f"--dry-run: times models that are decoded here; {next(iter(prepared.servers))} is not"
        )
    with prepared.given.merged():
        return [row for spec in prepared.config.models for row in _estimate_model(spec, prepared)]


def _estimate_model(
    spec: str, prepared: PreparedTasks
) -> list[tuple[str, str, Mapping[str, Any], float]]:
    """Of one model; no name holds it afterwards, when the next one is loaded."""
    lm, how = prepared.load(spec)
    ready = [fit_prompts(lm, task, how) for task in prepared.tasks]
    return [
        (spec, task.title, one.settings, estimate_seconds(lm, one, how) / 3600)
        for task, one in zip(prepared.tasks, ready, strict=True)
    ]


@dataclass(frozen=True)
class _Measured:
    settings: Mapping[str, Any]
    records: list[Record]
    dropped: int
    seconds: float | None


def _measure(
    lm: "DiffusionLM", ready: FittedTask, journal: Journal, how: How, reporter: Reporter
) -> _Measured:
    import time

    work = work_of(lm, ready, how)
    fresh = sum(key not in journal for key in set(work.keys))
    start = time.perf_counter()
    total = len(set(work.keys)) + (len(work.keys) if ready.task.judged else 0)
    with reporter.stage(f"{ready.task.title}, {lm.name}", total) as stage:
        records = run_task(lm, ready, journal, how, stage.advance)
    seconds = (time.perf_counter() - start) / fresh if fresh else None
    return _Measured(ready.settings, records, ready.dropped, seconds)


def _ask(
    served: ServedModel, task: Task, journal: Journal, how: How, reporter: Reporter
) -> _Measured:
    """One task put to a model behind a server."""
    total = len(task.items) * task.preset.samples * (2 if task.judged else 1)
    settings = served_settings(task, how, served.config.engine)
    with reporter.stage(f"{task.title}, {served.spec}", total) as stage:
        records = run_served(served.role, served.spec, task, journal, how, stage.advance)
    return _Measured(settings, records, 0, None)
