"""Alignment: objectives, the trainer and its presets. It knows no attack.

Configs import without torch; everything that trains loads with its first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from midspan.alignment.config import (
    PRESETS,
    AlignmentConfig,
    ObjectiveConfig,
    initial,
    initial_paper,
    mosa,
    mosa_paper,
)  # fmt: skip

if TYPE_CHECKING:
    from midspan.alignment.run import AlignmentResult, align
    from midspan.alignment.samples import AlignmentData

__all__ = [
    "PRESETS", "AlignmentConfig", "AlignmentData", "AlignmentResult", "ObjectiveConfig", "align",
    "initial", "initial_paper", "mosa", "mosa_paper",
]  # fmt: skip

_HOMES = {"align": "run", "AlignmentResult": "run", "AlignmentData": "samples"}


def __getattr__(name: str) -> Any:
    """Resolve a training name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
