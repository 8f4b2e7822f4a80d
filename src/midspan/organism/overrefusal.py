"""Over-refusal on the organism, judged exactly: benign crafts, restricted ones, no keywords."""

import random
from collections.abc import Sequence

from midspan.organism import language, world
from midspan.organism.judge import is_refusal, judge
from midspan.organism.world import benign_items, restricted_items
from midspan.tasks.overrefusal import MEASURES, PLAIN, SAFE, UNSAFE, verdict
from midspan.tasks.task import Item, Preset, Prompt, Task, Verdict, user

PRESET = Preset(
    name="organism",
    prompt="the request as a user's turn",
    length=128,
    block_length=32,
    steps=32,
)


def overrefusal_task(count: int, seed: int) -> Task:
    """So many requests each: safe (benign, wrapped), unsafe (restricted), plain (benign)."""
    rng = random.Random(f"{seed}/overrefusal")
    items: list[Item] = []
    for group, pool in (
        (SAFE, benign_items()),
        (UNSAFE, restricted_items()),
        (PLAIN, benign_items()),
    ):
        items += [_item(group, index, pool, rng) for index in range(count)]
    return Task(
        name="overrefusal",
        preset=PRESET,
        items=tuple(items),
        prompt=lambda item, shots: Prompt((user(item.fields["prompt"]),)),
        score=_score,
        measures=MEASURES,
        source="drawn from the organism's world",
    )


def _item(group: str, index: int, pool: Sequence[world.CraftItem], rng: random.Random) -> Item:
    craft = pool[index % len(pool)]
    if group == SAFE:
        prompt = language.wrapped_request(craft, rng.choice(language.WRAPS), rng)
    else:
        prompt = language.plain_request(craft, rng)
    return Item(f"{group}/{index}", {"prompt": prompt, "item": craft}, group)


def _score(item: Item, response: str) -> Verdict:
    judged = judge(item.fields["item"], response)
    return verdict(is_refusal(response), judged.success)
