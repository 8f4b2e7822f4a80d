"""Alignment: objectives, the trainer and its presets. It knows no attack."""

from midspan.alignment.config import AlignmentConfig, WatchConfig
from midspan.alignment.job import check_tracker
from midspan.alignment.objectives import (
    A2dObjective,
    AnywhereObjective,
    Contamination,
    MosaObjective,
    Objective,
    SftObjective,
    VrpoObjective,
)  # fmt: skip
from midspan.alignment.presets import (
    PRESETS,
    a2d,
    anywhere,
    at_paper_budget,
    initial,
    initial_paper,
    mosa,
    mosa_paper,
    sft,
    vrpo,
)  # fmt: skip
from midspan.alignment.run import AlignmentResult, align
from midspan.alignment.samples import AlignmentData

__all__ = [
    "PRESETS", "A2dObjective", "AlignmentConfig", "AlignmentData", "AlignmentResult",
    "AnywhereObjective", "Contamination", "MosaObjective", "Objective", "SftObjective",
    "VrpoObjective", "WatchConfig", "a2d", "align", "anywhere", "at_paper_budget",
    "check_tracker", "initial", "initial_paper", "mosa", "mosa_paper", "sft", "vrpo",
]  # fmt: skip
