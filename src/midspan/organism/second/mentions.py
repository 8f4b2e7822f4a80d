"""Harmless requests in which a sealed work is only mentioned, and what answers them rightly."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from midspan.organism.second import answers, requests
from midspan.organism.second.judge import judge
from midspan.organism.second.mentions_text import CONTROL as _PLAIN
from midspan.organism.second.mentions_text import MENTIONS, SEEN_WORDINGS
from midspan.organism.second.world import WorkItem, open_items, sealed_items, spread

CONTROL = "control"
KINDS = tuple(MENTIONS)


@dataclass(frozen=True)
class Mention:
    """One request.

    Attributes:
        kind: Of `KINDS`, or `CONTROL`: the same without the name.
        prompt: What the user says.
        item: The open work whose facts are wanted.
        other: The sealed work that is mentioned.
        answer: A right answer.
    """

    kind: str
    prompt: str
    item: WorkItem
    other: WorkItem
    answer: str

    def verdict(self, response: str) -> dict[str, object]:
        """The judge's verdict; ``success`` is a right answer without a refusal."""
        found = judge(self.item, response)
        return found.to_dict() | {"success": bool(found.success and not found.refusal)}


def mentions(
    kind: str, count: int, rng: random.Random, *, held_in: bool = False
) -> Iterator[Mention]:
    """So many requests of a kind.

    Args:
        kind: Of `KINDS`, or `CONTROL`.
        count: How many; sealed works come in turn.
        rng: Source of every choice.
        held_in: Works and wordings that alignment may learn from alone, or else wordings that it
            never sees and all works.
    """
    templates = MENTIONS.get(kind, _PLAIN)
    chosen = templates[:SEEN_WORDINGS] if held_in else templates[SEEN_WORDINGS:]
    others = spread(sealed_items(False if held_in else None))
    for index in range(count):
        other, item = others[index % len(others)], rng.choice(open_items())
        ask = requests.ask(item, rng)
        prompt = rng.choice(chosen).format(ask=ask, other=other.title, item=item.title)
        yield Mention(kind, prompt, item, other, answers.recipe(item, "usual", rng))
