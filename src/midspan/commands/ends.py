"""What a command says first, last, and when somebody stops it."""

import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

# What Ctrl-C costs nothing of: the same command goes on.
_CONTINUED = frozenset({"align", "attack", "audit", "demo", "judge", "organism", "probe", "study",
                        "task"})  # fmt: skip
STOPPED = 130  # as shells have it of an interrupted program
# Of a response of 128 tokens in full batches, on one core: for an order of magnitude alone.
_ORGANISM_RESPONSE_SECONDS = 0.1
RECORDS, REPORT = "records.jsonl", "report.html"
_ORGANISM = "organism"


class Group(TyperGroup):
    """The commands; an interrupted one says in a line how it goes on."""

    def invoke(self, ctx: Any) -> Any:
        """See click."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stopped:
            typer.echo(stopped_line(str(stopped)), err=True)
            raise typer.Exit(STOPPED) from None


def typed(*words: object) -> str:
    """Words as one line that can be pasted into a shell."""
    return shlex.join(map(str, words))


def command_line() -> str:
    """The command as it was typed, for run folders and messages."""
    return typed("midspan", *sys.argv[1:])


def stopped_line(where: str = "") -> str:
    """What an interrupted command says.

    Args:
        where: How far it came, such as "at step 6 of 100".
    """
    place = f" {where}" if where else ""
    if next(iter(sys.argv[1:]), "") in _CONTINUED and "inspect" not in sys.argv[2:3]:
        return f"midspan: stopped{place}; this continues it: {command_line()}"
    return f"midspan: stopped{place}"


class Run:
    """One call of a command that fills a folder: what it says first and last.

    Args:
        what: What it will do, in a line.
        output: The folder.
        takes: How long, or by what that is known.
    """

    def __init__(self, what: str, output: Path, takes: str = "") -> None:
        self.output, self._started = output, time.monotonic()
        self._before = _size(output)
        self._was_finished = (output / RECORDS).is_file()
        begun = "continues" if self._before else "goes"
        place = f"{begun} in {shlex.quote(str(output))}"
        say("; ".join(filter(None, (what, takes, place))))

    @property
    def is_kept(self) -> bool:
        """Whether everything was there before, and nothing has been computed."""
        return self._was_finished and _size(self.output) == self._before

    def end(self, report: Path | None, *next_words: object) -> None:
        """The last lines: how long it took, where the result is, and what comes next.

        Args:
            report: The page; None for one process of several.
            next_words: A command; by default the one that shows the page.
        """
        if report is None:
            typer.echo("This process is done. Collect with one process: " + command_line())
            return
        self.done(report)
        words = next_words or ("midspan", "report", "--open", self.output)
        typer.echo(f"Next: {typed(*words)}")

    def done(self, file: Path) -> None:
        """How long it took, and the file to read."""
        minutes = (time.monotonic() - self._started) / 60
        kept = "Kept: nothing had to be computed again."
        done = kept if self.is_kept else f"Done in {minutes:.1f} min."
        typer.echo(f"{done} Open {shlex.quote(str(file))}")


def expected_responses(most: int, models: Sequence[str]) -> str:
    """How much work a number of responses is, as far as is known before the first one."""
    from midspan.organism.behaviors import is_organism

    is_own = all(map(is_organism, models))
    minutes = most * _ORGANISM_RESPONSE_SECONDS / 60
    about = f", about {minutes:.0f} min on one core" if is_own and minutes >= 1 else ""
    return f"at most {most:,} responses{about}"


def next_audit(model: str, aligned: bool = False) -> tuple[str, ...]:
    """The audit that follows, of a model that needs nothing else named; nothing for others.

    Args:
        model: Which has been attacked or audited.
        aligned: Whether the aligned organism is next.
    """
    if model.partition(":")[0] != _ORGANISM or "+" in model:
        return ()
    spec = f"{_ORGANISM}:mosa-stable" if aligned else model
    folder = f"runs/audit-{spec.replace(':', '-')}"
    return () if aligned and spec == model else ("midspan", "audit", spec, "-o", folder)


def say(line: str) -> None:
    """A line for people, on standard error; other ranks of a launcher say nothing."""
    from midspan.journal.ranks import this_rank

    if this_rank().index == 0:
        typer.echo(line, err=True)


def _size(folder: Path) -> int:
    """Bytes of what a run has computed: of its journals and adapters, and those of its parts."""
    patterns = ("journal*.jsonl", "metrics.jsonl")
    return sum(file.stat().st_size for pattern in patterns for file in folder.rglob(pattern))


@contextmanager
def stopping_at(folder: Path, steps: dict[str, int]) -> Iterator[None]:
    """Within the context, an interrupted training says which step it came to, and what is kept.

    Args:
        folder: Of its checkpoints.
        steps: ``done`` and ``total``, kept up to date by whoever trains.
    """
    try:
        yield
    except KeyboardInterrupt:
        numbers = [int(path.name.rpartition("-")[2]) for path in folder.glob("checkpoint-*")]
        kept = f"goes on from step {max(numbers)}" if numbers else "no checkpoint yet, so anew"
        place = f"at step {steps['done']} of {steps['total']} ({kept})" if steps else ""
        raise KeyboardInterrupt(place) from None
