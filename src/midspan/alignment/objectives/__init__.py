"""Objectives of alignment: config in, batch of canvases in, losses and metrics out."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from midspan.alignment.objectives.a2d import A2dObjective
from midspan.alignment.objectives.anywhere import AnywhereObjective
from midspan.alignment.objectives.base import (
    Canvas,
    Draw,
    Objective,
    PhrasePair,
    Sample,
    SampleLosses,
    TokenExample,
)  # fmt: skip
from midspan.alignment.objectives.contamination import Contamination
from midspan.alignment.objectives.mosa import MosaObjective
from midspan.alignment.objectives.sft import SftObjective
from midspan.alignment.objectives.vrpo import VrpoObjective


def _with_kind(value: Any) -> Any:
    """Fields that do not name their objective are MOSA's."""
    return {"kind": "mosa"} | value if isinstance(value, dict) else value


AnyObjective = Annotated[
    MosaObjective | AnywhereObjective | SftObjective | A2dObjective | VrpoObjective,
    Field(discriminator="kind"),
    BeforeValidator(_with_kind),
]

__all__ = [
    "A2dObjective", "AnyObjective", "AnywhereObjective", "Canvas", "Contamination", "Draw",
    "MosaObjective", "Objective", "PhrasePair", "Sample", "SampleLosses", "SftObjective",
    "TokenExample", "VrpoObjective",
]  # fmt: skip
