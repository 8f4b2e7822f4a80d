"""What the demo trains and measures."""

from pydantic import Field, field_validator

from midspan.alignment import LABELS as RECIPE_LABELS
from midspan.alignment import PRESETS, AlignmentConfig, on_organism
from midspan.errors import not_one_of
from midspan.frozen import FrozenConfig
from midspan.studies.hypotheses import Hypothesis
from midspan.studies.organism.cases import Sizes
from midspan.studies.organism.demo.claims import METRICS, demo_hypotheses

BASE = "original"
LABELS = {BASE: "Original"} | RECIPE_LABELS
# Cells whose traces are kept, for the decoding order and the player.
TRACED_CELLS = ("plain", "benign_plain", "wraps_held_out", "prefill_40")


class DemoConfig(FrozenConfig):
    """One demo run.

    Attributes:
        objectives: Alignment presets to train, in the order of the tables.
        sizes: Cases a cell.
        steps: Decoding steps for the canvas of 128 tokens.
        num_prompts: Harmful prompts of each training; None takes each preset's number.
        seed: Seed of the cases; training data and adapters have ``training_seed``.
        hypotheses: What is expected; by default the demo's, at the n of its sizes.
    """

    objectives: tuple[str, ...] = ("initial-stable", "mosa-stable", "psa", "mosa")
    sizes: Sizes = Sizes()
    steps: int = Field(32, gt=0)
    num_prompts: int | None = Field(None, gt=0)
    seed: int = 1
    training_seed: int = 0
    hypotheses: tuple[Hypothesis, ...] = Field(
        default_factory=lambda fields: demo_hypotheses(fields.get("sizes", Sizes()))
    )

    @field_validator("objectives")
    @classmethod
    def _are_presets(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in PRESETS:
                raise not_one_of("", name, PRESETS)
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
        return (BASE, *self.objectives)

    def recipe(self, objective: str) -> AlignmentConfig:
        """The alignment config of one of the objectives."""
        changes = {"seed": self.training_seed, "num_prompts": self.num_prompts}
        given = {name: value for name, value in changes.items() if value is not None}
        return on_organism(objective, **given)
