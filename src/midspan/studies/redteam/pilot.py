"""A few behaviors attacked for a forecast: how early attacks stop cannot be computed.

It follows from verdicts, which answers decoded fast give nearly as often. So a pilot asks for fast
answers where it can, and what the study's own take is measured on some of the same requests.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from midspan.data.behaviors import Behavior
from midspan.engine.calls import Chat
from midspan.engine.local import LocalRole
from midspan.engine.records import judge_results
from midspan.engine.roles import MissingReply, RawReply, Role, SeededCall
from midspan.engine.scheduler import run_attacks
from midspan.journal.journal import Journal
from midspan.studies.redteam.prepare import PreparedRedteam, Target

_FAST = {"cache": "dual", "threshold": 0.9}


class Pilot(NamedTuple):
    """What attacks took of one model, a behavior.

    Attributes:
        responses: Of the target.
        forwards: Rows through its network.
        seconds: Judges and local helpers included.
    """

    responses: float
    forwards: float
    seconds: float


class _Missing(NamedTuple):
    """What fast answers did not take, and the study's own would have."""

    forwards: float
    seconds: float


class _Hurried(Role):
    """A target that answers plain requests fast, and notes what that took.

    Args:
        usual: The target as the study asks it.
    """

    def __init__(self, usual: Role) -> None:
        self.usual, self.fast = usual, _fast(usual)
        self.fingerprint, self.capacity = usual.fingerprint, usual.capacity
        self._batches: list[Sequence[SeededCall]] = []
        self._forwards, self._seconds = 0, 0.0

    def __getattr__(self, name: str) -> Any:
        """Whatever else a role has is the target's own."""
        return getattr(self.usual, name)

    def describe(self, call: Any) -> dict[str, Any]:
        """See `Role`."""
        return self.usual.describe(call)

    def draws(self, call: Any) -> bool:
        """See `Role`."""
        return self.usual.draws(call)

    def queue(self, call: Any) -> str:
        """See `Role`."""
        return self.usual.queue(call)

    def size(self, call: Any) -> int:
        """See `Role`."""
        return self.usual.size(call)

    def load(self) -> None:
        """See `Role`."""
        self.usual.load()

    def unload(self) -> None:
        """See `Role`."""
        self.usual.unload()

    def answer(self, tasks: Sequence[SeededCall]) -> Iterator[tuple[int, RawReply | MissingReply]]:
        """Chats without rules fast; all others as the study has them."""
        call = tasks[0].call
        if self.fast is None or not _is_plain(call):
            yield from self.usual.answer(tasks)
            return
        found, forwards, seconds = _timed(self.fast, tasks)
        self._batches.append(tasks)
        self._forwards, self._seconds = self._forwards + forwards, self._seconds + seconds
        yield from found

    def missing(self) -> _Missing:
        """From batches at the quartiles of all requests, asked once more in the study's way."""
        batches = sorted(self._batches, key=len)
        rows = [index for index, batch in enumerate(batches) for _ in batch]
        if not rows:
            return _Missing(0, 0)
        forwards, seconds, asked = 0, 0.0, 0
        for index in sorted({rows[len(rows) // 4], rows[3 * len(rows) // 4]}):
            _, more_forwards, more_seconds = _timed(self.usual, batches[index])
            forwards, seconds = forwards + more_forwards, seconds + more_seconds
            asked += len(batches[index])
        times = len(rows) / asked
        return _Missing(times * forwards - self._forwards, times * seconds - self._seconds)


def _is_plain(call: Any) -> bool:
    """Whether a call is a chat that leaves the decoding as it is."""
    return isinstance(call, Chat) and not (call.rules or call.decoding or call.tampering)


def _fast(usual: Role) -> Role | None:
    """A local model of LLaDA's sampler with Fast-dLLM's cache and threshold; None for others."""
    if not isinstance(usual, LocalRole):
        return None
    decoding = usual.decoding
    if decoding.sampler != "llada" or decoding.rules or not decoding.exact or decoding.guidance:
        return None
    if decoding.remasking != "low_confidence" or decoding.compatibility:
        return None
    return usual.decoding_by(decoding.model_copy(update=_FAST))


def _timed(role: Role, tasks: Sequence[SeededCall]) -> tuple[list[Any], int, float]:
    """A role's answers, their forwards, and seconds."""
    started = time.perf_counter()
    found = list(role.answer(tasks))
    seconds = time.perf_counter() - started
    forwards = sum(reply.forwards for _, reply in found if isinstance(reply, RawReply))
    return found, forwards, seconds


def pilot(prepared: PreparedRedteam, target: Target, count: int) -> Pilot:
    """Attack some behaviors of a study, spread over all of them; replies are not kept.

    Args:
        prepared: The study.
        target: One of its targets.
        count: Behaviors, at most as many as there are.
    """
    behaviors = spread(prepared.behaviors.behaviors, count)
    judges = {spec: judge.open() for spec, judge in prepared.judges.items()}
    opened = target.open()
    hurried = _Hurried(opened["target"])
    helpers = {name: helper.open() for name, helper in prepared.helpers.items()}
    leading = judges[prepared.config.judges[0]]
    with prepared.given.merged():
        roles = {**helpers, "judge": leading, **opened, "target": hurried}
        jobs = prepared.jobs(behaviors, roles)
        seed = prepared.config.seed
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder, Journal(Path(folder, "journal")) as journal:
            results = run_attacks(jobs, journal, seed)
            judge_results(jobs, results, judges, journal, seed)
        seconds = time.perf_counter() - started
        more = hurried.missing()
    usage = [result.usage["target"] for result in results if "target" in result.usage]
    calls, forwards = sum(one.calls for one in usage), sum(one.forwards for one in usage)
    totals = calls, forwards + more.forwards, seconds + more.seconds
    return Pilot(*(total / len(behaviors) for total in totals))


def spread(behaviors: Sequence[Behavior], count: int) -> list[Behavior]:
    """So many behaviors at equal distances, since files often hold theirs by category."""
    count = min(count, len(behaviors))
    return [behaviors[(2 * index + 1) * len(behaviors) // (2 * count)] for index in range(count)]
