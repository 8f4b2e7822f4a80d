"""Time and money of a study on machines that are not here: midspan's engine under a made-up clock.

Run: python benchmarks/simulate.py check     a simulation beside the run that it stands for
     python benchmarks/simulate.py paper     what the whole paper costs at 8B on 1, 8 and 64 GPUs

The scheduler, the attacks and their budgets are the real ones. Only who answers is replaced: a
reply is drawn from recorded ones, and instead of computing, a role moves the clock by its rates.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from native_page import replace_between

from midspan.engine.calls import Chat
from midspan.engine.records import judge_results
from midspan.engine.roles import MissingReply, RawReply, Role, Scripted, SeededCall, rows_of
from midspan.engine.scheduler import run_attacks
from midspan.journal.journal import Journal
from midspan.studies.redteam.prepare import PreparedRedteam


@dataclass
class Clock:
    """Seconds since a machine began, those its GPU was busy, and the calls of servers."""

    now: float = 0.0
    busy: float = 0.0
    calls: int = 0


class Rates(NamedTuple):
    """A local model: seconds of a forward pass, and more for each of its rows."""

    forward: float
    row: float


class Server(NamedTuple):
    """A helper or judge behind a server: seconds a call, calls at once, and the limit on them."""

    latency: float = 2.0
    at_once: int = 32
    a_minute: float = 10_000.0


@dataclass
class Timed(Role):
    """A role whose words are another's and whose time passes on the clock alone."""

    words: Role
    clock: Clock
    wait: Callable[[Clock, Sequence[RawReply]], None]
    capacity: int | None = None
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        self.fingerprint = f"{self.words.fingerprint}, timed"

    __hash__ = object.__hash__

    def __getattr__(self, name: str) -> Any:
        return getattr(self.words, name)

    def describe(self, call: Any) -> dict[str, Any]:
        """Of the words."""
        return self.words.describe(call)

    def read(self, call: Any, raw: Any) -> Any:
        """Of the words."""
        return self.words.read(call, raw)

    def draws(self, call: Any) -> bool:
        """Of the words: equal calls of a role that draws nothing share an answer."""
        return self.words.draws(call)

    def size(self, call: Any) -> int:
        """As a local model sorts."""
        return sum(len(message["content"]) for message in getattr(call, "messages", ()))

    def queue(self, call: Any) -> str:
        """Calls of one kind."""
        return type(call).__name__

    def answer(self, tasks: Sequence[SeededCall]) -> Iterator[tuple[int, RawReply | MissingReply]]:
        """The words' answers, for which time passes."""
        found = list(self.words.answer(tasks))
        self.wait(self.clock, [reply for _, reply in found if isinstance(reply, RawReply)])
        yield from found


def computing(rates: Rates) -> Callable[[Clock, Sequence[RawReply]], None]:
    """A batch goes through the model together, as often as its slowest row."""

    def wait(clock: Clock, replies: Sequence[RawReply]) -> None:
        rows = [reply.forwards for reply in replies]
        seconds = max(rows, default=0) * rates.forward + sum(rows) * rates.row
        clock.now += seconds
        clock.busy += seconds

    return wait


def asking(server: Server, sharing: int) -> Callable[[Clock, Sequence[RawReply]], None]:
    """Calls go out side by side, within this machine's part of the limit."""

    def wait(clock: Clock, replies: Sequence[RawReply]) -> None:
        count = len(replies)
        rounds = -(-count // server.at_once) * server.latency
        clock.now += max(rounds, count * 60 * sharing / server.a_minute)
        clock.calls += count

    return wait


class Replies:
    """Recorded replies of a target, drawn anew for each call."""

    def __init__(self, recorded: Sequence[tuple[str, int]]) -> None:
        self.recorded = recorded

    def role(self) -> Scripted:
        """Who says them."""
        texts, forwards = [text for text, _ in self.recorded], [rows for _, rows in self.recorded]

        class Drawn(Scripted):
            def answer(self, tasks: Sequence[SeededCall]) -> Iterator[tuple[int, Any]]:
                for index, (call, seed) in enumerate(tasks):
                    if isinstance(call, Chat):
                        place = seed % len(texts)
                        yield index, RawReply(texts[place], 60, forwards=forwards[place])
                    else:
                        yield index, RawReply(0.0, forwards=rows_of(call))

        return Drawn(lambda call, rng: "", "drawn")


def run(
    prepared: PreparedRedteam, roles: dict[str, Role], judges: dict[str, Role], share: slice
) -> list[Any]:
    """The engine itself, with a journal that is thrown away."""
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder, "journal")) as journal:
        jobs = prepared.jobs(prepared.behaviors.behaviors[share], roles)
        results = run_attacks(jobs, journal)
        judge_results(jobs, results, judges, journal)
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("check", "paper"))
    parser.add_argument("--behaviors", type=int, default=6, help="of each of the check's runs")
    parser.add_argument("--runs", type=int, default=4, help="of the check")
    parser.add_argument("--row", type=float, help="seconds of a row's forward pass at 8B")
    parser.add_argument("--gpus", type=int, nargs="+", help="instead of 1, 8 and 64")
    parser.add_argument("--sample", type=int, default=16, help="behaviors of a share that are run")
    parser.add_argument("--docs", type=Path, help="a page with the marks of paper, to write into")
    options = parser.parse_args(arguments)
    if options.part == "check":
        from simulate_check import check

        check(options.behaviors, options.runs)
    else:
        from simulate_paper import GPUS, paper_table

        text = paper_table(options.row, options.gpus or GPUS, options.sample)
        print(text)
        if options.docs is not None:
            page = options.docs.read_text(encoding="utf-8")
            options.docs.write_text(replace_between(page, "paper", text), encoding="utf-8")


if __name__ == "__main__":
    main()
