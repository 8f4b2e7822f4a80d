"""Real runs of the organism beside simulations of them; see simulate.py.

A simulation is fed with what was recorded: batches' times, and replies. A call is answered by what
was said to prompts most like it, and a judge thinks of a reply what it thought where it was said.
"""

import heapq
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from simulate import Clock, Rates, computing, run

from midspan.engine.calls import Chat, Judge
from midspan.engine.roles import MissingReply, RawReply, Role, SeededCall
from midspan.studies.redteam.prepare import PreparedRedteam, prepare
from midspan.studies.redteam.presets import organism_attack, organism_redteam

STEPS = 16  # Of a response, at most.


def small(behaviors: int) -> PreparedRedteam:
    names = ("direct", "tap", "dia", "pair")
    return prepare(
        organism_redteam().model_copy(
            update={
                "models": ("organism",),
                "paper_models": {},
                "attacks": tuple(map(organism_attack, names)),
                "behaviors": f"organism:{behaviors}",
                "decoding": {"length": 64, "block_length": 32, "steps": STEPS},
            }
        )
    )


class Said(NamedTuple):
    """A recorded reply: the words that it answered, its text, and its forwards."""

    asked: frozenset[str]
    text: str
    forwards: int


class Batch(NamedTuple):
    """A recorded batch: forwards of its slowest row, of all rows, and CPU seconds."""

    slowest: int
    rows: int
    seconds: float


class Recorder(Role):
    """A target that is asked in earnest; what it said and took is kept."""

    def __init__(self, target: Role) -> None:
        self.target = target
        self.fingerprint, self.capacity = target.fingerprint, target.capacity
        self.said: list[Said] = []
        self.batches: list[Batch] = []

    __hash__ = object.__hash__

    def draws(self, call: Any) -> bool:
        """Of the target, as all that follow."""
        return self.target.draws(call)

    def queue(self, call: Any) -> str:
        """Of the target."""
        return self.target.queue(call)

    def size(self, call: Any) -> int:
        """Of the target."""
        return self.target.size(call)

    def answer(self, tasks: Sequence[SeededCall]) -> Iterator[tuple[int, RawReply | MissingReply]]:
        """Of the target."""
        began = time.process_time()
        found = list(self.target.answer(tasks))
        seconds = time.process_time() - began
        rows = []
        for index, reply in found:
            call = tasks[index].call
            if isinstance(reply, RawReply) and isinstance(call, Chat):
                rows.append(reply.forwards)
                self.said.append(Said(words_of(call), reply.raw, reply.forwards))
        self.batches.append(Batch(max(rows, default=0), sum(rows), seconds))
        yield from found


class Replay(Recorder):
    """A role that says what was said to the prompts that are most like its own.

    Replies to anything else would stop another attack too early or too late.
    """

    candidates = 3

    def __init__(self, target: Role, said: Sequence[Said], clock: Clock, rates: Rates) -> None:
        super().__init__(target)
        self.known, self.clock, self.wait = list(said), clock, computing(rates)

    def nearest(self, asked: frozenset[str]) -> list[Said]:
        """Recorded replies to the prompts that share most words with this one."""

        def alike(one: Said) -> float:
            return len(asked & one.asked) / len(asked | one.asked)

        return heapq.nlargest(self.candidates, self.known, alike)

    def answer(self, tasks: Sequence[SeededCall]) -> Iterator[tuple[int, RawReply | MissingReply]]:
        """Recorded replies, for which time passes."""
        replies = []
        for call, seed in tasks:
            assert isinstance(call, Chat)
            best = self.nearest(words_of(call))
            one = best[(seed or zlib.crc32(repr(call.messages).encode())) % len(best)]
            replies.append(RawReply(one.text, 60, forwards=one.forwards))
        self.wait(self.clock, replies)
        yield from enumerate(replies)


class Remembering(Role):
    """A judge of replies that were recorded: of each it thinks what it thought then."""

    def __init__(self, judge: Role, behaviors: dict[str, Any]) -> None:
        self.judge, self.behaviors = judge, behaviors
        self.fingerprint, self.capacity = judge.fingerprint, judge.capacity

    __hash__ = object.__hash__

    def draws(self, call: Any) -> bool:
        """Of the judge, as all that follow."""
        return self.judge.draws(call)

    def describe(self, call: Any) -> dict[str, Any]:
        """Of the judge."""
        return self.judge.describe(call)

    def read(self, call: Any, raw: Any) -> Any:
        """Of the judge."""
        return self.judge.read(call, raw)

    def answer(self, tasks: Sequence[SeededCall]) -> Iterator[tuple[int, RawReply | MissingReply]]:
        """Of the judge, on the behavior that a reply was said to."""
        then = []
        for call, seed in tasks:
            assert isinstance(call, Judge)
            behavior = self.behaviors.get(call.response, call.behavior)
            then.append(SeededCall(replace(call, behavior=behavior), seed))
        yield from self.judge.answer(then)


def words_of(call: Chat) -> frozenset[str]:
    """Of a conversation."""
    return frozenset(" ".join(message["content"] for message in call.messages).split())


def fitted(batches: Sequence[Batch]) -> Rates:
    """Least squares over batches, neither rate below zero."""
    ss = sum(one.slowest**2 for one in batches)
    rr = sum(one.rows**2 for one in batches)
    sr = sum(one.slowest * one.rows for one in batches)
    st = sum(one.slowest * one.seconds for one in batches)
    rt = sum(one.rows * one.seconds for one in batches)
    spread = ss * rr - sr * sr
    if spread > 1e-9 * ss * rr:
        forward, row = (st * rr - rt * sr) / spread, (rt * ss - st * sr) / spread
        if forward >= 0 and row >= 0:
            return Rates(forward, row)
    by_row, by_forward = Rates(0.0, rt / rr), Rates(st / ss, 0.0)
    return min(by_row, by_forward, key=lambda rates: _misfit(rates, batches))


def _misfit(rates: Rates, batches: Sequence[Batch]) -> float:
    said = ((rates.forward * one.slowest + rates.row * one.rows, one.seconds) for one in batches)
    return sum((found - seconds) ** 2 for found, seconds in said)


@dataclass
class Recording:
    """What runs said and took, and for which behavior a reply was meant."""

    said: list[Said] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    behavior_of: dict[str, Any] = field(default_factory=dict)

    def __add__(self, other: "Recording") -> "Recording":
        return Recording(
            self.said + other.said,
            self.batches + other.batches,
            self.behavior_of | other.behavior_of,
        )


@dataclass
class Small:
    """The check's study with its roles open."""

    prepared: PreparedRedteam
    roles: dict[str, Role]
    judges: dict[str, Role]

    def run(self, target: Role, judges: dict[str, Role], share: slice) -> tuple[list[Any], float]:
        """Results, and CPU seconds."""
        began = time.process_time()
        lead = next(iter(judges.values()))
        results = run(self.prepared, self.roles | {"target": target, "judge": lead}, judges, share)
        return results, time.process_time() - began

    def real(self, share: slice) -> tuple[int, float, Recording]:
        """Forwards and CPU seconds of a real run, and what it said."""
        target = Recorder(self.roles["target"])
        results, seconds = self.run(target, self.judges, share)
        known = {one.id: one for one in self.prepared.behaviors.behaviors}
        behavior_of = {
            one.response: known[result.behavior] for result in results for one in result.attempts
        }
        return forwards_of(results), seconds, Recording(target.said, target.batches, behavior_of)

    def simulated(self, source: Recording, share: slice) -> tuple[int, float]:
        """Forwards and seconds of a simulation of the same run."""
        clock = Clock()
        target = Replay(self.roles["target"], source.said, clock, fitted(source.batches))
        judges: dict[str, Role] = {
            spec: Remembering(judge, source.behavior_of) for spec, judge in self.judges.items()
        }
        results, engine = self.run(target, judges, share)
        return forwards_of(results), clock.now + engine


def forwards_of(results: Sequence[Any]) -> int:
    """Rows through the target."""
    return sum(result.usage["target"].forwards for result in results)


def check(behaviors: int, runs: int) -> None:
    """Real runs of the organism, each simulated from itself and from the runs before it."""
    prepared = small(runs * behaviors)
    roles = {name: helper.open() for name, helper in prepared.helpers.items()}
    judges = {spec: judge.open() for spec, judge in prepared.judges.items()}
    study = Small(prepared, roles | prepared.targets[0].open(), judges)
    print("| run | simulated from | forwards, real | simulated / real | CPU s, real | "
          "simulated / real |\n|---|---|---|---|---|---|")  # fmt: skip
    before = Recording()
    for number in range(runs):
        share = slice(number, None, runs)
        forwards, seconds, own = study.real(share)
        for name, source in (("itself", own), ("the runs before", before)):
            if source.said:
                said, took = study.simulated(source, share)
                print(
                    f"| {number + 1} | {name} | {forwards:,} | {said / forwards:.2f} "
                    f"| {seconds:.1f} | {took / seconds:.2f} |",
                    flush=True,
                )
        before += own
