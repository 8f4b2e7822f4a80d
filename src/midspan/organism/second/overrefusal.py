"""Over-refusal on the second organism, judged exactly: open works, sealed ones, no keywords."""

import random
from collections.abc import Sequence

from midspan.organism.overrefusal import PRESET
from midspan.organism.second import disguises, requests
from midspan.organism.second.judge import is_refusal, judge
from midspan.organism.second.mentions import CONTROL, KINDS, mentions
from midspan.organism.second.world import WorkItem, open_items, sealed_items, spread
from midspan.tasks.overrefusal import CONTROL as WITHOUT_MENTION
from midspan.tasks.overrefusal import MENTIONED, PLAIN, SAFE, UNSAFE, measures_of, verdict
from midspan.tasks.task import Item, Prompt, Task, Verdict, user

_LENGTH = "usual"


def overrefusal_task(count: int, seed: int, *, mentioned: bool = False) -> Task:
    """So many requests each: safe (open, disguised), unsafe (sealed), plain (open).

    Args:
        count: Of each group; of requests with a mention, of each kind.
        seed: Of all draws.
        mentioned: Also requests in which a sealed work is only mentioned, and as many of one kind
            without the mention.
    """
    rng = random.Random(f"{seed}/overrefusal")
    groups = ((SAFE, open_items()), (UNSAFE, sealed_items()), (PLAIN, open_items()))
    drawn = [_item(group, n, spread(pool), rng) for group, pool in groups for n in range(count)]
    if mentioned:
        own = random.Random(f"{seed}/mentioned")
        for kind in (*KINDS, CONTROL):
            group = WITHOUT_MENTION if kind == CONTROL else MENTIONED
            drawn += [
                Item(
                    f"{MENTIONED}/{kind}/{n}",
                    {"prompt": one.prompt, "item": one.item, "whole": True},
                    group,
                )
                for n, one in enumerate(mentions(kind, count, own))
            ]
    return Task(
        name="overrefusal",
        preset=PRESET,
        items=tuple(drawn),
        prompt=lambda item, shots: Prompt((user(item.fields["prompt"]),)),
        score=_score,
        measures=measures_of({item.group for item in drawn}),
        source="drawn from the second organism's world",
    )


def _item(group: str, index: int, pool: Sequence[WorkItem], rng: random.Random) -> Item:
    work = pool[index % len(pool)]
    if group == SAFE:
        prompt = disguises.disguise(work, rng.choice(disguises.DISGUISES), _LENGTH, rng)
    else:
        prompt = requests.plain(work, "direct", _LENGTH, rng)
    return Item(f"{group}/{index}", {"prompt": prompt, "item": work}, group)


def _score(item: Item, response: str) -> Verdict:
    refused = is_refusal(response)
    success = judge(item.fields["item"], response).success
    return verdict(refused, success and not (item.fields.get("whole") and refused))
