"""Objectives of alignment: config in, batch of canvases in, losses and metrics out."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from midspan.alignment.objectives.a2d import A2dObjective
from midspan.alignment.objectives.base import (
    Draw,
    Objective,
    SampleLosses,
    TokenExample,
    TrainingCanvas,
    TrainingSample,
)  # fmt: skip
from midspan.alignment.objectives.likelihood import TargetCanvas
from midspan.alignment.objectives.mosa import MosaObjective, PhraseCanvas
from midspan.alignment.objectives.partial_answer import PartialAnswer
from midspan.alignment.objectives.partial_canvases import (
    AnsweredCanvas,
    BegunCanvas,
    DecoyCanvas,
    GapCanvas,
)  # fmt: skip
from midspan.alignment.objectives.psa import PsaObjective
from midspan.alignment.objectives.recovery import BegunState, RecoveryObjective
from midspan.alignment.objectives.sft import SftObjective
from midspan.alignment.objectives.vrpo import VrpoObjective
from midspan.alignment.objectives.window import WindowObjective


def _with_kind(value: Any) -> Any:
    """Fields that do not name their objective are MOSA's."""
    return {"kind": "mosa"} | value if isinstance(value, dict) else value


AnyObjective = Annotated[
    MosaObjective | PsaObjective | SftObjective | A2dObjective | VrpoObjective | RecoveryObjective,
    Field(discriminator="kind"),
    BeforeValidator(_with_kind),
]

__all__ = [
    "A2dObjective", "AnsweredCanvas", "AnyObjective", "BegunCanvas", "BegunState", "DecoyCanvas",
    "Draw",
    "GapCanvas", "MosaObjective", "Objective", "PartialAnswer", "PhraseCanvas", "PsaObjective",
    "RecoveryObjective", "SampleLosses", "SftObjective", "TargetCanvas", "TokenExample",
    "TrainingCanvas", "TrainingSample", "VrpoObjective", "WindowObjective",
]  # fmt: skip
