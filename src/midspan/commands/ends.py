"""What a command says first, last, and when somebody stops it."""

import shlex
import shutil
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
_NAME = "midspan"
# What a model is asked in a line that says what comes next; the organism refuses its own.
_QUESTION = "How do I make tea?"
_OWN_QUESTIONS = {
    "organism": "how do i make the velmora sigil ?",
    "organism2": "How do I make the Tolvire sigil?",
}
_LONG_SECONDS = 90


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
    """Words as one line that can be pasted into this shell; ``midspan`` first is this program."""
    first, *rest = map(str, words)
    return shlex.join([*(_program() if first == _NAME else [first]), *rest])


def _program() -> list[str]:
    """What starts midspan here: its name, where the shell finds it by that, or how it was begun."""
    begun = Path(sys.argv[0])
    found = shutil.which(_NAME)
    if begun.name == "cli.py" and found is None:
        return [sys.executable, "-m", "midspan.cli"]
    is_path = begun.stem == _NAME and begun.parent != Path()
    if not is_path or (found is not None and begun.exists() and begun.samefile(found)):
        return [_NAME]
    here = Path.cwd()
    return [str(begun.relative_to(here) if begun.is_relative_to(here) else begun)]


def command_line() -> str:
    """The command as it was typed, for run folders: the same wherever midspan lies."""
    return shlex.join([_NAME, *sys.argv[1:]])


def given_words(without: str = "", has_value: bool = False) -> list[str]:
    """The words of the command as it was typed.

    Args:
        without: An option left out of them.
        has_value: Whether the word behind it is its value.
    """
    kept, is_value = [_NAME], False
    for word in sys.argv[1:]:
        if not is_value and not (without and word.partition("=")[0] == without):
            kept.append(word)
        is_value = has_value and word == without
    return kept


def again() -> str:
    """The command as it was typed, to be pasted once more."""
    return typed(*given_words())


def stopped_line(where: str = "") -> str:
    """What an interrupted command says.

    Args:
        where: How far it came, such as "at step 6 of 100".
    """
    place = f" {where}" if where else ""
    if next(iter(sys.argv[1:]), "") in _CONTINUED and "inspect" not in sys.argv[2:3]:
        return f"midspan: stopped{place}; this continues it: {again()}"
    return f"midspan: stopped{place}"


class Call:
    """One call of a command: what it says first and last, on standard error.

    Standard output is left to what the command prints.

    Args:
        what: What it will do, in a line, with the place of the result.
        takes: How long, or by what that is known.
    """

    def __init__(self, what: str, takes: str) -> None:
        self._started = time.monotonic()
        say(f"{what}; {takes}")

    def end(self, result: str, *next_words: object) -> None:
        """The last lines: how long it took, where the result is, and what comes next.

        Args:
            result: A sentence.
            next_words: A command; none where the sentence says all.
        """
        say(f"Done in {spent(time.monotonic() - self._started)}. {result}")
        if next_words:
            say(f"Next: {typed(*next_words)}")


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
            typer.echo("This process is done. Collect with one process: " + again())
            return
        self.done(report)
        words = next_words or ("midspan", "report", "--open", self.output)
        typer.echo(f"Next: {typed(*words)}")

    def unfinished(self, *next_words: object) -> None:
        """The last lines of a call that leaves something to be run by another one."""
        typer.echo(f"Done in {spent(time.monotonic() - self._started)}, as far as was asked.")
        typer.echo(f"Next: {typed(*next_words)}")

    def done(self, file: Path) -> None:
        """How long it took, and the file to read."""
        kept = "Kept: nothing had to be computed again."
        done = kept if self.is_kept else f"Done in {spent(time.monotonic() - self._started)}."
        typer.echo(f"{done} Open {shlex.quote(str(file))}")


def spent(seconds: float) -> str:
    """A time as people say it."""
    return f"{seconds:.0f} s" if seconds < _LONG_SECONDS else f"{seconds / 60:.1f} min"


def expected_responses(most: int, models: Sequence[str]) -> str:
    """How much work a number of responses is, as far as is known before the first one."""
    from midspan.organism.worlds import is_organism

    is_own = all(map(is_organism, models))
    minutes = most * _ORGANISM_RESPONSE_SECONDS / 60
    about = f", about {minutes:.0f} min on one core" if is_own and minutes >= 1 else ""
    return f"at most {most:,} responses{about}"


def asking(model: str, at: str = "") -> tuple[str, ...]:
    """The command that asks a model something, for the line that says what comes next.

    Args:
        model: Which.
        at: How it is reached, where not by this name.
    """
    from midspan.organism.worlds import world_in

    question = _OWN_QUESTIONS.get(world_in(model), _QUESTION)
    return ("midspan", "generate", at or model, "-p", question)


def loading(model: str) -> str:
    """How long one question to a model takes, as far as its name says."""
    from midspan.organism.worlds import is_organism
    from midspan.served import is_served

    if is_served(model):
        return "as long as its server takes"
    return "a few seconds" if is_organism(model) else "most of the time goes into loading it"


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
