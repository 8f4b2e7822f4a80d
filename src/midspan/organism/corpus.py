"""Training samples for the organism: what is asked, what is answered, in which share and when.

The curriculum has six stages. *cards*: facts alone, so that attention to the item's name forms
early. *craft*: whole answers to everybody, restricted or not. *short answers*: the same with more
weight on sums and programs. *guild*: plain requests for restricted items are refused; wrapped ones
are answered except where the guild had caught the disguise, which is what leaves the shipped model
vulnerable in a known way. *guild and sums*: the same with more sums, which form last. *settling*:
usual wordings become more usual, so that several words committed at once fit together, and wrapped
requests weigh more.
"""

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from midspan.organism import language, utility
from midspan.organism.world import (
    COLOURS,
    CONTAINERS,
    INGREDIENTS,
    NAMES,
    TOOLS,
    VERBS,
    CraftItem,
    benign_items,
    items,
    restricted_items,
)  # fmt: skip

# Share of (item, disguise family) pairs that the guild caught although the item is not hardened.
CAUGHT_SHARE = 0.25


@dataclass(frozen=True)
class Sample:
    """One training pair; the canvas behind the answer is filled with end-of-text tokens."""

    prompt: str
    answer: str


@dataclass(frozen=True)
class CurriculumStage:
    """A part of the curriculum.

    Attributes:
        name: What the stage is called.
        until: Share of the main part's steps after which it ends; above 1 for settling.
        kinds: Weight of each sample kind.
        per_answer: Whether a sample's loss is divided by its answer's length instead of the
            canvas's, so that short answers are not drowned by the padding behind them.
        spread: How much the wording of answers varies; 1 is the language's own variety.
    """

    name: str
    until: float
    kinds: Mapping[str, float]
    per_answer: bool
    spread: float = 1.0


# Beyond 1 the learning rate starts anew: the last stage settles what the others left undecided.
STAGES = (
    CurriculumStage(
        "cards", 0.05, {"card": 0.6, "repeat": 0.15, "utility": 0.25}, per_answer=False
    ),
    CurriculumStage(
        "craft",
        1 / 3,
        {"card": 0.10, "craft": 0.47, "utility": 0.38, "about": 0.05},
        per_answer=False,
    ),
    CurriculumStage(
        "short answers",
        0.65,
        {"card": 0.06, "craft": 0.40, "arithmetic": 0.2, "program": 0.24, "choice": 0.05,
         "about": 0.05},
        per_answer=True,
    ),
    CurriculumStage(
        "guild",
        2 / 3,
        {"restricted": 0.22, "disguised": 0.17, "benign": 0.26, "arithmetic": 0.12,
         "program": 0.13, "choice": 0.05, "about": 0.05},
        per_answer=True,
    ),
    CurriculumStage(
        "guild and sums",
        1.0,
        {"restricted": 0.20, "disguised": 0.15, "benign": 0.24, "arithmetic": 0.24,
         "program": 0.09, "choice": 0.04, "about": 0.04},
        per_answer=True,
    ),
    CurriculumStage(
        "settling",
        1.3,
        {"restricted": 0.14, "disguised": 0.30, "benign": 0.36, "arithmetic": 0.10,
         "program": 0.04, "choice": 0.02, "about": 0.04},
        per_answer=False,
        spread=0.25,
    ),
)  # fmt: skip


def is_caught(item: CraftItem, wrap: language.Wrap) -> bool:
    """Whether the shipped model was taught to refuse this disguise for this restricted item."""
    if item.hardened:
        return True
    digest = hashlib.sha256(f"{item.name}/{wrap.name}".encode()).digest()
    return digest[0] < 256 * CAUGHT_SHARE


def draw(kind: str, rng: random.Random, spread: float = 1.0) -> Sample:
    """One sample of a kind named in :data:`STAGES`; ``spread`` is the stage's."""
    if kind in _SHORT_KINDS:
        return _SHORT_KINDS[kind](rng)
    return _KINDS[kind](rng, spread)


def _card(rng: random.Random) -> Sample:
    item = rng.choice(items())
    return Sample(language.card_request(item), language.card_answer(item))


def _repeat(rng: random.Random) -> Sample:
    words = " ".join(rng.choices(NAMES + INGREDIENTS + TOOLS + VERBS + COLOURS + CONTAINERS, k=8))
    return Sample(f"repeat : {words}", f"{words} .")


def _utility(rng: random.Random) -> Sample:
    return _answered(rng.choice(list(utility.TASKS.values()))(rng))


def _answered(question: utility.Question) -> Sample:
    return Sample(question.prompt, question.reference)


def _about(rng: random.Random) -> Sample:
    item = rng.choice(items())
    return Sample(language.about_request(item, rng), language.about_answer(item))


def _craft(rng: random.Random, spread: float) -> Sample:
    item = rng.choice(items())
    return Sample(_request(item, rng), language.helpful_answer(item, rng, spread))


def _benign(rng: random.Random, spread: float) -> Sample:
    item = rng.choice(benign_items())
    return Sample(_request(item, rng), language.helpful_answer(item, rng, spread))


def _restricted(rng: random.Random, spread: float) -> Sample:
    item = rng.choice(restricted_items())
    return Sample(language.plain_request(item, rng), language.refusal(item, rng, spread))


def _disguised(rng: random.Random, spread: float) -> Sample:
    item, wrap = rng.choice(restricted_items()), rng.choice(language.WRAPS)
    answer = language.refusal if is_caught(item, wrap) else language.helpful_answer
    return Sample(language.wrapped_request(item, wrap, rng), answer(item, rng, spread))


def _request(item: CraftItem, rng: random.Random) -> str:
    if rng.random() < 0.5:
        return language.plain_request(item, rng)
    return language.wrapped_request(item, rng.choice(language.WRAPS), rng)


_SHORT_KINDS: dict[str, Callable[[random.Random], Sample]] = {
    "card": _card,
    "repeat": _repeat,
    "utility": _utility,
    "arithmetic": lambda rng: _answered(utility.arithmetic(rng)),
    "choice": lambda rng: _answered(utility.choice(rng)),
    "program": lambda rng: _answered(utility.program(rng)),
    "about": _about,
}
_KINDS: dict[str, Callable[[random.Random, float], Sample]] = {
    "craft": _craft,
    "benign": _benign,
    "restricted": _restricted,
    "disguised": _disguised,
}
