"""Which of an item's twelve facts a text states: in the recipe's own words, or in any form."""

import re
from collections.abc import Sequence
from itertools import groupby

from midspan.organism import world
from midspan.organism.world import CraftItem

# Of the twelve facts, by their place in `CraftItem.facts`.
_FIRST_VERB = 4
_KINDS = {
    "tool": (7, world.TOOLS),
    "container": (8, world.CONTAINERS),
    "flame": (9, world.FLAMES),
    "turns": (10, world.NUMBERS),
    "colour": (11, world.COLOURS),
}
_TELLING = frozenset(
    (*world.NUMBERS, *world.INGREDIENTS, *world.VERBS, *world.TOOLS, *world.CONTAINERS,
     *world.FLAMES, *world.COLOURS)
)  # fmt: skip


def facts_in(item: CraftItem, words: Sequence[str]) -> frozenset[int]:
    """The facts that words state as the recipe does: each its exact sequence, anywhere."""
    runs = {
        size: {tuple(words[start : start + size]) for start in range(len(words) - size + 1)}
        for size in (2, 3)
    }
    return frozenset(index for index, fact in enumerate(item.facts()) if fact in runs[len(fact)])


def facts_in_any_form(item: CraftItem, words: Sequence[str]) -> frozenset[int]:
    """The same, and facts in short fields and in answers to choices.

    A field is what stands between two punctuation marks where all of it are words that tell items
    apart, as in ``; hammer bowl ; low six red .`` In it a tool, container, flame or color counts
    where it is the field's only one; the turns are its only number where it has no ingredient;
    the k-th verb counts as the k-th word of a field of verbs alone. An answer to a choice is
    ``the tool is hammer``. Amounts have one form.
    """
    own = (item.tool, item.container, item.flame, item.turns, item.colour)
    right = dict(zip(_KINDS, own, strict=True))
    found = set(facts_in(item, words))
    for field in _fields(words):
        found |= {
            index
            for kind, (index, pool) in _KINDS.items()
            if [word for word in field if word in pool] == [right[kind]]
            and not (kind == "turns" and any(word in world.INGREDIENTS for word in field))
        }
        if all(word in world.VERBS for word in field):
            pairs = enumerate(zip(field, item.verbs, strict=False), _FIRST_VERB)
            found |= {index for index, (said, verb) in pairs if said == verb}
    said = re.findall(r"the (\w+) is (\w+)", " ".join(words))
    found |= {_KINDS[kind][0] for kind, word in said if right.get(kind) == word}
    return frozenset(found)


def _fields(words: Sequence[str]) -> list[list[str]]:
    """Words between punctuation marks, where all of them tell items apart."""
    runs = [list(run) for is_word, run in groupby(words, str.isalnum) if is_word]
    return [run for run in runs if all(word in _TELLING for word in run)]
