"""Several models on several tasks: which items, one run folder, one table, one page."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from midspan.engine.generation import Part, each_batch
from midspan.engine.journal import Journal, write_jsonl
from midspan.errors import MidspanError
from midspan.organism.overrefusal import overrefusal_task
from midspan.organism.utility import TASKS as ORGANISM_TASKS
from midspan.organism.utility import utility_tasks
from midspan.study.folder import FinishedRun, RunFolder
from midspan.study.given import NOTHING, Given
from midspan.study.kinds import write_page
from midspan.study.progress import Reporter
from midspan.tasks import Measure, Task, gsm8k, humaneval, mmlu, overrefusal
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

BENCHMARKS = ("gsm8k", "mmlu", "mmlu-likelihood", "humaneval", "overrefusal")
TASK_NAMES = (*BENCHMARKS, *ORGANISM_TASKS)
DATA_NAMES = ("gsm8k", "mmlu", "humaneval", "xstest", "or_bench", "alpaca")
# Questions of each of the organism's tasks, which could be drawn without end.
ORGANISM_ITEMS = 100


class TaskConfig(BaseModel):
    """What is asked of which models.

    Attributes:
        models: Specs, the first being what the others are compared with.
        tasks: Of `TASK_NAMES`.
        preset: "llada" or "lm-eval", for tasks that have both.
        data: Local files (for mmlu a folder) instead of the published ones, by name.
        items: At most so many items of each task, drawn by the seed; None for all.
        samples: Responses to each HumanEval problem.
        seed: Of all draws.
        batch_size: Rows that go through a model together.
        decoding: Fields of `DecodingConfig` that go before the preset's.
        code: Whether model code may run: not at all, isolated, or isolated where that is possible.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[str, ...] = Field(min_length=1)
    tasks: tuple[str, ...] = Field(min_length=1)
    preset: str = "llada"
    data: dict[str, str] = Field(default_factory=dict)
    items: int | None = Field(None, ge=1)
    samples: int = Field(1, ge=1)
    seed: int = 0
    batch_size: int = Field(32, ge=1)
    decoding: dict[str, Any] = Field(default_factory=dict)
    code: Literal["no", "isolated", "forced"] = "no"

    @model_validator(mode="after")
    def _known(self) -> Self:
        for given, known in ((self.tasks, TASK_NAMES), (tuple(self.data), DATA_NAMES)):
            for name in given:
                if name not in known:
                    raise ValueError(f"{name!r} is none of {', '.join(known)}")
        for given in (self.tasks, self.models):
            if len(set(given)) < len(given):
                raise ValueError("name every model and task once")
        if "humaneval" in self.tasks and self.code == "no":
            raise ValueError(
                "humaneval runs code that the model wrote; allow it with --allow-code after "
                "reading docs/sandbox.md"
            )
        return self

    @property
    def how(self) -> How:
        """What `midspan.tasks.run` needs."""
        return How(self.batch_size, self.seed, self.decoding)

    @property
    def on_organism(self) -> bool:
        """Whether all models are the organism."""
        return all(spec.partition("+")[0].partition(":")[0] == "organism" for spec in self.models)


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


def build_tasks(config: TaskConfig) -> list[Task]:
    """The tasks with their items.

    Raises:
        MidspanError: Data are missing or wrong, or code cannot be isolated.
    """
    return [_limited(_build(name, config), config) for name in config.tasks]


def _build(name: str, config: TaskConfig) -> Task:
    files = {key: Path(path) for key, path in config.data.items()}
    count = config.items or ORGANISM_ITEMS
    if name in ORGANISM_TASKS:
        made = utility_tasks(count, random.Random(f"{config.seed}/utility"))
        return next(task for task in made if task.name == name)
    if name == "gsm8k":
        return gsm8k.load(config.preset, files.get(name))
    if name == "humaneval":
        task = humaneval.load(config.preset, files.get(name), force=config.code == "forced")
        return replace(task, preset=task.preset.model_copy(update={"samples": config.samples}))
    if name != "overrefusal":
        likelihood = name == "mmlu-likelihood"
        return mmlu.load(config.preset, files.get("mmlu"), likelihood=likelihood)
    if config.on_organism and not files.keys() & {"xstest", "or_bench", "alpaca"}:
        return overrefusal_task(count, config.seed)
    return overrefusal.load(files)


def _limited(task: Task, config: TaskConfig) -> Task:
    """A random part of the items in their order; the organism's tasks have their number already."""
    count = config.items
    if count is None or count >= len(task.items) or task.preset.name == "organism":
        return task
    places = random.Random(f"{config.seed}/{task.name}").sample(range(len(task.items)), count)
    items = tuple(task.items[place] for place in sorted(places))
    return replace(task, items=items, source=f"{task.source}; {count} of them by seed")


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


def parse_data(pairs: Sequence[str]) -> dict[str, str]:
    """NAME=FILE options as a mapping.

    Raises:
        MidspanError: One has no name or no file.
    """
    found = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not (name and equals and file):
            raise MidspanError(f"--data: write NAME=FILE, not {pair!r}")
        found[name] = file
    return found
