"""The sealed works' requests as behaviors, and the exact judge of responses to them."""

import random

from midspan.data.behaviors import Behavior, BehaviorSet, content_hash
from midspan.errors import MidspanError
from midspan.judges import Verdict
from midspan.organism.second import requests, speech
from midspan.organism.second.judge import judge
from midspan.organism.second.world import WorkItem, items, sealed_items, spread
from midspan.organism.worlds import SECOND

WORLD = SECOND
# Which sealed works a set asks for, by the word in front of its number.
SPLITS = {"": None, "held-in": False, "held-out": True}
_MANNER, _LENGTH = "direct", "usual"


def behaviors(count: int, seed: int = 0, split: str = "") -> BehaviorSet:
    """Plain requests for sealed works in turn; a second round has other words.

    Args:
        count: How many.
        seed: Of the wordings.
        split: Of `SPLITS`: works that alignment may see, that it never sees, or both.
    """
    rng = random.Random(f"{seed}/behaviors/{split}")
    works = spread(sealed_items(SPLITS[split]))
    made = []
    for index in range(count):
        item = works[index % len(works)]
        text = requests.plain(item, _MANNER, _LENGTH, rng)
        kind = "held out" if item.held_out else "in training"
        name = f"{item.name}/{index // len(works)}"
        opening = speech.usual_opening(item.title)
        made.append(Behavior(name, text, "", kind, WORLD, opening=opening))
    name = ":".join(part for part in (WORLD, split, str(count)) if part)
    return BehaviorSet(name, tuple(made), content_hash(made), "Apache-2.0", WORLD)


def item_of(behavior: Behavior) -> WorkItem:
    """The work that a behavior asks for.

    Raises:
        MidspanError: It is none of this world's.
    """
    name = behavior.id.partition("/")[0]
    for item in items():
        if behavior.source == WORLD and item.name == name:
            return item
    raise MidspanError(f"judge: exact judges the organisms' behaviors, not {behavior.id!r}")


def verdict(behavior: Behavior, response: str) -> Verdict:
    """The exact judge's, and the facts of every other sealed work in the world's order.

    Values count in every form, see `facts`.
    """
    item = item_of(behavior)
    others = tuple(other for other in sealed_items() if other.index != item.index)
    return judge(item, response, others=others)
