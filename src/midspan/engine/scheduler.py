"""The scheduler: running attacks advance together, and their calls go to roles in full batches.

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
from midspan.engine.roles import MissingReply, RawReply, Role, SeededCall
from midspan.engine.running import AttackJob, PendingCall, RunningAttack
from midspan.errors import MidspanError
from midspan.journal.journal import Journal

__all__ = ["AttackJob", "SchedulerProgress", "run_attacks"]

_SYNC_SECONDS = 1.0


class SchedulerProgress(NamedTuple):
    """What a role has just answered.

    Attributes:
        role: Its fingerprint.
        replies: Replies that are now available.
        computed: Rows that were not in the journal.
        batches: Batches in which they were.
    """

    role: str
    replies: int
    computed: int
    batches: int


OnProgress = Callable[[SchedulerProgress], None]


def run_attacks(
    jobs: Sequence[AttackJob],
    journal: Journal,
    seed: int = 0,
    on_progress: OnProgress | None = None,
    fail_fast: bool = False,
    on_end: Callable[[int], None] | None = None,
) -> list[AttackResult]:
    """Run attacks to their ends; what the journal holds is not asked again.

    Args:
        jobs: In any order; a job's result does not depend on the others.
        journal: Every reply is in it before it is used.
        seed: Of all draws.
        on_progress: Told of progress.
        fail_fast: Raise an error in the code of an attack, judge or script, instead of noting it
            in the result.
        on_end: Told how many jobs have ended, each time that some have.

    Returns:
        Results in the order of the jobs.
    """
    attacks = [RunningAttack(job, seed, fail_fast) for job in jobs]
    scheduler = _Scheduler(journal, on_progress, fail_fast)
    try:
        with _collecting(False):
            ready: list[RunningAttack] = attacks
            while ready:
                ended = 0
                for attack in ready:
                    calls = attack.advance()
                    ended += not calls
                    scheduler.put(calls)
                if on_end is not None and ended:
                    on_end(ended)
                ready = scheduler.advance()
    finally:
        scheduler.close()
    return [attack.result() for attack in attacks]


@contextmanager
def _collecting(enabled: bool) -> Iterator[None]:
    """Python's search for reference cycles, on or off.

    The scheduler makes none, and holds so many calls and replies that looking through them again
    and again takes a third of a large replay.
    """
    was_on = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        yield
    finally:
        (gc.enable if was_on else gc.disable)()


@dataclass
class _Queue:
    """Calls that may share a batch, by key; equal calls are asked once."""

    role: Role
    name: str
    waiting: dict[str, list[PendingCall]] = field(default_factory=dict)

    @property
    def fill(self) -> float:
        """Batches that the calls would make; any number of calls is one of unlimited capacity."""
        capacity = self.role.capacity
        return len(self.waiting) / capacity if capacity else 1.0

    def take(self) -> dict[str, list[PendingCall]]:
        """The longest calls in full batches, or everything where that makes none."""
        keys = sorted(self.waiting, key=lambda key: (-self._size(key), key))
        if self.role.capacity and self.fill >= 1:
            keys = keys[: int(self.fill) * self.role.capacity]
        return {key: self.waiting.pop(key) for key in keys}

    def _size(self, key: str) -> int:
        return self.role.size(self.waiting[key][0].call)


class _Scheduler:
    """Pending calls on their way to the roles and back."""

    def __init__(self, journal: Journal, on_progress: OnProgress | None, fail_fast: bool) -> None:
        self._journal = journal
        self._on_progress = on_progress
        self._fail_fast = fail_fast
        self._queues: dict[tuple[Role, str], _Queue] = {}
        self._accounted: set[str] = set()
        self._loaded: Role | None = None
        self._collects = gc.isenabled()

    def put(self, calls: Iterable[PendingCall]) -> None:
        """Queue calls."""
        for call in calls:
            identity = (call.role, call.role.queue(call.call))
            queue = self._queues.setdefault(identity, _Queue(*identity))
            queue.waiting.setdefault(call.key, []).append(call)

    def advance(self) -> list[RunningAttack]:
        """Let roles answer until attacks can go on; those, or none when nothing is open."""
        while queue := self._next():
            taken = queue.take()
            failed = self._ask(queue, taken)
            settled = self._settle(queue.role, taken, failed)
            ready = [attack for attack in settled if not attack.is_waiting]
            if ready:
                return ready
        return []

    def _settle(
        self, role: Role, taken: dict[str, list[PendingCall]], failed: dict[str, MissingReply]
    ) -> Iterable[RunningAttack]:
        """Pass answers on; the attacks that got any, each once."""
        settled: dict[RunningAttack, None] = {}
        for key, calls in taken.items():
            answer = failed.get(key) or self._journal.read(key, RawReply.from_dict)
            if isinstance(answer, RawReply) and key not in self._accounted:
                self._accounted.add(key)
                role.account(answer)
            for call in calls:
                again = call.settle(answer)
                self.put([again] if again else [])
                settled[call.attack] = None
        return settled

    def close(self) -> None:
        """Let go of the accelerator."""
        if self._loaded is not None:
            self._loaded.unload()

    def _next(self) -> _Queue | None:
        """Roles of unlimited capacity first, then full batches, of the loaded model first."""
        waiting = [queue for queue in self._queues.values() if queue.waiting]

        def rank(queue: _Queue) -> tuple[bool, bool, bool, float, str, str]:
            full = queue.fill >= 1
            here = queue.role is self._loaded
            unlimited = queue.role.capacity is None
            return unlimited, full, full and here, queue.fill, queue.role.fingerprint, queue.name

        return max(waiting, key=rank, default=None)

    def _ask(self, queue: _Queue, taken: dict[str, list[PendingCall]]) -> dict[str, MissingReply]:
        """Journal the answers that are missing; those that did not come are returned."""
        missing = [key for key in taken if key not in self._journal]
        failed: dict[str, MissingReply] = {}
        size = queue.role.capacity or len(missing) or 1
        batches = [missing[start : start + size] for start in range(0, len(missing), size)]
        if missing:
            self._load(queue.role)
        for batch in batches:
            with _collecting(self._collects):
                failed |= self._ask_batch(queue.role, [taken[key][0] for key in batch])
        self._journal.sync()
        said = 0 if queue.role.capacity else len(missing) - len(failed)
        self._say(queue.role, len(taken) - said, len(missing) - said, len(batches))
        return failed

    def _say(self, role: Role, replies: int, computed: int, batches: int) -> None:
        if self._on_progress is not None:
            self._on_progress(SchedulerProgress(role.fingerprint, replies, computed, batches))

    def _ask_batch(self, role: Role, calls: Sequence[PendingCall]) -> dict[str, MissingReply]:
        failed: dict[str, MissingReply] = {}
        # A model's batch goes to disk as one, so that it is continued whole or not at all.
        batch: dict[str, dict[str, object]] = {}
        synced = time.monotonic()
        for index, answer in self._answers(role, [call.task for call in calls]):
            key = calls[index].key
            if isinstance(answer, MissingReply):
                failed[key] = answer
                continue
            batch[key] = answer.to_dict()
            if role.capacity is None:
                self._journal.write(batch)
                batch = {}
                # All calls are one batch of such a role, which may take hours.
                self._say(role, 1, 1, 0)
                if time.monotonic() - synced > _SYNC_SECONDS:
                    self._journal.sync()
                    synced = time.monotonic()
        self._journal.write(batch)
        return failed

    def _answers(
        self, role: Role, tasks: Sequence[SeededCall]
    ) -> Iterator[tuple[int, RawReply | MissingReply]]:
        """A role's answers; where its code raises at one task, the others are asked alone."""
        left = set(range(len(tasks)))
        try:
            for index, answer in role.answer(tasks):
                left.discard(index)
                yield index, answer
        except MidspanError:
            raise
        except Exception as error:
            # What a model's batch dies of, such as memory, is nobody's answer.
            if self._fail_fast or role.capacity is not None:
                raise
            for index in sorted(left):
                yield index, _alone(role, tasks[index]) if len(tasks) > 1 else _fault(error)

    def _load(self, role: Role) -> None:
        if role.capacity is not None and role is not self._loaded:
            if self._loaded is not None:
                self._loaded.unload()
            role.load()
            self._loaded = role


def _alone(role: Role, task: SeededCall) -> RawReply | MissingReply:
    """The answer to one task, or the error that it raises."""
    try:
        return next(iter(role.answer([task])))[1]
    except MidspanError:
        raise
    except Exception as error:
        return _fault(error)


def _fault(error: Exception) -> MissingReply:
    return MissingReply("error", type(error).__name__, error=error)
