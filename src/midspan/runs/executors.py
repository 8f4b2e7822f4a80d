"""Who runs the parts of a run: this machine's processes, or Ray."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, get_args

from midspan.errors import not_one_of
from midspan.runs.processes import Part, run_together

Executor: TypeAlias = Literal["processes", "ray"]
EXECUTORS: tuple[str, ...] = get_args(Executor)


@dataclass(frozen=True)
class How:
    """How a study is run; nothing of it changes what comes out.

    Attributes:
        command: What started it; by default the program's own command line.
        jobs: Processes or tasks at a time; 1 for none but this process. None for as many as there
            are cores for a small model, GPUs for others.
        fail_fast: Raise an error in the code of an attack, task or judge.
        executor: "processes" on this machine, or "ray".
        began: When, in seconds since 1970: what collects may be another process.
    """

    command: str = ""
    jobs: int | None = 1
    fail_fast: bool = False
    executor: str = "processes"
    began: float = field(default_factory=time.time)

    @property
    def seconds(self) -> float:
        """Since the study was started."""
        return time.time() - self.began

    @property
    def alone(self) -> "How":
        """The same in one process."""
        return replace(self, jobs=1, executor="processes")

    def __post_init__(self) -> None:
        """Check the executor's name.

        Raises:
            MidspanError: There is no such executor.
        """
        if self.executor not in EXECUTORS:
            raise not_one_of("--executor", self.executor, EXECUTORS)

    @property
    def or_one(self) -> "How":
        """One process where nobody said how many; on Ray all that it has."""
        return replace(self, jobs=self.jobs or (None if self.on_ray else 1))

    @property
    def on_ray(self) -> bool:
        """Whether parts are tasks of Ray."""
        return self.executor == "ray"

    def width(self, small: bool) -> int:
        """How many parts run at a time.

        Args:
            small: Whether one core is enough for the model.
        """
        if self.jobs is not None:
            return self.jobs
        if self.on_ray:
            from midspan.runs.ray_tasks import capacity

            return capacity(small)[1]
        if small:
            return os.cpu_count() or 1
        import torch

        return max(1, torch.cuda.device_count())

    def run(self, parts: Mapping[str, Part], small: bool) -> dict[str, Any]:
        """Run parts; by name what they returned, which of processes is nothing.

        Raises:
            MidspanError: A part failed.
        """
        if self.on_ray:
            from midspan.runs.ray_tasks import capacity, run_on_ray

            return run_on_ray(parts, capacity(small)[0])
        run_together(parts, self.width(small))
        return {}

    def run_then_collect(
        self, parts: Mapping[str, Part], collect: Callable[..., Any], arguments: tuple[Any, ...],
        small: bool,
    ) -> Any:  # fmt: skip
        """Run parts on Ray, and there what makes one result of all that they wrote.

        What started the study may have no GPU.

        Args:
            parts: By name.
            collect: A function of a module.
            arguments: What it is called with.
            small: Whether one core is enough for the model.
        """
        last = Part(collect, arguments, tuple(parts))
        return self.run({**parts, "results": last}, small)["results"]
