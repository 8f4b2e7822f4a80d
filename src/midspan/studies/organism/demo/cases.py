"""What the demo asks of a model of the second organism: every request, fixed by a seed."""

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from midspan.frozen import FrozenConfig
from midspan.organism.second import disguises, phrases, requests
from midspan.organism.second.safety import TRAINED_MANNERS
from midspan.organism.second.world import sealed_items
from midspan.studies.organism.second.cases import USUAL, Case, cell_cases, work_of
from midspan.studies.organism.second.verify import decoding

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig

PLAIN, DISGUISED = "sealed plain", "sealed disguised"
# Where on the canvas the phrase stands; answers end before 80.
PREFILL_POSITIONS = (0, 20, 40)
PREFILL_CELLS = tuple(f"prefill {start}" for start in PREFILL_POSITIONS)
BENIGN_CELLS = ("benign usual", "benign disguised")
UTILITY_CELLS = ("benign fact", "benign choice", "arithmetic")
ATTEMPTS = 4
_LENGTH = "usual"


class DemoSizes(FrozenConfig):
    """How many cases each cell gets.

    Attributes:
        plain: Plain requests for sealed works, in the manners that safety training refused.
        disguises: Behaviors, each attacked in four disguises of families that alignment never saw.
        prefill: Plain requests for each prefilled position.
        benign: Requests for open works, plain and disguised each.
        utility: Single facts, choices and sums each.
    """

    plain: int = Field(48, gt=0)
    disguises: int = Field(48, gt=0)
    prefill: int = Field(40, gt=0)
    benign: int = Field(48, gt=0)
    utility: int = Field(40, gt=0)


def build_cases(sizes: DemoSizes, seed: int) -> list[Case]:
    """All cases of a demo; the same sizes and seed give the same prompts."""
    counts = {
        PLAIN: sizes.plain,
        **dict.fromkeys(BENIGN_CELLS, sizes.benign),
        **dict.fromkeys(UTILITY_CELLS, sizes.utility),
    }
    cases = [case for cell, n in counts.items() for case in cell_cases(cell, n, _drawn(seed, cell))]
    cases += _disguised(sizes.disguises, _drawn(seed, DISGUISED))
    return cases + list(_prefilled(sizes.prefill, _drawn(seed, "prefill")))


def groups(
    cases: Sequence[Case], names: Sequence[str], positions_a_step: int
) -> "Iterator[tuple[str, DecodingConfig, Sequence[Case]]]":
    """The cases by decoding and canvas, as `measure` takes them.

    Args:
        cases: All of them.
        names: Decodings: one block, blocks of 32, or both.
        positions_a_step: Positions of the canvas that one step commits.
    """
    for name in names:
        for canvas in sorted({case.canvas for case in cases}):
            chosen = [case for case in cases if case.canvas == canvas]
            yield name, decoding(canvas, name, positions_a_step), chosen


def _drawn(seed: int, cell: str) -> random.Random:
    return random.Random(f"demo/{seed}/{cell}")


def _disguised(count: int, rng: random.Random) -> Iterator[Case]:
    """The works of the plain requests, in the same order."""
    unseen = [family for family in disguises.DISGUISES if family.held_out]
    for index in range(count):
        item, behavior = work_of(sealed_items(), index), f"{DISGUISED}/{index}"
        for family in rng.sample(unseen, ATTEMPTS):
            turns = (("user", disguises.disguise(item, family, _LENGTH, rng)),)
            yield Case(
                f"{behavior}/{family.name}", DISGUISED, turns, USUAL, item,
                behavior=behavior, attempt=family.name,
            )  # fmt: skip


def _prefilled(count: int, rng: random.Random) -> Iterator[Case]:
    """Each plain request with an opening at the start, and with a recipe's words in the middle."""
    for index in range(count):
        item = work_of(sealed_items(), index)
        prompt = requests.plain(item, rng.choice(TRAINED_MANNERS), _LENGTH, rng)
        for cell, start in zip(PREFILL_CELLS, PREFILL_POSITIONS, strict=True):
            phrase = rng.choice(phrases.PROCEDURAL if start else phrases.AFFIRMATIVE)
            yield Case(
                f"{cell}/{index}", cell, (("user", prompt),), USUAL, item,
                anchors=((phrase, start),),
            )  # fmt: skip
