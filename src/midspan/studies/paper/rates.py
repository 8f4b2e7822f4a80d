"""How long rows and trainings take on this machine, measured on a loaded model."""

import tempfile
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from midspan.studies.redteam.pilot import spread

if TYPE_CHECKING:
    from midspan.alignment import AlignmentConfig, AlignmentData
    from midspan.decoding import DecodingConfig
    from midspan.models import DiffusionLM

_TRAINED_STEPS = 4
# Requests that are answered to see how early responses end.
_ASKED = 8


class Rate:
    """Seconds of a row's forward pass, measured once for each canvas and batch."""

    def __init__(self, lm: "DiffusionLM") -> None:
        self.lm = lm
        self._seconds: dict[tuple[int, int], float] = {}
        self._shares: dict[tuple[str, tuple[str, ...]], float] = {}

    def seconds(self, decoding: "DecodingConfig", batch_size: int) -> float:
        """Of one row in a batch of this size."""
        key = (decoding.length, batch_size)
        if key not in self._seconds:
            self._seconds[key] = self._measure(decoding, batch_size)
        return self._seconds[key]

    def share(self, decoding: "DecodingConfig", prompts: Sequence[str]) -> float:
        """Of the steps, what a response takes: rows end early; measured on a few of the prompts."""
        from midspan.decoding import Request, decode

        if not decoding.early_stop:
            return 1.0
        few = spread(prompts, _ASKED)
        key = (decoding.model_dump_json(), tuple(few))
        if key not in self._shares:
            requests = [Request(tuple(self.lm.encode_chat(prompt))) for prompt in few]
            made = decode(self.lm, requests, decoding, batch_size=len(requests))
            forwards = sum(one.forwards for one in made)
            self._shares[key] = forwards / len(made) / decoding.steps
        return self._shares[key]

    def _measure(self, decoding: "DecodingConfig", batch_size: int) -> float:
        from midspan.decoding import Request, decode

        steps = min(decoding.steps, 2 * decoding.num_blocks)
        short = decoding.model_copy(update={"steps": steps, "early_stop": False})
        requests = [Request(tuple(self.lm.encode_chat("what do i need ?")))] * batch_size
        decode(self.lm, requests, short, batch_size=batch_size)  # the first call loads kernels
        started = time.perf_counter()
        decode(self.lm, requests, short, batch_size=batch_size)
        return (time.perf_counter() - started) / steps / batch_size


def training_hours(lm: "DiffusionLM", data: "AlignmentData", recipe: "AlignmentConfig") -> float:
    """Of one training, by a few steps of the recipe, into a folder that is thrown away."""
    from midspan.alignment import TrainingProbes, align

    # The last step is always probed: among so few, a rare probe would count as a share of each.
    probes = recipe.probes if recipe.probes.every <= _TRAINED_STEPS else TrainingProbes()
    changes = {"num_prompts": _TRAINED_STEPS * recipe.num_harmful, "probes": probes}
    few = recipe.model_copy(update=changes)
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        align(lm, data, few, folder, lambda *_: times.append(time.perf_counter()))
    seconds = (times[-1] - times[0]) / (len(times) - 1)
    return seconds * recipe.num_steps / 3600
