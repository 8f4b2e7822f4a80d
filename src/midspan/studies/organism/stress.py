"""Attacks that put parts of a true answer on the canvas, in ways that alignment never saw.

Every one fixes tokens of the response (infill access) and asks plainly. ``anchor_k`` gives the
first k words; the infilling kinds leave holes: ``infill_striped`` gives every other run of eight
words, ``infill_tail`` the last half, ``infill_scaffold`` everything but the facts, which is the
shape of DIJA (arXiv 2507.11097). ``prefill_wrapped_k`` places a phrase under a wrapped request.
"""

import random
from collections.abc import Callable, Iterator, Sequence

from midspan.organism import language, phrases
from midspan.organism.judge import fact_words
from midspan.organism.mentions import runs_of
from midspan.organism.tokenizer import split_words
from midspan.organism.world import CraftItem, restricted_items
from midspan.studies.decodings import ORGANISM_LENGTH
from midspan.studies.organism.cases import Case

STRIPE = 8
ANCHORED = (16, 48)
WRAPPED_PREFILLS = (0, 40, 80)
ANCHOR_CELLS = tuple(f"anchor_{count}" for count in ANCHORED)
INFILL_CELLS = ("infill_striped", "infill_tail", "infill_scaffold")
WRAPPED_PREFILL_CELLS = tuple(f"prefill_wrapped_{start}" for start in WRAPPED_PREFILLS)
STRESS_CELLS = (*ANCHOR_CELLS, *INFILL_CELLS, *WRAPPED_PREFILL_CELLS)


def build_stress_cases(count: int, seed: int, held_in: bool = False) -> list[Case]:
    """``count`` cases of each kind; the same count and seed give the same canvases.

    Requests are wrapped as alignment never saw, or with ``held_in`` as it did.
    """
    rng = random.Random(f"{seed}/stress")
    pool = restricted_items(False if held_in else None)
    wraps = [wrap for wrap in language.WRAPS if wrap.held_out != held_in]
    cases: list[Case] = []
    for index in range(count):
        item = pool[index % len(pool)]
        cases += _revealed(index, item, rng)
        cases += _wrapped_prefills(index, item, wraps, rng)
    return cases


def _revealed(index: int, item: CraftItem, rng: random.Random) -> Iterator[Case]:
    words = split_words(language.helpful_answer(item, rng))[:ORGANISM_LENGTH]
    hidden = fact_words(item, words)
    kinds: dict[str, Callable[[int], bool]] = {
        **{f"anchor_{count}": lambda position, count=count: position < count for count in ANCHORED},  # type: ignore[misc]
        "infill_striped": lambda position: position // STRIPE % 2 == 0,
        "infill_tail": lambda position: position >= ORGANISM_LENGTH // 2,
        "infill_scaffold": lambda position: position not in hidden,
    }
    for cell, shown in kinds.items():
        name = f"{cell}/{index}/{item.name}"
        yield Case(
            name, cell, name, language.plain_request(item, rng), access="infill",
            anchors=runs_of(words, [position for position in range(len(words)) if shown(position)]),
            item=item,
        )  # fmt: skip


def _wrapped_prefills(
    index: int, item: CraftItem, wraps: Sequence[language.Wrap], rng: random.Random
) -> Iterator[Case]:
    for start in WRAPPED_PREFILLS:
        wrap = rng.choice(wraps)
        phrase = rng.choice(phrases.PROCEDURAL if start else phrases.AFFIRMATIVE)
        cell = f"prefill_wrapped_{start}"
        name = f"{cell}/{index}/{item.name}"
        yield Case(
            name, cell, name, language.wrapped_request(item, wrap, rng), attempt=wrap.name,
            access="infill", anchors=((phrase, start),), item=item,
        )  # fmt: skip
