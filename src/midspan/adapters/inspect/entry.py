"""What inspect finds by the entry point ``midspan``: provider, solver, scorers and tasks."""

from typing import Any

from inspect_ai.model import modelapi

from midspan.adapters.inspect.attack import midspan_attack
from midspan.adapters.inspect.judges import asr, midspan_judge, wilson_high, wilson_low
from midspan.adapters.inspect.tasks import audit, overrefusal

__all__ = [
    "asr",
    "audit",
    "midspan",
    "midspan_attack",
    "midspan_judge",
    "overrefusal",
    "wilson_high",
    "wilson_low",
]


@modelapi(name="midspan")
def midspan() -> Any:
    """The provider ``midspan/MODEL``."""
    from midspan.adapters.inspect.provider import MidspanAPI

    return MidspanAPI
