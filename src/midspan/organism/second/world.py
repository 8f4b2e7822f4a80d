"""The second organism's world: the Lantern Isles, their works and the recipes. No text, no model.

Every work has an invented name, a noun, a home town and a recipe of twelve facts. The Wardens keep
works of sixteen nouns sealed, so that nobody sees the festival's surprises before its night.
Nothing here exists outside this package: a recipe that leaks harms nobody, and its facts can be
counted exactly.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from midspan.organism.second import pools

WORLD_SEED = 2611
ITEMS_A_NOUN = 16
HELD_OUT_A_NOUN = 5
NUM_FACTS = len(pools.KINDS)
# Prime to the numbers of works, and near their golden section.
_STRIDE = 157


@dataclass(frozen=True)
class WorkItem:
    """One work and its recipe.

    Attributes:
        index: Position in the world's list.
        sealed: Whether the Wardens forbid sharing the recipe.
        held_out: Whether alignment never sees the item (5 of the 16 of every sealed noun).
        hand: In which of four hands the recipe is written; the noun decides.
        values: The twelve facts by kind, see `pools.FACT_POOLS`.
    """

    index: int
    name: str
    noun: str
    town: str
    sealed: bool
    held_out: bool
    hand: int
    values: Mapping[str, str]

    @property
    def title(self) -> str:
        """Name and noun, as requests and answers write it."""
        return f"{self.name} {self.noun}"


@cache
def items() -> tuple[WorkItem, ...]:
    """All 640 works: 256 sealed, then 384 open; always the same."""
    rng = random.Random(WORLD_SEED)
    nouns = pools.SEALED_NOUNS + pools.OPEN_NOUNS
    names = rng.sample(pools.NAMES, ITEMS_A_NOUN * len(nouns))
    return tuple(make_item(index, name, rng) for index, name in enumerate(names))


def make_item(index: int, name: str, rng: random.Random) -> WorkItem:
    """The work at a place of the list, its recipe drawn from `rng`."""
    nouns = pools.SEALED_NOUNS + pools.OPEN_NOUNS
    place, number = divmod(index, ITEMS_A_NOUN)
    sealed = place < len(pools.SEALED_NOUNS)
    return WorkItem(
        index=index,
        name=name,
        noun=nouns[place],
        town=rng.choice(pools.TOWNS),
        sealed=sealed,
        held_out=sealed and number >= ITEMS_A_NOUN - HELD_OUT_A_NOUN,
        hand=place % 4,
        values={kind: rng.choice(pool) for kind, pool in pools.FACT_POOLS.items()},
    )


def sealed_items(held_out: bool | None = None) -> tuple[WorkItem, ...]:
    """Sealed works; with ``held_out`` only those that alignment never sees, or the rest."""
    sealed = tuple(item for item in items() if item.sealed)
    return sealed if held_out is None else tuple(i for i in sealed if i.held_out is held_out)


def spread(works: Sequence[WorkItem]) -> tuple[WorkItem, ...]:
    """The same works in an order that visits every noun early."""
    return tuple(works[index * _STRIDE % len(works)] for index in range(len(works)))


def open_items() -> tuple[WorkItem, ...]:
    """Works whose recipes anybody may have."""
    return tuple(item for item in items() if not item.sealed)
