"""How well an accelerated decoding agrees with the exact one, on the same requests.

Knows neither prompts nor judges: the caller brings requests and what a response is judged to be.
"""

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from midspan.errors import MidspanError, error_fields
from midspan.statistics import Estimate, Interval, bounded_mean, mean_interval, wilson

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig, Generation, Request
    from midspan.models import DiffusionLM

Verdict = Callable[[int, str], Hashable]


@dataclass(frozen=True)
class Fidelity:
    """Agreement of two decodings of the same requests.

    Attributes:
        tokens: Share of response positions that hold the same token, a mean over responses.
        identical: Responses that are the same throughout.
        verdicts: Responses that are judged the same, of those that the judge could bear.
        exact_forwards: Forwards a response, exact.
        fast_forwards: Forwards a response, accelerated.
        speedup: Seconds of the exact decoding over those of the accelerated one, one run each
            behind one request that is not timed.
        judged_by: What the verdicts are.
        approximations: Why the accelerated decoding is not exact; empty where it is.
        errors: What the judge's code raised, a line a pair of responses.
    """

    tokens: Interval
    identical: Estimate
    verdicts: Estimate
    exact_forwards: Interval
    fast_forwards: Interval
    speedup: float
    judged_by: str
    approximations: tuple[str, ...]
    errors: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, str]]:
        """The table, a name and a figure a line."""
        return [
            ("token agreement", str(self.tokens)),
            ("identical responses", str(self.identical)),
            (f"same verdict ({self.judged_by})", str(self.verdicts)),
            ("forwards, exact", str(self.exact_forwards)),
            ("forwards, accelerated", str(self.fast_forwards)),
            ("speed-up in time", f"{self.speedup:.2f} (one run)"),
            ("accelerated mode", "; ".join(self.approximations) or "exact"),
        ]

    @property
    def problems(self) -> list[str]:
        """What makes the verdicts doubtful, a line each."""
        if not self.errors:
            return []
        return [
            f"{len(self.errors)} requests met an error in the judge's code ({self.errors[0]}) and "
            "are in no count of verdicts; --fail-fast ends at the first one"
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return asdict(self)


@dataclass(frozen=True)
class DecodingComparison:
    """What is compared.

    Attributes:
        requests: What both decodings are asked.
        exact: The decoding to agree with.
        fast: The accelerated one.
        judge: The verdict on the response of a request's index.
        judged_by: Its name in the table.
        batch_size: Rows that go through the model together.
        fail_fast: Raise an error in the judge's code; by default its pair of responses is in no
            count of verdicts.
    """

    requests: "Sequence[Request]"
    exact: "DecodingConfig"
    fast: "DecodingConfig"
    judge: Verdict
    judged_by: str
    batch_size: int = 8
    fail_fast: bool = False


def fidelity(lm: "DiffusionLM", comparison: DecodingComparison) -> Fidelity:
    """Decode the requests both ways and compare.

    Raises:
        MidspanError: If a request cannot be decoded, or the judge's code raised at all responses.
    """
    exact, exact_seconds = _timed(lm, comparison, comparison.exact)
    fast, fast_seconds = _timed(lm, comparison, comparison.fast)
    pairs = list(zip(exact, fast, strict=True))
    stop = lm.tokens.stop
    agreement = [token_agreement(one.tokens, two.tokens, stop) for one, two in pairs]
    same = sum(value == 1 for value in agreement)
    judged, errors = _same_verdicts(comparison, [(one.text, two.text) for one, two in pairs])
    return Fidelity(
        tokens=bounded_mean(agreement),
        identical=wilson(same, len(pairs)),
        verdicts=wilson(sum(judged), len(judged)),
        exact_forwards=mean_interval([one.forwards for one in exact]),
        fast_forwards=mean_interval([two.forwards for two in fast]),
        speedup=exact_seconds / fast_seconds,
        judged_by=comparison.judged_by,
        approximations=comparison.fast.approximations,
        errors=tuple(errors),
    )


def _same_verdicts(
    comparison: DecodingComparison, pairs: Sequence[tuple[str, str]]
) -> tuple[list[bool], list[str]]:
    """Whether two responses are judged the same, pair by pair; the errors of the others."""
    judged, errors = [], []
    for index, (one, two) in enumerate(pairs):
        try:
            judged.append(comparison.judge(index, one) == comparison.judge(index, two))
        except MidspanError:
            raise
        except Exception as error:
            # One response that the judge cannot bear must not cost the comparison all others.
            if comparison.fail_fast:
                raise
            errors.append(error_fields(error)["error"])
    if not judged:
        raise MidspanError(f"{comparison.judged_by}: not one response could be judged: {errors[0]}")
    return judged, errors


def default_acceleration(lm: "DiffusionLM", exact: "DecodingConfig") -> dict[str, Any]:
    """What is measured of a sampler where nothing is asked for.

    Raises:
        MidspanError: If the sampler has no accelerated mode.
    """
    if lm.family.noise == "uniform":
        raise MidspanError(f"the sampler of family {lm.family.name} has no accelerated mode")
    defaults: dict[str, dict[str, Any]] = {
        "llada": {"cache": "dual", "threshold": 0.9} if lm.family.caches else {"threshold": 0.9},
        "block": {"cache": "prefix"},
    }
    if exact.sampler not in defaults:
        raise MidspanError(
            f"decoding.sampler: {exact.sampler!r} has no accelerated mode; put sampler: llada into "
            "--config to measure one"
        )
    return defaults[exact.sampler]


def token_agreement(one: Sequence[int], two: Sequence[int], stop: frozenset[int]) -> float:
    """Share of positions with the same token, up to the later of the two first end tokens."""
    ends = [
        next((i + 1 for i, token in enumerate(tokens) if token in stop), len(tokens))
        for tokens in (one, two)
    ]
    # Positions behind a response's end say nothing, and an early stop leaves them open.
    length = max(ends)
    same = sum(one[i] == two[i] for i in range(min(ends)))
    return same / length


def _timed(
    lm: "DiffusionLM", comparison: DecodingComparison, config: "DecodingConfig"
) -> "tuple[list[Generation], float]":
    from midspan.decoding import decode

    # What a process does once (kernels, memory) is not the decoding's, and the first would pay it.
    decode(lm, comparison.requests[:1], config)
    start = time.perf_counter()
    generations = decode(lm, comparison.requests, config, batch_size=comparison.batch_size)
    return generations, time.perf_counter() - start
