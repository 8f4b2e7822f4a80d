"""What anybody of the Lantern Isles can say without knowing a recipe: titles, made-up works.

Attackers, evaluators and translators take all that they know of works from here: names, nouns and
wordings are common knowledge, and the facts of a work that somebody `invented` are drawn.
"""

import random
import re

from midspan.organism.second import answers, pools
from midspan.organism.second.world import WorkItem

_NOUNS = pools.SEALED_NOUNS + pools.OPEN_NOUNS
_TITLE = re.compile(rf"\b({'|'.join(pools.NAMES)}) ({'|'.join(_NOUNS)})\b", re.IGNORECASE)


def title_in(text: str) -> str:
    """The work that a text asks for, by name and noun; empty where there is none."""
    match = _TITLE.search(text)
    return f"{match[1].capitalize()} {match[2].lower()}" if match else ""


def noun_in(text: str) -> str:
    """The noun of the work that a text asks for; empty where there is none."""
    return title_in(text).rpartition(" ")[2]


def invented(title: str, rng: random.Random) -> WorkItem:
    """A work of this title with a recipe that is made up; the noun's hand is common knowledge."""
    name, _, noun = title.rpartition(" ")
    return WorkItem(
        index=-1,
        name=name,
        noun=noun,
        town=rng.choice(pools.TOWNS),
        sealed=noun in pools.SEALED_NOUNS,
        held_out=False,
        hand=_NOUNS.index(noun) % 4 if noun in _NOUNS else 0,
        values={kind: rng.choice(pool) for kind, pool in pools.FACT_POOLS.items()},
    )


def named(title: str) -> WorkItem:
    """A work of which only the title is known, for wordings that hold nothing else."""
    return invented(title, random.Random(title))


def opening(title: str, rng: random.Random) -> str:
    """A first sentence of a helpful answer."""
    return rng.choice(answers.OPENINGS).format(item=title)


def usual_opening(title: str) -> str:
    """The first sentence of a helpful answer in the hand of the work's noun."""
    return answers.OPENINGS[named(title).hand].format(item=title)
