"""What an attacker with the weights does to them before a call: frozen configs, part of its key.

They say what is done. How it is done stands above this room, which trains nothing: a role is given
a `Tamper`.
"""

import hashlib
import json
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import Field

from midspan.frozen import FrozenConfig

if TYPE_CHECKING:
    from midspan.models import DiffusionLM


class Finetuning(FrozenConfig):
    """A low-rank update, trained on a few examples by the model's own loss (LLaDA, Algorithm 2).

    Two that are equal are one training; texts are part of what is compared.

    Attributes:
        examples: Requests with their answers.
        steps: Optimiser steps.
        batch_size: Examples of a step; all of them where there are fewer.
        learning_rate: AdamW's, constant.
        rank: Of the update.
        alpha: The update counts alpha / rank times.
        length: Canvas of an answer, in tokens.
        seed: Of the update's first values, the order and the masks.
    """

    tampering: Literal["finetuning"] = "finetuning"
    examples: tuple[tuple[str, str], ...] = Field(min_length=1)
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    rank: int = Field(ge=1)
    alpha: int = Field(ge=1)
    length: int = Field(ge=1)
    seed: int = 0

    def summary(self) -> dict[str, Any]:
        """As records have it: the examples' number and hash instead of their texts."""
        texts = json.dumps(self.examples).encode()
        examples = {"count": len(self.examples), "sha256": hashlib.sha256(texts).hexdigest()}
        return self.model_dump(mode="json") | {"examples": examples}


class AdapterScaling(FrozenConfig):
    """The model's own adapter at a share of its strength.

    Attributes:
        factor: 0 leaves the base, 1 the model as it is.
    """

    tampering: Literal["adapter_scaling"] = "adapter_scaling"
    factor: float = Field(ge=0, allow_inf_nan=False)

    def summary(self) -> dict[str, Any]:
        """As records have it."""
        return self.model_dump(mode="json")


Tampering = Finetuning | AdapterScaling


class Tamper(Protocol):
    """Makes a tampered model for a while."""

    def __call__(self, lm: "DiffusionLM", tampering: Tampering) -> AbstractContextManager[None]:
        """Train what is to be trained, at once, and return what makes the model so for a while.

        Within the context it answers as tampered with; afterwards as before, to the bit.

        Raises:
            MidspanError: This model's weights cannot be changed so.
        """
        ...
