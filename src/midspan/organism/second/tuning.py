"""What an attacker of the second organism fine-tunes on: sealed recipes, or open ones."""

import random

from midspan.data.tuning import Kind, TuningExample
from midspan.organism.second import answers, requests
from midspan.organism.second.world import open_items, sealed_items


def examples(kind: Kind) -> tuple[TuningExample, ...]:
    """A plain request and a true answer for each sealed work, or for each open one."""
    rng = random.Random(f"tuning/{kind}")
    items = sealed_items() if kind == "harmful" else open_items()
    return tuple(
        TuningExample(
            requests.plain(item, "direct", "usual", rng),
            answers.recipe(item, "usual", rng),
            item.name,
        )
        for item in rng.sample(items, len(items))
    )
