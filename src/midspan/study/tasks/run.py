"""Several models on several tasks: which items, one run folder, one table, one page."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midspan.engine.generation import Part, each_batch
from midspan.engine.journal import Journal
from midspan.files import write_jsonl
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
    reporter = Reporter()
    found: list[list[_Measured]] = []
    with run.journal, given.merged():
        for other in sorted(run.path.glob("journal-*.jsonl")):
            run.journal.absorb(other)
        for spec in config.models:
            lm = given.load(spec)
            ready = [prepare(lm, task, config.how) for task in tasks]
            found.append([_measure(lm, one, run.journal, config.how, reporter) for one in ready])
    by_task = list(zip(*found, strict=True))
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
    reporter.say(f"report: {write_page(run.path)}")
    return results_of(FinishedRun.open(run.path))


def fill_part(config: TaskConfig, folder: str | Path, part: Part) -> None:
    """One process's share of the responses, into a journal of its own.

    `run_tasks` in the same folder takes them in, and computes what is missing.
    """
    tasks = check(config)
    with Journal(Path(folder) / f"journal-{part.rank}.jsonl") as journal:
        for spec in config.models:
            lm = NOTHING.load(spec)
            for task in tasks:
                work = work_of(lm, prepare(lm, task, config.how), config.how)
                for _ in each_batch(work, journal, part):
                    pass


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
