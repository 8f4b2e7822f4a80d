"""AdvPrefix's choice among beginnings of a response that were scored and completed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_NO_ZERO = 1e-6


@dataclass(frozen=True)
class Choice:
    """A beginning with its negative log-likelihood and the share of completions that succeeded."""

    prefix: str
    nll: float
    success: float

    def cost(self, weight: float) -> float:
        """The paper's selection criterion; the least is chosen."""
        return self.nll - weight * math.log(self.success + _NO_ZERO)


def select(choices: Sequence[Choice], weight: float) -> list[Choice]:
    """The least cost, then the likeliest as successful that do not go on from one chosen."""
    chosen = [min(choices, key=lambda choice: choice.cost(weight))]
    for choice in sorted(choices, key=lambda choice: choice.nll):
        is_extension = any(choice.prefix.startswith(other.prefix) for other in chosen)
        if choice.success >= chosen[0].success and not is_extension:
            chosen.append(choice)
    return chosen
