"""What the second organism's helpful-only training draws, and when.

*forms*: short answers, so that slots for facts and names form early. *everything*: all lengths,
disguises, conversations and languages. *settling*: the same on wider canvases. Everybody gets an
answer to everything: safety is a training of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from midspan.organism.second.answers import CANVAS

# Canvases as people ask for them: how long one is does not say how long its answer is.
SIZES = (64, 96, 128, CANVAS)


@dataclass(frozen=True)
class Stage:
    """A part of the curriculum.

    Attributes:
        name: What it is called.
        until: Share of all groups after which it ends.
        kinds: Weight of each kind of `corpus.SAMPLE_KINDS`.
        english: Share of samples that are English whatever their kind; the rest by
            `corpus.LANGUAGE_SHARE`.
        value_weight: How much more a fact's value weighs in the loss than another token.
        wide: Share of samples whose canvas is one of `sizes` whatever the answer's length.
        sizes: See `encoder.Encoder.sample`.
        spread: See `answers.recipe`.
    """

    name: str
    until: float
    kinds: Mapping[str, float]
    english: float = 0.0
    value_weight: float = 1.0
    wide: float = 0.1
    spread: float = 1.0
    sizes: tuple[int, ...] = (128, CANVAS)


_EVERYTHING: Mapping[str, float] = {
    "card": 0.05, "list": 0.04, "fact": 0.1, "choice": 0.05, "gaps": 0.04, "short": 0.08,
    "plain": 0.2, "disguised": 0.14, "about": 0.05, "talk": 0.05, "followed": 0.03,
    "later": 0.02, "mixed": 0.01, "mention": 0.03, "arithmetic": 0.12, "program": 0.04,
    "repeat": 0.02, "dictionary": 0.01,
}  # fmt: skip
STAGES = (
    Stage(
        "forms",
        0.3,
        {"card": 0.14, "list": 0.08, "fact": 0.18, "choice": 0.05, "gaps": 0.04, "short": 0.17,
         "plain": 0.06, "about": 0.08, "talk": 0.05, "arithmetic": 0.12, "program": 0.04,
         "repeat": 0.06, "dictionary": 0.01},
        english=0.9, value_weight=2.0, wide=0.0, spread=0.25,
    ),
    Stage("everything", 0.75, _EVERYTHING, value_weight=2.0, wide=0.02, spread=0.25),
    Stage("settling", 1.0, _EVERYTHING, wide=0.4, spread=0.25, sizes=SIZES),
)  # fmt: skip


def stage_at(progress: float) -> Stage:
    """The stage at a share of all groups."""
    return next((stage for stage in STAGES if progress < stage.until), STAGES[-1])
