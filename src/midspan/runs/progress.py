"""Progress for people: a live bar on a terminal, plain lines with times elsewhere."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.progress import Progress, ProgressColumn, Task
from rich.text import Text

PLAIN_INTERVAL_S = 10.0
_FIRST_PLAIN_S = 2.0
# A rate is that of the latest minute: what a journal held before comes all at once.
_RATE_SECONDS = 60.0
_BAR = 20
_LEAST_NAME = 8
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
        line = Text.assemble((clock(time.monotonic() - self._started), "dim"), f" {text}")
        self.console.print(line, highlight=False, soft_wrap=True)

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator["Stage"]:
        """A counted stage, of unknown size where `total` is None; its ``advance`` reports."""
        if self.console.quiet or not _can_draw(self.console):
            stage = Stage(self, name, total, None)
            yield stage
            self.say(f"{name}: done ({stage.count}{stage.suffix})")
            return
        column = _Line()
        with Progress(column, console=self.console) as bar:
            bar.add_task(name, total=total)
            column.stage = Stage(self, name, total, bar)
            yield column.stage

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
                note = ", ".join(f"{name} {row[name]:.2f}" for name in metrics if name in row)
                stage.reach(step, note)

            yield show
            if not stage.done:
                stage.skip(num_steps, "kept")


class Stage:
    """Progress of one stage."""

    def __init__(
        self, reporter: Reporter, name: str, total: int | None, bar: Progress | None
    ) -> None:
        self.name = name
        self.total = total
        self.done = 0
        self.note = ""
        self._reporter = reporter
        self._bar = bar
        now = time.monotonic()
        self._last = now - PLAIN_INTERVAL_S + _FIRST_PLAIN_S
        self._seen = deque([(now, 0)])

    @property
    def suffix(self) -> str:
        """What is said of the latest unit, behind a comma."""
        return f", {self.note}" if self.note else ""

    @property
    def count(self) -> str:
        """Finished units, of how many where that is known."""
        return str(self.done) if self.total is None else f"{self.done}/{self.total}"

    @property
    def pace(self) -> str:
        """Rate and, where the size is known, time left; empty before anything is finished."""
        (first, done), (last, _) = self._seen[0], self._seen[-1]
        finished, seconds = self.done - done, last - first
        if not finished or not seconds:
            return ""
        rate = finished / seconds
        if self.total is None or self.done >= self.total:
            return _rate(rate)
        return f"{_rate(rate)}, {clock((self.total - self.done) / rate)} left"

    def skip(self, count: int, note: str | None = None) -> None:
        """Count units that were finished before; no rate has them."""
        self.done += count
        self._seen = deque([(time.monotonic(), self.done)])
        self._show(note)

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """Count finished units; ``note`` says something about the latest one, None nothing new."""
        now = time.monotonic()
        self.done += count
        self._seen.append((now, self.done))
        while len(self._seen) > 2 and now - self._seen[1][0] > _RATE_SECONDS:
            self._seen.popleft()
        self._show(note)
        if self._bar is None and now - self._last >= PLAIN_INTERVAL_S:
            self._last = now
            pace = f", {self.pace}" if self.pace else ""
            self._reporter.say(f"{self.name}: {self.count}{pace}{self.suffix}")

    def reach(self, count: int, note: str) -> None:
        """Count up to so many; the first ones may come from a checkpoint, and no rate has them."""
        if self.done:
            self.advance(count - self.done, note)
        else:
            self.skip(count, note)

    def line(self, width: int) -> str:
        """What a terminal of this width shows: count, rate and time left before all else."""
        measured = f"{self.count} {self.pace}".strip()
        free = width - len(measured) - 1
        if free < _LEAST_NAME:
            return measured[:width]
        name = self.name if len(self.name) <= free else f"{self.name[: free - 3]}..."
        free -= len(name)
        bar = ""
        if self.total and free > _BAR + 3:
            full = min(_BAR, _BAR * self.done // self.total)
            bar = f" [{'=' * full}{' ' * (_BAR - full)}]"
        note = f"  {self.note}" if free - len(bar) > len(self.note) + 1 and self.note else ""
        return f"{name}{bar} {measured}{note}"

    def _show(self, note: str | None) -> None:
        self.note = self.note if note is None else note
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self.done)


class _Line(ProgressColumn):
    """A stage's line, as wide as the terminal has become."""

    max_refresh = 0.1

    def __init__(self) -> None:
        super().__init__()
        self.stage: Stage | None = None

    def render(self, task: Task) -> "_Fitting":
        """See rich."""
        return _Fitting(self.stage)


class _Fitting:
    """What rich asks for its width when it prints."""

    def __init__(self, stage: Stage | None) -> None:
        self._stage = stage

    def __rich_console__(self, console: Console, options: Any) -> Iterator[Text]:
        """See rich."""
        text = self._stage.line(options.max_width) if self._stage else ""
        yield Text(text, no_wrap=True, overflow="crop")

    def __rich_measure__(self, console: Console, options: Any) -> Measurement:
        """See rich."""
        return Measurement(options.max_width, options.max_width)


def clock(seconds: float) -> str:
    """Minutes and seconds, behind hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def _rate(per_second: float) -> str:
    """Units a second, minute or hour, whichever gives at least one."""
    for times, unit in ((1, "s"), (60, "min")):
        if per_second * times >= 1:
            return f"{per_second * times:.3g}/{unit}"
    return f"{per_second * 3600:.3g}/h"
