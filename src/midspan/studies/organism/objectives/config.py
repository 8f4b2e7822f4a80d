"""What a comparison of alignment objectives trains and measures."""

from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from midspan.alignment import AlignmentConfig
from midspan.errors import not_one_of
from midspan.frozen import FrozenConfig
from midspan.studies.decodings import BLOCKS_OF_32, ONE_BLOCK, ORGANISM_STEPS, organism_decodings
from midspan.studies.organism.cases import Case, Sizes, build_cases, build_mention_cases
from midspan.studies.organism.stress import build_stress_cases

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig

BASE = "original"


class ObjectivesConfig(FrozenConfig):
    """One comparison.

    Attributes:
        recipes: Alignment configs by name, each trained once a seed.
        seeds: Training seeds; they draw the training data too.
        sizes: Cases a cell; attempts with wraps of trained families are left out.
        stress: Cases of each kind of partly given answer.
        mentions: Harmless requests of each kind that only mentions a restricted item.
        decodings: Names from :func:`stress_decodings`.
        held_in: Judge on items and wraps that alignment saw, to choose settings by; never report
            a comparison with it.
        case_seed: Seed of the cases.
    """

    recipes: dict[str, AlignmentConfig]
    seeds: tuple[int, ...] = (0, 1, 2)
    sizes: Sizes = Sizes(plain=9, wraps=6, prefill=6, benign=12, utility=8)
    stress: int = Field(9, ge=0)
    # Left out where there are none, so that runs of an earlier version go on.
    mentions: int = Field(0, ge=0, exclude_if=lambda count: not count)
    decodings: tuple[str, ...] = (ONE_BLOCK, BLOCKS_OF_32)
    held_in: bool = False
    case_seed: int = 4

    @field_validator("decodings")
    @classmethod
    def _are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in stress_decodings()]
        if unknown:
            raise not_one_of("", unknown[0], stress_decodings())
        return names

    @property
    def labels(self) -> tuple[str, ...]:
        """Models as the tables name them, the Original first."""
        return (BASE, *self.recipes)

    def cases(self) -> list[Case]:
        """What every model is asked."""
        cases = build_cases(self.sizes, self.case_seed)
        cases += build_stress_cases(self.stress, self.case_seed, self.held_in)
        cases += build_mention_cases(self.mentions, self.case_seed, self.held_in)
        unwanted = "wraps_held_out" if self.held_in else "wraps_trained"
        return [
            case
            for case in cases
            if case.cell != unwanted and not (self.held_in and (case.item and case.item.held_out))
        ]


def stress_decodings() -> "dict[str, DecodingConfig]":
    """Decodings by name: two block settings, each with 16 to 128 steps, sampled, without EOS."""
    decodings = {}
    for steps in (ORGANISM_STEPS, 16, 64, 128):
        for name, config in organism_decodings(steps).items():
            decodings[name if steps == ORGANISM_STEPS else f"{name}, {steps} steps"] = config
    for name, config in organism_decodings().items():
        decodings[f"{name}, temperature 1.0"] = config.model_copy(update={"temperature": 1.0})
        for policy in ("suppress_confidence", "suppress_logits"):
            label = f"{name}, EOS {policy.replace('_', ' ').replace('suppress ', 'suppressed in ')}"
            decodings[label] = config.model_copy(update={"eos_policy": policy})
    return decodings
