"""Several models on several tasks: which items, one run folder, one table, one page."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midspan.files import write_jsonl
from midspan.journal.generation import each_batch
from midspan.journal.journal import Journal
from midspan.journal.ranks import join_others
from midspan.runs.folder import FinishedRun, RunFolder
from midspan.runs.kinds import write_page
from midspan.runs.progress import Reporter
from midspan.study.given import NOTHING, Given
from midspan.study.tasks.config import TaskConfig, build_tasks
from midspan.tasks import Measure, Task
from midspan.tasks.compare import check_same
from midspan.tasks.run import (
    How,
    Prepared,
    Record,
    estimate_seconds,
    prepare,
    run_task,
    settings_of,
    work_of,
)

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


def check(config: TaskConfig, given: Given = NOTHING) -> list[Task]:
    """Everything that can be refused before weights are read; returns the tasks.

    Raises:
        MidspanError: A model, its adapter or a task's data are missing or wrong, or the models
            would decode differently.
    """
    from midspan.models import check_spec

    tasks = build_tasks(config)
    families = {
        spec: given.models[spec].family if spec in given.models else check_spec(spec)
        for spec in config.models
    }
    for task in tasks:
        settings = {
            spec: settings_of(family, task, config.how) for spec, family in families.items()
        }
        check_same(settings)
    return tasks


def run_tasks(
    config: TaskConfig, folder: str | Path, command: str = "", given: Given = NOTHING
) -> list[TaskResult]:
    """Run or continue all tasks on all models; one record an item, model and sample.

    Processes that a launcher started share the work; the first one returns the results, the others
    return none.

    Args:
        config: What is asked of which models.
        folder: The run folder.
        command: What started it; by default the program's own command line.
        given: Models that the caller has loaded.

    Raises:
        MidspanError: Bad input, or the folder belongs to another configuration.
    """
    tasks = check(config, given)
    run = RunFolder(folder, config.model_dump(mode="json"), command, "task")
    with given.merged():
        if run.rank.count > 1:
            _fill_share(tasks, config, run, given)
            if not run.gather():
                return []
        with run.journal:
            by_task = _measure_all(tasks, config, run, given)
    write_jsonl(
        run.path / "tasks.jsonl",
        (
            {
                "measures": [asdict(measure) for measure in task.measures],
                "settings": measured[0].settings,
                "dropped": [one.dropped for one in measured],
                "seconds": [one.seconds for one in measured],
            }
            for task, measured in zip(tasks, by_task, strict=True)
        ),
    )
    rows = (row for measured in by_task for one in measured for row in one.records)
    write_jsonl(run.path / "records.jsonl", rows)
    Reporter().say(f"report: {write_page(run.path)}")
    return results_of(FinishedRun.open(run.path))


def _fill_share(tasks: Sequence[Task], config: TaskConfig, run: RunFolder, given: Given) -> None:
    """This process's share of the responses of all models, into its own journal."""
    join_others()
    with run.journal:
        for spec in config.models:
            lm = given.load(spec)
            for task in tasks:
                work = work_of(lm, prepare(lm, task, config.how), config.how)
                for _ in each_batch(work, run.journal, run.rank):
                    pass


def _measure_all(
    tasks: Sequence[Task], config: TaskConfig, run: RunFolder, given: Given
) -> "list[tuple[_Measured, ...]]":
    """Every task on every model, a model at a time; for each task, a result a model."""
    reporter = Reporter()
    by_model = []
    for spec in config.models:
        lm = given.load(spec)
        ready = [prepare(lm, task, config.how) for task in tasks]
        by_model.append([_measure(lm, one, run.journal, config.how, reporter) for one in ready])
    return list(zip(*by_model, strict=True))


def estimate(config: TaskConfig) -> list[tuple[str, str, Mapping[str, Any], float]]:
    """Model, task, settings and estimated hours on this machine, from one measured batch each."""
    tasks = check(config)
    rows = []
    for spec in config.models:
        lm = NOTHING.load(spec)
        for task in tasks:
            ready = prepare(lm, task, config.how)
            hours = estimate_seconds(lm, ready, config.how) / 3600
            rows.append((spec, task.title, ready.settings, hours))
    return rows


@dataclass(frozen=True)
class _Measured:
    settings: Mapping[str, Any]
    records: list[Record]
    dropped: int
    seconds: float | None


def _measure(
    lm: "DiffusionLM", ready: Prepared, journal: Journal, how: How, reporter: Reporter
) -> _Measured:
    import time

    work = work_of(lm, ready, how)
    fresh = sum(key not in journal for key in set(work.keys))
    start = time.perf_counter()
    with reporter.stage(f"{ready.task.title}, {lm.name}", len(set(work.keys))) as stage:
        records = run_task(lm, ready, journal, how, stage.advance)
    seconds = (time.perf_counter() - start) / fresh if fresh else None
    return _Measured(ready.settings, records, ready.dropped, seconds)
