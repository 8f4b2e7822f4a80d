"""Waves: all live samples advance together, and their calls go to the roles in full batches.

Nothing here depends on time: which calls go next follows from the calls alone, and a reply from its
call and seed, so an interrupted run goes on with the same batches.
"""

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from midspan.engine.attack import AttackResult
from midspan.engine.roles import Answer, NoAnswer, Role
from midspan.engine.samples import Job, Live, OpenCall
from midspan.journal.journal import Journal

__all__ = ["Job", "Turn", "run"]

_SYNC_SECONDS = 1.0


class Turn(NamedTuple):
    """What a role has just answered.

    Attributes:
        role: Its fingerprint.
        replies: Replies that are now available.
        asked: Rows that had to be asked for; the others were journalled.
        batches: Batches in which they were.
    """

    role: str
    replies: int
    asked: int
    batches: int


OnTurn = Callable[[Turn], None]


def run(
    jobs: Sequence[Job], journal: Journal, seed: int = 0, on_turn: OnTurn | None = None
) -> list[AttackResult]:
    """Run attacks to their ends; what the journal holds is not asked again.

    Args:
        jobs: In any order; a job's result does not depend on the others.
        journal: Every reply is in it before it is used.
        seed: Of all draws.
        on_turn: Told of progress.

    Returns:
        Results in the order of the jobs.
    """
    lives = [Live(job, seed) for job in jobs]
    desk = _Desk(journal, on_turn)
    try:
        with _collecting(False):
            ready: list[Live] = lives
            while ready:
                for live in ready:
                    desk.put(live.advance())
                ready = desk.turn()
    finally:
        desk.close()
    return [live.result() for live in lives]


@contextmanager
def _collecting(wanted: bool) -> Iterator[None]:
    """Python's search for reference cycles, on or off.

    Waves make none, and hold so many calls and replies that looking through them again and again
    takes a third of a large replay.
    """
    was_on = gc.isenabled()
    (gc.enable if wanted else gc.disable)()
    try:
        yield
    finally:
        (gc.enable if was_on else gc.disable)()


@dataclass
class _Lane:
    """Calls that may share a batch, by key; equal calls are asked once."""

    role: Role
    name: str
    waiting: dict[str, list[OpenCall]] = field(default_factory=dict)

    @property
    def fill(self) -> float:
        """Batches that the calls would make; any number of calls is one of unlimited capacity."""
        capacity = self.role.capacity
        return len(self.waiting) / capacity if capacity else 1.0

    def take(self) -> dict[str, list[OpenCall]]:
        """The longest calls in full batches, or everything where that makes none."""
        keys = sorted(self.waiting, key=lambda key: (-self._size(key), key))
        if self.role.capacity and self.fill >= 1:
            keys = keys[: int(self.fill) * self.role.capacity]
        return {key: self.waiting.pop(key) for key in keys}

    def _size(self, key: str) -> int:
        return self.role.size(self.waiting[key][0].call)


class _Desk:
    """Open calls on their way to the roles and back."""

    def __init__(self, journal: Journal, on_turn: OnTurn | None) -> None:
        self._journal = journal
        self._on_turn = on_turn
        self._lanes: dict[tuple[Role, str], _Lane] = {}
        self._accounted: set[str] = set()
        self._loaded: Role | None = None
        self._collects = gc.isenabled()

    def put(self, calls: Iterable[OpenCall]) -> None:
        """Queue calls."""
        for call in calls:
            at = (call.role, call.role.lane(call.call))
            lane = self._lanes.setdefault(at, _Lane(*at))
            lane.waiting.setdefault(call.key, []).append(call)

    def turn(self) -> list[Live]:
        """Let roles answer until samples can go on; those, or none when nothing is open."""
        while lane := self._next():
            taken = lane.take()
            failed = self._ask(lane, taken)
            settled = self._settle(lane.role, taken, failed)
            ready = [live for live in settled if not live.is_waiting]
            if ready:
                return ready
        return []

    def _settle(
        self, role: Role, taken: dict[str, list[OpenCall]], failed: dict[str, NoAnswer]
    ) -> Iterable[Live]:
        """Pass answers on; the samples that got any, each once."""
        settled: dict[Live, None] = {}
        for key, calls in taken.items():
            answer = failed.get(key) or Answer.from_dict(self._journal[key])
            if isinstance(answer, Answer) and key not in self._accounted:
                self._accounted.add(key)
                role.account(answer)
            for call in calls:
                again = call.settle(answer)
                self.put([again] if again else [])
                settled[call.live] = None
        return settled

    def close(self) -> None:
        """Let go of the accelerator."""
        if self._loaded is not None:
            self._loaded.unload()

    def _next(self) -> _Lane | None:
        """Roles of unlimited capacity first, then full batches, of the loaded model first."""
        waiting = [lane for lane in self._lanes.values() if lane.waiting]

        def rank(lane: _Lane) -> tuple[bool, bool, bool, float, str, str]:
            full = lane.fill >= 1
            here = lane.role is self._loaded
            unlimited = lane.role.capacity is None
            return unlimited, full, full and here, lane.fill, lane.role.fingerprint, lane.name

        return max(waiting, key=rank, default=None)

    def _ask(self, lane: _Lane, taken: dict[str, list[OpenCall]]) -> dict[str, NoAnswer]:
        """Journal the answers that are missing; those that did not come are returned."""
        missing = [key for key in taken if key not in self._journal]
        failed: dict[str, NoAnswer] = {}
        size = lane.role.capacity or len(missing) or 1
        batches = [missing[start : start + size] for start in range(0, len(missing), size)]
        if missing:
            self._load(lane.role)
        for batch in batches:
            with _collecting(self._collects):
                failed |= self._ask_batch(lane.role, [taken[key][0] for key in batch])
        self._journal.sync()
        if self._on_turn is not None:
            turn = Turn(lane.role.fingerprint, len(taken), len(missing), len(batches))
            self._on_turn(turn)
        return failed

    def _ask_batch(self, role: Role, calls: Sequence[OpenCall]) -> dict[str, NoAnswer]:
        failed: dict[str, NoAnswer] = {}
        # A model's batch goes to disk as one, so that it is continued whole or not at all.
        batch: dict[str, dict[str, object]] = {}
        synced = time.monotonic()
        for index, answer in role.answer([call.task for call in calls]):
            key = calls[index].key
            if isinstance(answer, NoAnswer):
                failed[key] = answer
                continue
            batch[key] = answer.to_dict()
            if role.capacity is None:
                self._journal.write(batch)
                batch = {}
                if time.monotonic() - synced > _SYNC_SECONDS:
                    self._journal.sync()
                    synced = time.monotonic()
        self._journal.write(batch)
        return failed

    def _load(self, role: Role) -> None:
        if role.capacity is not None and role is not self._loaded:
            if self._loaded is not None:
                self._loaded.unload()
            role.load()
            self._loaded = role
