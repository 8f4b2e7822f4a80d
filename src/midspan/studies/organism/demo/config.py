"""What the demo trains and measures."""

from typing import Literal

from pydantic import Field, field_validator

from midspan.alignment import PRESETS, AlignmentConfig
from midspan.errors import not_one_of
from midspan.frozen import FrozenConfig
from midspan.organism.worlds import SECOND
from midspan.studies.decodings import BLOCKS_OF_32, ONE_BLOCK
from midspan.studies.hypotheses import Hypothesis
from midspan.studies.organism.demo.cases import DISGUISED, PLAIN, DemoSizes
from midspan.studies.organism.demo.claims import METRICS, demo_hypotheses
from midspan.studies.organism.demo.models import BASE, SHIPPED, TRAINED, trained
from midspan.studies.training import preset_recipe

# Cells whose traces are kept, for the decoding order and the player.
TRACED_CELLS = (PLAIN, DISGUISED, "benign usual", "prefill 40")
_DECODINGS = (ONE_BLOCK, BLOCKS_OF_32)


class DemoConfig(FrozenConfig):
    """One demo run.

    Attributes:
        shipped: Adapters of the second organism that the package ships.
        objectives: Alignment presets to train here, in the order of the tables.
        sizes: Cases a cell.
        decodings: "one block", "blocks of 32", or both.
        positions_a_step: Positions of the canvas that a step commits.
        num_prompts: Harmful prompts of each training here; None takes the preset's number.
        seed: Seed of the cases; training data and adapters have ``training_seed``, another one than
            the shipped adapters had.
        hypotheses: What is expected; by default the demo's, at the n of its sizes.
    """

    shipped: tuple[str, ...] = SHIPPED
    objectives: tuple[str, ...] = TRAINED
    sizes: DemoSizes = DemoSizes()
    decodings: tuple[str, ...] = Field((ONE_BLOCK,), min_length=1)
    positions_a_step: Literal[2, 4, 8, 16, 32] = 8
    num_prompts: int | None = Field(None, gt=0)
    seed: int = 1
    training_seed: int = 1
    hypotheses: tuple[Hypothesis, ...] = Field(
        default_factory=lambda fields: demo_hypotheses(fields.get("sizes", DemoSizes()))
    )

    @field_validator("shipped", "objectives")
    @classmethod
    def _are_presets(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in PRESETS:
                raise not_one_of("", name, PRESETS)
        return names

    @field_validator("decodings")
    @classmethod
    def _are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in _DECODINGS:
                raise not_one_of("", name, _DECODINGS)
        return names

    @field_validator("hypotheses")
    @classmethod
    def _are_measured(cls, given: tuple[Hypothesis, ...]) -> tuple[Hypothesis, ...]:
        for hypothesis in given:
            if hypothesis.metric not in METRICS:
                raise not_one_of("metric", hypothesis.metric, METRICS)
        return given

    @property
    def labels(self) -> tuple[str, ...]:
        """Models as the records name them, the Original first."""
        return (BASE, *self.shipped, *map(trained, self.objectives))

    def recipe(self, objective: str) -> AlignmentConfig:
        """The alignment config of one of the objectives: a preset of `midspan align organism2`."""
        recipe = preset_recipe(objective, SECOND, "objectives")
        changes = {"seed": self.training_seed, "num_prompts": self.num_prompts}
        given = {name: value for name, value in changes.items() if value is not None}
        return recipe.model_copy(update=given)
