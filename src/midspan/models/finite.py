"""Logits that are not finite: how they are found, and what is said of them.

Broken weights and overflows of half precision make them. What is decoded from them is no answer,
though it often is an empty text, which would pass for a refusal.
Shapes: A rows, R positions, V vocabulary.
"""

import math
from collections.abc import Iterable

from torch import Tensor

from midspan.errors import MidspanError

NOT_FINITE = "the model's logits are not finite; run midspan doctor --deep MODEL"


class NotFiniteError(MidspanError):
    """A model's logits are not finite where something was to be decoded."""

    def __init__(self) -> None:
        """An error with the one message."""
        super().__init__(NOT_FINITE)


def faults(logits_ARV: Tensor) -> Tensor:
    """0 where a position's logits are finite, NaN where they are not, [A, R].

    Some tokens may be at minus infinity. A position's maximum tells the rest: it is NaN or plus
    infinity where one of the logits is, and minus infinity where all are. A number minus itself is
    0, and each of these minus itself NaN, so that no position is read by the host.
    """
    most_AR = logits_ARV.amax(-1)
    return most_AR - most_AR


def check_read(values: Iterable[float]) -> None:
    """Refuse what was read from such logits; a token that may not stand has minus infinity.

    Raises:
        NotFiniteError: A value is NaN.
    """
    if any(map(math.isnan, values)):
        raise NotFiniteError
