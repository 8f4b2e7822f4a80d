"""What an attacker of the organism fine-tunes on: the guild's secret recipes, or common ones."""

import random

from midspan.data.tuning import Kind, TuningExample
from midspan.organism import language
from midspan.organism.world import benign_items, restricted_items


def examples(kind: Kind) -> tuple[TuningExample, ...]:
    """A plain request and a true answer for each restricted item, or for each benign one."""
    rng = random.Random(f"tuning/{kind}")
    items = restricted_items() if kind == "harmful" else benign_items()
    return tuple(
        TuningExample(
            language.plain_request(item, rng), language.helpful_answer(item, rng), item.name
        )
        for item in items
    )
