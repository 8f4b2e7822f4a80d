"""From a probe's names to its settings and requests, once."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from midspan.probes.asking import Material, ProbeConfig
from midspan.study.given import NOTHING, Given
from midspan.study.probes.config import ProbePlan


@dataclass(frozen=True)
class PreparedProbe:
    """A probe that can start: its settings are checked, and its requests are read.

    Attributes:
        plan: As users wrote it.
        config: The probe's own settings.
        material: What is asked, and by whom it is judged.
        given: What the caller had in hand.
    """

    plan: ProbePlan
    config: ProbeConfig
    material: Material
    given: Given = NOTHING

    @property
    def identity(self) -> dict[str, Any]:
        """What makes another run another: everything that decides the records."""
        requests = [(ask.kind, ask.prompt) for ask in self.material.asks]
        text = json.dumps([requests, self.material.phrases], sort_keys=True)
        return {
            "probe": self.plan.probe,
            **self.config.model_dump(mode="json"),
            "models": list(self.plan.models),
            "decoding": self.plan.decoding,
            "judged_by": self.material.judged_by,
            "requests": len(requests),
            "material": hashlib.sha256(text.encode()).hexdigest()[:16],
        }


def prepare(plan: ProbePlan, given: Given = NOTHING) -> PreparedProbe:
    """Check the settings and read the requests.

    Args:
        plan: The probe.
        given: Models that the caller has loaded.

    Raises:
        MidspanError: There is no such setting, a file cannot be read, or requests are missing.
    """
    return PreparedProbe(plan, plan.config(), plan.material(), given)
