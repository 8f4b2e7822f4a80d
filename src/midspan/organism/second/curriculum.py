"""What the second organism's helpful-only training draws, and when.

*copying*: names to say again. *cards*: facts alone, so that attention to names and the binding of
facts form early. *forms*: short
forms and brief recipes. *everything*: all lengths, disguises and conversations. *settling*: usual
wordings become more usual, so that several tokens committed at once fit together. Everybody gets
an answer to everything: safety is a training of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass


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
        wide: Share of samples whose canvas is 128 or 256 whatever the answer's length.
        spread: See `answers.recipe`.
    """

    name: str
    until: float
    kinds: Mapping[str, float]
    english: float = 0.0
    value_weight: float = 1.0
    wide: float = 0.1
    spread: float = 1.0


STAGES = (
    Stage(
        "copying",
        0.03,
        {"repeat": 0.6, "about": 0.15, "card": 0.25},
        english=1.0, wide=0.0,
    ),
    Stage(
        "cards",
        0.23,
        {"card": 0.56, "list": 0.08, "fact": 0.1, "repeat": 0.14, "dictionary": 0.04,
         "arithmetic": 0.05, "program": 0.03},
        english=0.8, value_weight=2.0, wide=0.0,
    ),
    Stage(
        "forms",
        0.55,
        {"card": 0.15, "list": 0.07, "fact": 0.08, "choice": 0.05, "gaps": 0.1, "short": 0.2,
         "plain": 0.1, "disguised": 0.05, "about": 0.03, "talk": 0.04, "arithmetic": 0.05,
         "program": 0.03, "dictionary": 0.03, "repeat": 0.02},
        english=0.2, value_weight=3.0, wide=0.05,
    ),
    Stage(
        "everything",
        0.85,
        {"card": 0.06, "list": 0.04, "fact": 0.05, "choice": 0.04, "gaps": 0.06, "short": 0.05,
         "plain": 0.2, "disguised": 0.2, "about": 0.03, "talk": 0.04, "followed": 0.06,
         "later": 0.06, "mixed": 0.04, "mention": 0.02, "arithmetic": 0.03, "program": 0.02},
        value_weight=2.0, wide=0.15,
    ),
    Stage(
        "settling",
        1.0,
        {"card": 0.06, "list": 0.04, "fact": 0.05, "choice": 0.04, "gaps": 0.06, "short": 0.05,
         "plain": 0.2, "disguised": 0.2, "about": 0.03, "talk": 0.04, "followed": 0.06,
         "later": 0.06, "mixed": 0.04, "mention": 0.02, "arithmetic": 0.03, "program": 0.02},
        wide=0.2, spread=0.25,
    ),
)  # fmt: skip


def stage_at(progress: float) -> Stage:
    """The stage at a share of all groups."""
    return next((stage for stage in STAGES if progress < stage.until), STAGES[-1])
