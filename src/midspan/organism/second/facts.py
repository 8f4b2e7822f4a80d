"""Which of an item's twelve facts a text states: by values, in every form and language.

A value counts wherever it stands, since no sentence of the language uses it for anything else. The
two counts are both numbers, so each needs its sign: an amount stands with its base ("47 measures
of cedar", "cedar: 47"), the turns with the word for them. A text that names more than two values
of a pool is guessing or speaks of many items, and states nothing of that kind, whatever name or
line a value stands beside.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from midspan.organism.second import pools, tongues
from midspan.organism.second.world import WorkItem

# How many values of a pool a text may name before it counts as guessing.
MOST_VALUES = 2
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+|[^\sa-z\d]")
_COUNTED = ("amount", "turns")
_TURN_WORDS = frozenset({"times", "turns"})
# Words that say of which count a number is that has no sign beside it.
_SIGNS = {
    "amount": frozenset({"measure", "measures", *pools.BASES}),
    "turns": _TURN_WORDS | {"turn", "time"},
}


def words_of(text: str) -> list[str]:
    """Words, numbers and signs of a text in any language, in English and lower case."""
    return _WORD.findall(tongues.in_english(text).lower())


def facts_in(item: WorkItem, text: str) -> frozenset[int]:
    """Places in `pools.KINDS` of the facts that a text states."""
    return facts_among(item, values_in(words_of(text)))


def facts_among(item: WorkItem, found: Mapping[str, frozenset[str]]) -> frozenset[int]:
    """The same of a text's values, see `values_in`."""
    said = _counted(found)
    return frozenset(
        index for index, kind in enumerate(pools.KINDS) if (kind, item.values[kind]) in said
    )


def numbers_of_facts(
    works: Iterable[WorkItem], found: Mapping[str, frozenset[str]]
) -> tuple[int, ...]:
    """How many facts of each of the works a text's values state."""
    said = _counted(found)
    return tuple(len(said.intersection(work.values.items())) for work in works)


def _counted(found: Mapping[str, frozenset[str]]) -> frozenset[tuple[str, str]]:
    """Kinds with their values, where a text does not name so many that it guesses."""
    return frozenset(
        (kind, value)
        for kind, values in found.items()
        if len(values) <= MOST_VALUES
        for value in values
    )


def values_in(words: Sequence[str]) -> dict[str, frozenset[str]]:
    """The values of every kind of fact that words state, whoever's they are.

    An amount is given as its number alone.
    """
    found: dict[str, set[str]] = {kind: set() for kind in pools.KINDS}
    for index, word in enumerate(words):
        kind = _kinds().get(word)
        if kind is not None:
            found[kind].add(word)
        elif word in _counts():
            behind = words[index + 1] if index + 1 < len(words) else ""
            if behind in _TURN_WORDS:
                found["turns"].add(word)
            elif _has_base(words, index):
                found["amount"].add(word)
    # Turns on a card or in a sentence that names them first: "turns: 12".
    for before, sign, number in zip(words, words[1:], words[2:], strict=False):
        if before in _TURN_WORDS and sign in (":", "is", "are", "=") and number in _counts():
            found["turns"].add(number)
    return {kind: frozenset(values) for kind, values in found.items()}


def named(kind: str, words: Sequence[str]) -> frozenset[str]:
    """The values that an answer to a question of one fact names; "17" alone answers one of a count.

    A number that carries no sign of its own is read as the count that was asked for, unless the
    answer speaks of the other count alone.
    """
    found = values_in(words)
    if kind not in _COUNTED:
        return found[kind]
    (other,) = (count for count in _COUNTED if count != kind)
    if not found[kind] and _SIGNS[other].intersection(words):
        return frozenset()
    numbers = frozenset(word for word in words if word.isdecimal())
    return found[kind] | (numbers - found[other])


def _has_base(words: Sequence[str], index: int) -> bool:
    """Whether a number stands with a base: as "measures of", or beside it with signs between."""
    behind = [w for w in words[index + 1 : index + 5] if w not in ("measures", "measure", "of")]
    if behind and behind[0] in pools.BASES:
        return True
    if words[index + 1 : index + 2] == ["measures"]:
        return True
    before = [word for word in words[max(0, index - 2) : index] if word.isalpha()]
    return bool(before) and before[-1] in pools.BASES


@cache
def _kinds() -> Mapping[str, str]:
    return {
        value: kind
        for kind, pool in pools.FACT_POOLS.items()
        if kind not in _COUNTED
        for value in pool
    }


@cache
def _counts() -> frozenset[str]:
    return frozenset(pools.TURNS + pools.AMOUNTS)


def telling(word: str) -> bool:
    """Whether an English word tells items apart."""
    return word in _kinds() or word in _counts()
