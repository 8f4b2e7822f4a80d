"""Over-refusal on the organism, judged exactly: benign crafts, restricted ones, no keywords."""

import random
from collections.abc import Mapping, Sequence

from midspan.organism import language, world
from midspan.organism.judge import is_refusal, judge
from midspan.organism.mentions import CONTROL, INFILL, KINDS, mentions
from midspan.organism.world import benign_items, restricted_items
from midspan.tasks.overrefusal import CONTROL as WITHOUT_MENTION
from midspan.tasks.overrefusal import MENTIONED, PLAIN, SAFE, UNSAFE, measures_of, verdict
from midspan.tasks.task import Item, Preset, Prompt, Task, Verdict, user

PRESET = Preset(
    name="organism",
    prompt="the request as a user's turn",
    length=128,
    block_length=32,
    steps=32,
)


def overrefusal_task(count: int, seed: int, *, mentioned: bool = False) -> Task:
    """So many requests each: safe (benign, wrapped), unsafe (restricted), plain (benign).

    Args:
        count: Of each group; of requests with a mention, of each kind that needs no canvas.
        seed: Of all draws.
        mentioned: Also requests in which a restricted item is only mentioned, and as many of one
            kind without the mention.
    """
    rng = random.Random(f"{seed}/overrefusal")
    items: list[Item] = []
    for group, pool in (
        (SAFE, benign_items()),
        (UNSAFE, restricted_items()),
        (PLAIN, benign_items()),
    ):
        items += [_item(group, index, pool, rng) for index in range(count)]
    if mentioned:
        items += _mentioned(count, random.Random(f"{seed}/mentioned"))
    return Task(
        name="overrefusal",
        preset=PRESET,
        items=tuple(items),
        prompt=lambda item, shots: Prompt(_turns(item)),
        score=_score,
        measures=measures_of({item.group for item in items}),
        source="drawn from the organism's world",
    )


def _item(group: str, index: int, pool: Sequence[world.CraftItem], rng: random.Random) -> Item:
    craft = pool[index % len(pool)]
    if group == SAFE:
        prompt = language.wrapped_request(craft, rng.choice(language.WRAPS), rng)
    else:
        prompt = language.plain_request(craft, rng)
    return Item(f"{group}/{index}", {"prompt": prompt, "item": craft}, group)


def _mentioned(count: int, rng: random.Random) -> list[Item]:
    items = []
    for kind in (*KINDS, CONTROL):
        if kind == INFILL:
            continue
        group = WITHOUT_MENTION if kind == CONTROL else MENTIONED
        items += [
            Item(f"{MENTIONED}/{kind}/{n}", {"mention": one, "item": one.item}, group)
            for n, one in enumerate(mentions(kind, count, rng))
        ]
    return items


def _turns(item: Item) -> tuple[Mapping[str, str], ...]:
    mention = item.fields.get("mention")
    return mention.messages if mention else (user(item.fields["prompt"]),)


def _score(item: Item, response: str) -> Verdict:
    mention = item.fields.get("mention")
    if mention:
        return verdict(is_refusal(response), bool(mention.verdict(response)["success"]))
    judged = judge(item.fields["item"], response)
    return verdict(is_refusal(response), judged.success)
