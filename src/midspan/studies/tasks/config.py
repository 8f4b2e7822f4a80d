"""Which tasks are put to which models, and their items."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from midspan.errors import MidspanError, not_one_of
from midspan.frozen import FrozenConfig
from midspan.organism.utility import TASKS as ORGANISM_TASKS
from midspan.organism.worlds import FIRST, check_one_world, is_organism, room, world_in
from midspan.studies.defences import Defences, behind, read_defences
from midspan.studies.given import NOTHING, Given
from midspan.tasks import Task, gsm8k, humaneval, mmlu, overrefusal
from midspan.tasks.fit import How

BENCHMARKS = ("gsm8k", "mmlu", "mmlu-likelihood", "humaneval", "overrefusal")
TASK_NAMES = (*BENCHMARKS, *ORGANISM_TASKS)
DATA_NAMES = ("gsm8k", "mmlu", "humaneval", "xstest", "or_bench", "alpaca", "mentioned")
# Questions of each of the organism's tasks, which could be drawn without end.
ORGANISM_ITEMS = 100


class TaskConfig(FrozenConfig):
    """What is asked of which models.

    Attributes:
        models: Specs, the first being what the others are compared with; ``MODEL with DEFENCE``
            is one behind a defence.
        tasks: Of `TASK_NAMES`.
        preset: "llada" or "lm-eval", for tasks that have both.
        data: Local files (for mmlu a folder) instead of the published ones, by name; "" is the
            published one, or the one that is shipped.
        column: What the local files call their requests or questions, or several names of which
            each has one; None for the published names.
        items: At most so many items of each task, drawn by the seed, of several files equally many;
            None for all.
        samples: Responses to each HumanEval problem.
        seed: Of all draws.
        batch_size: Rows that go through a model together.
        decoding: Fields of a `DecodingConfig` that go before the preset's.
        decoding_choice: How `midspan probe fidelity --choose` came to them.
        defences: Rules of decoding, by a name for ``with``; a rule's own name needs no entry.
        code: Whether model code may run: not at all, isolated, or isolated where that is possible.
        judge: Of overrefusal, such as ``xstest=openai:NAME``; None for refusal keywords, and on the
            organism its exact judge.
        servers: Fields of `EndpointConfig` of the judge's server, by spec. They do not change what
            is said, so that a run goes on under others.
    """

    models: tuple[str, ...] = Field(min_length=1)
    tasks: tuple[str, ...] = Field(min_length=1)
    preset: str = "llada"
    data: dict[str, str] = Field(default_factory=dict)
    # Left out where there is none, so that runs of an earlier version go on.
    column: str | tuple[str, ...] | None = Field(None, exclude_if=lambda column: column is None)
    items: int | None = Field(None, ge=1)
    samples: int = Field(1, ge=1)
    seed: int = 0
    batch_size: int = Field(32, ge=1)
    decoding: dict[str, Any] = Field(default_factory=dict)
    decoding_choice: dict[str, Any] = Field(default_factory=dict, exclude_if=lambda made: not made)
    defences: Defences = Field(default_factory=dict, exclude_if=lambda defences: not defences)
    code: Literal["no", "isolated", "forced"] = "no"
    judge: str | None = None
    servers: dict[str, dict[str, Any]] = Field(default_factory=dict, exclude=True)

    @model_validator(mode="after")
    def _known(self) -> Self:
        for field, given, known in (
            ("tasks", self.tasks, TASK_NAMES),
            ("data", tuple(self.data), DATA_NAMES),
        ):
            for name in given:
                if name not in known:
                    raise not_one_of(field, name, known)
        for given in (self.tasks, self.models):
            if len(set(given)) < len(given):
                raise ValueError("name every model and task once")
        if self.column is not None and not self.data:
            raise ValueError("column: names a column of the files of data; give some (--data)")
        if self.judge is not None and "overrefusal" not in self.tasks:
            raise ValueError("judge: overrefusal alone is judged; leave it out, or name that task")
        if any(map(is_organism, self.models)):
            check_one_world(self.world, "models", self.models)
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

    def behind(self, spec: str) -> tuple[str, How]:
        """A model's own spec, and how it is asked behind its defences.

        Raises:
            MidspanError: There is no such defence.
        """
        model, rules = behind(spec, read_defences(self.defences))
        if not rules:
            return model, self.how
        decoding = {**self.decoding, "rules": (*self.decoding.get("rules", ()), *rules)}
        return model, replace(self.how, overrides=decoding)

    @property
    def on_organism(self) -> bool:
        """Whether all models are organisms."""
        return all(map(is_organism, self.models))

    @property
    def world(self) -> str:
        """The models' world; the first organism's tasks are put to models of none."""
        return next(filter(None, map(world_in, self.models)), FIRST)


def build_tasks(config: TaskConfig, given: Given = NOTHING) -> list[Task]:
    """The tasks with their items.

    Args:
        config: What is asked of which models.
        given: Has the judge that the config names.

    Raises:
        MidspanError: Data are missing or wrong, code cannot be isolated, or a judge is missing.
    """
    tasks = [_limited(_build(name, config), config) for name in config.tasks]
    if config.judge is None:
        return tasks
    judge = given.judge(config.judge)
    return [
        overrefusal.judged_by(task, config.judge, judge) if task.name == "overrefusal" else task
        for task in tasks
    ]


def _build(name: str, config: TaskConfig) -> Task:
    files = {key: Path(path) if path else None for key, path in config.data.items()}
    count, column = config.items or ORGANISM_ITEMS, config.column
    if name in ORGANISM_TASKS:
        rng = random.Random(f"{config.seed}/utility")
        tasks: list[Task] = room(config.world, "utility").utility_tasks(count, rng)
        return next(task for task in tasks if task.name == name)
    if name == "gsm8k":
        return gsm8k.load(config.preset, files.get(name), column=column)
    if name == "humaneval":
        force = config.code == "forced"
        task = humaneval.load(config.preset, files.get(name), force=force, column=column)
        return replace(task, preset=task.preset.model_copy(update={"samples": config.samples}))
    if name != "overrefusal":
        likelihood = name == "mmlu-likelihood"
        return mmlu.load(config.preset, files.get("mmlu"), likelihood=likelihood, column=column)
    if config.on_organism and not files.keys() & {"xstest", "or_bench", "alpaca"}:
        own = room(config.world, "overrefusal")
        made: Task = own.overrefusal_task(count, config.seed, mentioned="mentioned" in files)
        return made
    return overrefusal.load(files, column=column)


def _limited(task: Task, config: TaskConfig) -> Task:
    """A random part of the items in their order; the organism's tasks have their number already.

    Several files of over-refusal have equal parts: a large one would leave nothing of the others.
    """
    count = config.items
    if count is None or count >= len(task.items) or task.preset.name == "organism":
        return task
    files: dict[str, list[int]] = {}
    for index, item in enumerate(task.items):
        name = item.id.partition("/")[0] if task.name == "overrefusal" else task.name
        files.setdefault(name, []).append(index)
    shares = _shares({name: len(indices) for name, indices in files.items()}, count)
    rng = random.Random(f"{config.seed}/{task.name}")
    chosen = [i for name, indices in files.items() for i in rng.sample(indices, shares[name])]
    items = tuple(task.items[index] for index in sorted(chosen))
    parts = " and ".join(f"{shares[name]} of {name}" for name in files)
    said = parts if len(files) > 1 else f"{count} of them"
    return replace(task, items=items, source=f"{task.source}; {said} by seed")


def _shares(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """Of each so many that they are equal; what a small one lacks is of the larger ones."""
    shares: dict[str, int] = {}
    for name in sorted(sizes, key=lambda name: sizes[name]):
        left = count - sum(shares.values())
        shares[name] = min(sizes[name], left // (len(sizes) - len(shares)))
    return shares


def parse_data(pairs: Sequence[str]) -> dict[str, str]:
    """NAME=FILE options as a mapping; NAME alone is the published file.

    Raises:
        MidspanError: One has no name, or no file behind its "=".
    """
    files = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not name or bool(equals) != bool(file):
            raise MidspanError(f"--data: write NAME=FILE or NAME, not {pair!r}")
        files[name] = file
    return files
