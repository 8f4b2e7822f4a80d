"""Progress for people: a live bar on a terminal, plain lines with times elsewhere."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PLAIN_INTERVAL_S = 10.0
_IS_SHOWN: ContextVar[bool] = ContextVar("midspan progress is shown", default=True)


def quiet() -> None:
    """Keep transformers' own progress bars and notices out of our output."""
    import warnings

    from transformers.utils import logging

    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", module="transformers", category=FutureWarning)


@contextmanager
def library_output(progress: bool | None = None) -> Iterator[None]:
    """Within the context reporters speak as a library should, and transformers does not.

    Args:
        progress: False for silence; True for bars, or plain lines where there can be none; None
            for bars on a terminal or in a notebook, and silence elsewhere.
    """
    import warnings

    from transformers.utils import logging

    console = Console(stderr=True)
    shown = _IS_SHOWN.set(_can_draw(console) if progress is None else progress)
    had_bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="transformers", category=FutureWarning)
            yield
    finally:
        _IS_SHOWN.reset(shown)
        if had_bars:
            logging.enable_progress_bar()


def _can_draw(console: Console) -> bool:
    """Whether a bar can be redrawn in place; in notebooks rich needs ipywidgets for it."""
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)


class Reporter:
    """Announces stages and their progress on standard error."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, quiet=not _IS_SHOWN.get())
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        """One line with the time since the start."""
        self.console.print(f"[dim]{self._clock()}[/dim] {text}", highlight=False, soft_wrap=True)

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator["Stage"]:
        """A counted stage, of unknown size where `total` is None; its ``advance`` reports."""
        if self.console.quiet or not _can_draw(self.console):
            stage = Stage(self, name, total, None)
            yield stage
            self.say(f"{name}: done ({stage.count}{stage.suffix})")
            return
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(), TextColumn("[dim]{task.fields[note]}"),
        )  # fmt: skip
        with Progress(*columns, console=self.console) as bar:
            bar.add_task(name, total=total, note="")
            yield Stage(self, name, total, bar)

    @contextmanager
    def training(
        self, name: str, num_steps: int, metrics: Sequence[str] = ("loss",)
    ) -> "Iterator[Callable[[int, int, Mapping[str, Any]], None]]":
        """A stage of an alignment's steps; what it yields is told of each step.

        Args:
            name: What is trained.
            num_steps: Optimiser steps.
            metrics: Shown of each step, where it has them.
        """
        with self.stage(f"training {name}", num_steps) as stage:

            def show(step: int, total: int, row: Mapping[str, Any]) -> None:
                shown = (f"{metric} {row[metric]:.2f}" for metric in metrics if metric in row)
                stage.advance(step - stage.done, ", ".join(shown))

            yield show

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        return f"{minutes:02d}:{seconds:02d}"


class Stage:
    """Progress of one stage."""

    def __init__(
        self, reporter: Reporter, name: str, total: int | None, bar: Progress | None
    ) -> None:
        self.name = name
        self.total = total
        self.done = 0
        self.suffix = ""
        self._reporter = reporter
        self._bar = bar
        self._last = time.monotonic()

    @property
    def count(self) -> str:
        """Finished units, of how many where that is known."""
        return str(self.done) if self.total is None else f"{self.done}/{self.total}"

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count finished units; ``note`` says something about the latest one."""
        self.done += count
        self.suffix = f", {note}" if note else ""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], advance=count, note=note)
        elif time.monotonic() - self._last >= PLAIN_INTERVAL_S:
            self._last = time.monotonic()
            self._reporter.say(f"{self.name}: {self.count}{self.suffix}")
