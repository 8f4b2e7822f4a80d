"""What a row and a training take on this machine, and a call of somebody else."""

import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from midspan.studies.given import NOTHING
from midspan.studies.redteam.pilot import spread
from midspan.studies.redteam.roles import Participant, read_servers

if TYPE_CHECKING:
    from midspan.alignment import AlignmentConfig, AlignmentData
    from midspan.decoding import DecodingConfig, Generation
    from midspan.models import DiffusionLM

# A call of a server: tokens of prompt and reply, for the money alone.
PROMPT_TOKENS, REPLY_TOKENS = 1000, 300
# Rows of a batch of a helper or judge that is decoded here.
_ROWS = 8
# US dollars a million prompt and response tokens, by model.
Prices: TypeAlias = Mapping[str, tuple[float, float]]
Servers: TypeAlias = Mapping[str, Mapping[str, Any]]
_TRAINED_STEPS = 4
# Requests that are answered to see how early responses end.
_ASKED = 8


def _steps(made: Sequence["Generation"], decoding: "DecodingConfig") -> list[float]:
    """That each response took."""
    return [one.forwards / decoding.forwards_per_step for one in made]


class Rate:
    """Seconds of a row's step, measured once for each canvas and batch."""

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
        """Of the steps, what a response takes: rows end early, or take what confidence asks for.

        Measured on a few of the prompts.
        """
        from midspan.decoding import Request, decode

        if not decoding.early_stop and not decoding.commits_by_confidence:
            return 1.0
        few = spread(prompts, _ASKED)
        key = (decoding.model_dump_json(), tuple(few))
        if key not in self._shares:
            requests = [Request(tuple(self.lm.encode_chat(prompt))) for prompt in few]
            made = decode(self.lm, requests, decoding, batch_size=len(requests))
            self._shares[key] = fmean(_steps(made, decoding)) / decoding.steps
        return self._shares[key]

    def _measure(self, decoding: "DecodingConfig", batch_size: int) -> float:
        from midspan.decoding import Request, decode

        short = decoding.short
        requests = [Request(tuple(self.lm.encode_chat("what do i need ?")))] * batch_size
        decode(self.lm, requests, short, batch_size=batch_size)  # the first call loads kernels
        started = time.perf_counter()
        made = decode(self.lm, requests, short, batch_size=batch_size)
        return (time.perf_counter() - started) / sum(_steps(made, decoding))


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


class Asked(NamedTuple):
    """What calls of targets, helpers and judges come to.

    Attributes:
        calls: Of servers.
        dollars: Theirs; None where a price is not known.
        hours: Of models that are decoded here, all steps of every answer.
    """

    calls: int
    dollars: float | None
    hours: float


def prices_of(servers: Servers) -> Prices:
    """Prices that settings of servers state, by model.

    Raises:
        MidspanError: A spec is no server's, or has no such field or value.
    """
    return {
        spec: (config.input_price, config.output_price)
        for spec, config in read_servers(servers).items()
        if config.input_price is not None and config.output_price is not None
    }


class Units:
    """What rows and calls take, for all parts of a study.

    Args:
        lm: Whose rows are timed; None where no target is decoded here.
        prices: They go before those in the settings of servers.
    """

    def __init__(self, lm: "DiffusionLM | None", prices: Prices | None = None) -> None:
        self.rate = None if lm is None else Rate(lm)
        self._prices = prices or {}
        self._seconds: dict[str, float] = {}

    def asked(self, calls: Iterable[tuple[Participant, int]], servers: Servers) -> Asked:
        """What so many calls of each come to; of one model they add up.

        Args:
            calls: Who is asked, and how often.
            servers: Settings of servers, by spec.
        """
        paid, seconds = Counter[str](), 0.0
        for one, count in calls:
            paid[one.model] += count if one.is_server else 0
            seconds += count * self._call_seconds(one.loads) if one.loads and count else 0.0
        prices = {**prices_of(servers), **self._prices}
        if any(count and spec not in prices for spec, count in paid.items()):
            return Asked(paid.total(), None, seconds / 3600)
        costs = (
            count * (PROMPT_TOKENS * prices[spec][0] + REPLY_TOKENS * prices[spec][1]) / 1e6
            for spec, count in paid.items()
            if count
        )
        return Asked(paid.total(), sum(costs), seconds / 3600)

    def _call_seconds(self, spec: str) -> float:
        """Of an answer of a helper or judge; its model is loaded once to be timed, and let go."""
        from midspan.decoding import decoding_config

        if spec not in self._seconds:
            is_timed = self.rate is not None and self.rate.lm.name == spec
            rate = self.rate if self.rate and is_timed else Rate(NOTHING.load(spec))
            decoding = decoding_config(rate.lm)
            self._seconds[spec] = decoding.steps * rate.seconds(decoding, _ROWS)
        return self._seconds[spec]
