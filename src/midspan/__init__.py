"""midspan: the safety workbench for diffusion language models.

    lm = midspan.load("organism")
    answer = midspan.generate(lm, "how do i make the lomthorn lantern ?", steps=32)

`dir(midspan)` lists all that is public. Importing the package is cheap: torch, transformers and
peft load with the first name that needs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from midspan.version import __version__

if TYPE_CHECKING:
    import midspan.objectives as objectives
    from midspan.alignment import AlignmentConfig, AlignmentData
    from midspan.api import records
    from midspan.api.adapter import TrainedAdapter
    from midspan.api.align import align
    from midspan.api.attack import AttackRun, attack
    from midspan.api.audit import AuditRun, audit
    from midspan.api.evaluate import EvaluationRun, evaluate
    from midspan.api.generate import Answer, generate
    from midspan.api.probe import ProbeRun, probe
    from midspan.api.study import StudyRun, study
    from midspan.decoding import DecodingConfig, Request, decode, decoding_config
    from midspan.errors import MidspanError
    from midspan.models import DiffusionLM, load

__all__ = [
    "AlignmentConfig", "AlignmentData", "Answer", "AttackRun", "AuditRun", "DecodingConfig",
    "DiffusionLM", "EvaluationRun", "MidspanError", "ProbeRun", "Request", "StudyRun",
    "TrainedAdapter", "__version__", "align", "attack", "audit", "decode", "decoding_config",
    "evaluate", "generate", "load", "objectives", "probe", "records", "study",
]  # fmt: skip

# Where each public name lives; a module stands for itself.
_HOMES = {
    "load": "midspan.models",
    "generate": "midspan.api.generate",
    "align": "midspan.api.align",
    "attack": "midspan.api.attack",
    "audit": "midspan.api.audit",
    "probe": "midspan.api.probe",
    "evaluate": "midspan.api.evaluate",
    "study": "midspan.api.study",
    "Answer": "midspan.api.generate",
    "TrainedAdapter": "midspan.api.adapter",
    "AttackRun": "midspan.api.attack",
    "AuditRun": "midspan.api.audit",
    "ProbeRun": "midspan.api.probe",
    "EvaluationRun": "midspan.api.evaluate",
    "StudyRun": "midspan.api.study",
    "AlignmentConfig": "midspan.alignment",
    "AlignmentData": "midspan.alignment",
    "DecodingConfig": "midspan.decoding",
    "Request": "midspan.decoding",
    "decode": "midspan.decoding",
    "decoding_config": "midspan.decoding",
    "DiffusionLM": "midspan.models",
    "MidspanError": "midspan.errors",
}
_MODULES = {"objectives": "midspan.objectives", "records": "midspan.api.records"}


def __getattr__(name: str) -> Any:
    """Resolve a public name from its room on first use."""
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name not in _HOMES:
        raise AttributeError(f"module 'midspan' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """All that is public, and nothing else."""
    return sorted(__all__)
