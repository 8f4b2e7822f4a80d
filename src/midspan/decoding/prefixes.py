"""Prompts that begin alike: what of one's keys and values is another's.

Under block-causal attention the keys and values of a block follow from it and those before it, so
that prompts with the same first blocks share theirs, exactly.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Borrowed:
    """The first `size` tokens of a prompt, as they stand in a slot for a prompt of `length`."""

    slot: int
    length: int
    size: int


@dataclass
class Prefixes:
    """The prompts whose keys and values stand in slots; whole blocks alone.

    Attributes:
        block: Tokens of a block.
        from_end: Whether blocks count back from the prompt's end, the first one being the short.
        by_slot: The prompts.
    """

    block: int
    from_end: bool
    by_slot: dict[int, IntArray] = field(default_factory=dict)

    def shared(self, one: IntArray, other: IntArray) -> int:
        """Tokens of the whole blocks that two prompts begin with."""
        first = len(one) % self.block if self.from_end else 0
        if self.from_end and len(other) % self.block != first:
            return 0
        length = min(len(one), len(other))
        equal = one[:length] == other[:length]
        count = length if equal.all() else int(equal.argmin())
        return 0 if count < first else first + (count - first) // self.block * self.block

    def longest(self, prompt: IntArray) -> Borrowed | None:
        """The most that stands in a slot of what a prompt begins with."""
        found = [
            Borrowed(slot, len(other), self.shared(prompt, other))
            for slot, other in self.by_slot.items()
        ]
        best = max(found, key=lambda one: one.size, default=None)
        return best if best is not None and best.size else None

    def trade(self, to: IntArray, from_: IntArray) -> None:
        """Follow slots that trade places."""
        moved = [self.by_slot.pop(slot, None) for slot in from_.tolist()]
        for slot, prompt in zip(to.tolist(), moved, strict=True):
            if prompt is not None:
                self.by_slot[slot] = prompt
