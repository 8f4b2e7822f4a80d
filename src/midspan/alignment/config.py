"""What decides an alignment run, and the presets: the paper's recipe and the ones that work."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from midspan.errors import MidspanError


class _Config(BaseModel):
    """A frozen config that names the first wrong field in one line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            message = first["msg"].removeprefix("Value error, ")
            raise MidspanError(f"{place}: {message}" if place else message) from error


# The paper rewards "the first tokens". Several starts let different refusals keep apart: at a
# single start the response positions, which are predicted independently, mix them.
FIRST_TOKENS = (0, 3)


class ObjectiveConfig(_Config):
    """MOSA's Algorithm 1 and the terms that this project adds; defaults are the paper's.

    Attributes:
        window: First and last start position of the safe and harmful phrases, both included.
        overflow: "allow": a phrase may run past the window's end, as Algorithm 1 is printed;
            "forbid": it must end inside, as the paper's text says.
        beta: Weight of KL(policy || reference) on harmful prompts.
        kl_reduction: Over response positions; the paper does not say. "sum" is the KL between
            the factorised response distributions, "mean" is that per token.
        kl_direction: "forward" is KL(policy || reference) as printed, "reverse" the other way.
        negative_weight: Weight of the harmful phrase's score; the paper's is 1.
        negative_floor: Nats per token below which the harmful phrase's score is clamped and
            gives no gradient; the paper has no floor.
        benign_weight: Weight of the KL to the reference on benign prompts, reduced alike; the
            paper has no benign prompts.
    """

    window: tuple[int, int] = (20, 60)
    overflow: Literal["allow", "forbid"] = "allow"
    beta: float = Field(0.05, ge=0)
    kl_reduction: Literal["sum", "mean"] = "sum"
    kl_direction: Literal["forward", "reverse"] = "forward"
    negative_weight: float = Field(1.0, ge=0)
    negative_floor: float | None = Field(None, lt=0)
    benign_weight: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _window_is_ordered(self) -> "ObjectiveConfig":
        first, last = self.window
        if not 0 <= first <= last:
            raise ValueError(f"window must satisfy 0 <= first <= last, not {first}, {last}")
        return self


class AlignmentConfig(_Config):
    """One alignment run: objective, adapter and optimiser; defaults are the paper's.

    Attributes:
        name: Name of the objective in tables and figures.
        response_length: Canvas length in tokens; the paper does not say.
        num_prompts: Harmful prompts seen in all, drawn with replacement when there are fewer.
        benign_share: Share of each batch that is benign prompts (none in the paper).
        batch_size: Prompts a step, harmful and benign together; the paper does not say.
        lora_dropout: The paper does not say; 0 keeps the reference exact.
        warmup_ratio: Share of steps with rising learning rate; the paper does not say.
    """

    name: str = "mosa_paper"
    objective: ObjectiveConfig = ObjectiveConfig()
    response_length: int = Field(128, gt=0)
    num_prompts: int = Field(3000, gt=0)
    benign_share: float = Field(0.0, ge=0, lt=1)
    batch_size: int = Field(8, gt=0)
    learning_rate: float = Field(5e-5, gt=0)
    lr_scheduler: Literal["constant", "linear", "cosine"] = "constant"
    warmup_ratio: float = Field(0.0, ge=0, lt=1)
    max_grad_norm: float = Field(0.01, gt=0)
    lora_rank: int = Field(32, gt=0)
    lora_alpha: int = Field(64, gt=0)
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    gradient_checkpointing: bool = False
    seed: int = 0

    @model_validator(mode="after")
    def _benign_is_consistent(self) -> "AlignmentConfig":
        if (self.benign_share > 0) != (self.objective.benign_weight > 0):
            raise ValueError(
                "benign_share and objective.benign_weight go together: set both or neither"
            )
        if self.objective.window[1] >= self.response_length:
            raise ValueError(
                f"objective.window ends at {self.objective.window[1]}, beyond the canvas of "
                f"{self.response_length} tokens; raise response_length or move the window"
            )
        if self.benign_share and not 0 < self.num_benign < self.batch_size:
            raise ValueError("benign_share leaves no benign or no harmful prompt in a batch")
        return self

    @property
    def num_benign(self) -> int:
        """Benign prompts in each batch."""
        return round(self.batch_size * self.benign_share)

    @property
    def num_steps(self) -> int:
        """Optimiser steps: every step sees ``batch_size - num_benign`` harmful prompts."""
        return -(-self.num_prompts // (self.batch_size - self.num_benign))


def mosa_paper(**changes: object) -> AlignmentConfig:
    """Algorithm 1 with every stated value; what the paper leaves open is in the field docs."""
    return _changed(AlignmentConfig(), changes)


def initial_paper(**changes: object) -> AlignmentConfig:
    """The paper's baseline: the same reward at the first tokens."""
    return _changed(
        AlignmentConfig(name="initial_paper", objective=ObjectiveConfig(window=FIRST_TOKENS)),
        changes,
    )


def mosa(**changes: object) -> AlignmentConfig:
    """MOSA that keeps the model useful: benign KL, a floor and a small weight on the negative.

    Deviations from the paper and why: docs/log.md.
    """
    config = AlignmentConfig(
        name="mosa",
        objective=ObjectiveConfig(negative_weight=0.2, negative_floor=-12.0, benign_weight=2.0),
        benign_share=0.5,
        batch_size=16,
        num_prompts=1600,
        learning_rate=6e-3,
        lr_scheduler="linear",
        warmup_ratio=0.05,
    )
    return _changed(config, changes)


def initial(**changes: object) -> AlignmentConfig:
    """Initial alignment with the same care and budget as :func:`mosa`."""
    config = mosa(name="initial")
    objective = config.objective.model_copy(update={"window": FIRST_TOKENS})
    return _changed(config.model_copy(update={"objective": objective}), changes)


PRESETS = {
    "mosa": mosa,
    "initial": initial,
    "mosa_paper": mosa_paper,
    "initial_paper": initial_paper,
}


def _changed(config: AlignmentConfig, changes: dict[str, object]) -> AlignmentConfig:
    """Apply changes with full validation, which ``model_copy`` skips."""
    return AlignmentConfig(**config.model_dump() | changes)
