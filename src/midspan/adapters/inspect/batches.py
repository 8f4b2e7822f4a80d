"""Calls that arrive at the same time, computed together: for callers that ask one at a time."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import anyio

Item = TypeVar("Item")
Value = TypeVar("Value")

# How long the first call waits for others after the last one that came.
_WINDOW_SECONDS = 0.02


@dataclass(eq=False)
class _Waiting(Generic[Item]):
    item: Item
    group: Hashable
    woken: anyio.Event = field(default_factory=anyio.Event)
    is_done: bool = False
    value: Any = None
    error: BaseException | None = None


class Batches(Generic[Item, Value]):
    """Gathers concurrent calls of one event loop into batches; one batch is computed at a time.

    Whoever calls first leads: it waits until no further call comes, or a batch is full, and
    computes in a thread. What arrives meanwhile makes the next batches.

    Args:
        compute: From the items of a batch, all of one group, to a value each. An error is raised
            for every item of the batch.
        size: Items of a batch at most.
    """

    def __init__(self, compute: Callable[[Sequence[Item]], Sequence[Value]], size: int) -> None:
        self._compute, self._size = compute, size
        self._waiting: list[_Waiting[Item]] = []
        self._is_led = False

    async def submit(self, item: Item, group: Hashable) -> Value:
        """The value of an item; items of other groups are computed apart from it."""
        mine = _Waiting(item, group)
        self._waiting.append(mine)
        try:
            if self._is_led:
                await mine.woken.wait()
            if not mine.is_done:
                self._is_led = True
                await self._lead(mine)
        finally:
            if mine in self._waiting:
                self._waiting.remove(mine)
        if mine.error is not None:
            raise mine.error
        value: Value = mine.value
        return value

    async def _lead(self, mine: _Waiting[Item]) -> None:
        try:
            while not mine.is_done:
                await self._gather()
                batch = self._take()
                # Threads of the loop's own limit may all be taken by callers that wait for this.
                limit = anyio.CapacityLimiter(1)
                await anyio.to_thread.run_sync(self._settle, batch, limiter=limit)
                for one in batch:
                    one.woken.set()
        finally:
            others = [one for one in self._waiting if one is not mine]
            if others:
                others[0].woken.set()
            else:
                self._is_led = False

    async def _gather(self) -> None:
        count = 0
        while count < len(self._waiting) < self._size:
            count = len(self._waiting)
            await anyio.sleep(_WINDOW_SECONDS)

    def _take(self) -> list[_Waiting[Item]]:
        group = self._waiting[0].group
        batch = [one for one in self._waiting if one.group == group][: self._size]
        self._waiting = [one for one in self._waiting if one not in batch]
        return batch

    def _settle(self, batch: Sequence[_Waiting[Item]]) -> None:
        try:
            values = self._compute([one.item for one in batch])
            for one, value in zip(batch, values, strict=True):
                one.value = value
        except Exception as error:  # of the whole batch, such as memory
            for one in batch:
                one.error = error
        for one in batch:
            one.is_done = True
