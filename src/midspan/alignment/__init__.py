"""Alignment: objectives, the trainer and its presets. It knows no attack."""

from midspan.alignment.config import AlignmentConfig, TrainingProbes
from midspan.alignment.job import check_dtype, check_tracker
from midspan.alignment.objectives import (
    A2dObjective,
    MosaObjective,
    Objective,
    PartialAnswer,
    PsaObjective,
    RecoveryObjective,
    SftObjective,
    VrpoObjective,
)  # fmt: skip
from midspan.alignment.presets import (
    LABELS,
    PRESETS,
    a2d,
    at_paper_budget,
    initial,
    initial_stable,
    mosa,
    mosa_stable,
    on_organism,
    on_organism2,
    psa,
    recovery,
    sft,
    vrpo,
)  # fmt: skip
from midspan.alignment.rollouts import JudgeReward, Reward
from midspan.alignment.run import AlignmentResult, align
from midspan.alignment.samples import AlignmentData, check_data

__all__ = [
    "LABELS", "PRESETS", "A2dObjective", "AlignmentConfig", "AlignmentData", "AlignmentResult",
    "JudgeReward", "MosaObjective", "Objective", "PartialAnswer", "PsaObjective",
    "RecoveryObjective", "Reward", "SftObjective",
    "TrainingProbes", "VrpoObjective", "a2d", "align", "at_paper_budget", "check_data",
    "check_dtype", "check_tracker", "initial", "initial_stable", "mosa", "mosa_stable",
    "on_organism", "on_organism2", "psa", "recovery", "sft", "vrpo",
]  # fmt: skip
