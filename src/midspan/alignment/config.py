"""What decides an alignment run: objective, budget, adapter and optimiser."""

from typing import Literal

from pydantic import Field, model_validator

from midspan.alignment.objectives import AnyObjective, MosaObjective, WindowObjective
from midspan.frozen import FrozenConfig


class TrainingProbes(FrozenConfig):
    """Quick measurements during training, and what stops it before a model is ruined.

    Attributes:
        every: Steps between two quick probes, of which the last step has one, too; 0 for none.
        max_benign_kl: Nats per token between policy and reference on benign probes above which
            training stops with the adapter of the last good probe; None never stops.
        max_refusal_drop: Nats by which the refusal may fall below that of the best probe so far,
            before training stops in the same way; None never stops.
        steps: Decoding steps of the sample that is shown.
    """

    every: int = Field(0, ge=0)
    max_benign_kl: float | None = Field(None, gt=0)
    max_refusal_drop: float | None = Field(None, gt=0)
    steps: int = Field(32, gt=0)

    @model_validator(mode="after")
    def _limit_has_probes(self) -> "TrainingProbes":
        for name in ("max_benign_kl", "max_refusal_drop"):
            if getattr(self, name) is not None and not self.every:
                raise ValueError(f"{name} needs probes; set every to the steps between them")
        return self


class AlignmentConfig(FrozenConfig):
    """One alignment run; defaults are the paper's.

    Attributes:
        name: Name of the objective in tables and figures.
        response_length: Canvas length in tokens; the paper does not say.
        num_prompts: Harmful prompts seen in all, drawn with replacement when there are fewer.
        benign_share: Share of each batch that is benign prompts (none in the paper).
        batch_size: Prompts of an optimiser step over all processes, harmful and benign together.
            The paper does not say; Figure 7 shows at least 500 steps in one epoch over 3,000
            prompts, so at most 6, and it has two GPUs, so 2 is one for each.
        micro_batch_size: Prompts of a forward pass in each process; None for the whole share of a
            process. It changes memory, and results only by rounding.
        lora_dropout: The paper does not say; 0 keeps the reference exact.
        warmup_ratio: Share of steps with rising learning rate; the paper does not say.
        gradient_checkpointing: Recompute each layer in the backward pass: less memory, more time.
        compiled: Let `torch.compile` fuse what lies between the products of each layer; the first
            steps take longer, and results differ by rounding.
    """

    name: str = "mosa"
    objective: AnyObjective = MosaObjective()
    response_length: int = Field(128, gt=0)
    num_prompts: int = Field(3000, gt=0)
    benign_share: float = Field(0.0, ge=0, lt=1)
    batch_size: int = Field(2, gt=0)
    micro_batch_size: int | None = Field(None, gt=0)
    learning_rate: float = Field(5e-5, gt=0)
    lr_scheduler: Literal["constant", "linear", "cosine"] = "constant"
    warmup_ratio: float = Field(0.0, ge=0, lt=1)
    max_grad_norm: float = Field(0.01, gt=0)
    lora_rank: int = Field(32, gt=0)
    lora_alpha: int = Field(64, gt=0)
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    gradient_checkpointing: bool = False
    compiled: bool = Field(False, exclude_if=lambda compiled: not compiled)
    probes: TrainingProbes = TrainingProbes()
    seed: int = 0

    @model_validator(mode="after")
    def _is_consistent(self) -> "AlignmentConfig":
        if (self.benign_share > 0) != (self.objective.benign_weight > 0):
            raise ValueError(
                "benign_share and objective.benign_weight go together: set both or neither"
            )
        if isinstance(self.objective, WindowObjective):
            last = self.objective.window[1]
            if last >= self.response_length:
                raise ValueError(
                    f"objective.window ends at {last}, beyond the canvas of "
                    f"{self.response_length} tokens; raise response_length or move the window"
                )
        if self.benign_share and not 0 < self.num_benign < self.batch_size:
            raise ValueError("benign_share leaves no benign or no harmful prompt in a batch")
        if self.micro_batch_size and self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"micro_batch_size {self.micro_batch_size} does not divide batch_size "
                f"{self.batch_size}"
            )
        return self

    @property
    def num_benign(self) -> int:
        """Benign prompts in each batch."""
        return round(self.batch_size * self.benign_share)

    @property
    def num_harmful(self) -> int:
        """Harmful prompts in each batch."""
        return self.batch_size - self.num_benign

    @property
    def num_steps(self) -> int:
        """Optimiser steps."""
        return -(-self.num_prompts // self.num_harmful)
