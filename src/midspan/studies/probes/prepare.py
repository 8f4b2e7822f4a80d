"""From a probe's names to its settings and requests, once."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from midspan.probes.context import ProbeConfig, ProbeCost, ProbeData
from midspan.studies.given import NOTHING, Given
from midspan.studies.probes.config import ProbeSpec
from midspan.studies.probes.registry import PROBES


@dataclass(frozen=True)
class PreparedProbe:
    """A probe that can start: its settings are checked, and its requests are read.

    Attributes:
        spec: As users wrote it.
        config: The probe's own settings.
        data: What is asked, and by whom it is judged.
        given: What the caller had in hand.
    """

    spec: ProbeSpec
    config: ProbeConfig
    data: ProbeData
    given: Given = NOTHING

    @property
    def identity(self) -> dict[str, Any]:
        """What makes another run another: everything that decides the records."""
        requests = [(request.kind, request.prompt) for request in self.data.requests]
        text = json.dumps([requests, self.data.phrases], sort_keys=True)
        return {
            "probe": self.spec.probe,
            **self.config.model_dump(mode="json"),
            "models": list(self.spec.models),
            "decoding": self.spec.decoding,
            "judged_by": self.data.judged_by,
            "requests": len(requests),
            "data": hashlib.sha256(text.encode()).hexdigest()[:16],
        }

    def cost(self, lengths: Sequence[int]) -> ProbeCost:
        """What the probe costs on one model.

        Args:
            lengths: Tokens of the canvas of each decoding.
        """
        return PROBES[self.spec.probe].resolve("cost")(self.data, self.config, lengths)


def prepare(spec: ProbeSpec, given: Given = NOTHING) -> PreparedProbe:
    """Check the settings and read the requests.

    Args:
        spec: The probe.
        given: Models that the caller has loaded, and the judge that the spec names.

    Raises:
        MidspanError: There is no such setting, a file cannot be read, or requests or the judge are
            missing.
    """
    config, data = spec.config(), spec.data()
    if spec.judge is not None:
        judged_by = f"{spec.judge}; benign requests by keywords of refusal"
        data = replace(data, harm_judge=given.judge(spec.judge), judged_by=judged_by)
    return PreparedProbe(spec, config, data, given)
