"""Pre-registration: what is expected, of which metric, at which n, and the rule that decides.

Hypotheses are part of a study's config, so they stand in ``run.json`` before anything is run, and
a folder refuses others afterwards. A rule needs no judgement: it reads bounds or a p value.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import Field

from midspan.frozen import FrozenConfig
from midspan.report import Claim
from midspan.report.model import Outcome
from midspan.statistics import Estimate, mcnemar_exact, paired_difference, paired_rate_difference

Source = TypeVar("Source")
_EVERY = "Every decoding must agree; fewer cases than n leave it undecided."


class Bound(FrozenConfig):
    """The whole interval lies on one side of a limit.

    Attributes:
        side: The side that supports.
        limit: In the unit of the metric.
    """

    kind: Literal["bound"] = "bound"
    side: Literal["at most", "at least", "above"]
    limit: float

    def decide(self, measured: "Measurement") -> Outcome:
        """Supported and refuted by the interval alone."""
        low, high = measured.low, measured.high
        if self.side == "at most":
            return _outcome(high <= self.limit, low > self.limit)
        if self.side == "at least":
            return _outcome(low >= self.limit, high < self.limit)
        return _outcome(low > self.limit, high < self.limit)

    def __str__(self) -> str:
        return (
            f"supported when the whole interval is {self.side} {self.limit:g}, "
            f"refuted when none of it is. {_EVERY}"
        )


class Paired(FrozenConfig):
    """A difference on the same cases, by its sign and the exact McNemar test.

    Attributes:
        alpha: Largest p that decides.
    """

    kind: Literal["paired"] = "paired"
    alpha: float = Field(0.05, gt=0, lt=1)

    def decide(self, measured: "Measurement") -> Outcome:
        """A negative difference supports."""
        if not measured.p < self.alpha:
            return "undecided"
        return _outcome(measured.value < 0, measured.value > 0)

    def __str__(self) -> str:
        return (
            f"supported when the difference is negative with p < {self.alpha:g} (exact McNemar), "
            f"refuted when it is positive with as small a p. {_EVERY}"
        )


Rule = Annotated[Bound | Paired, Field(discriminator="kind")]


class Hypothesis(FrozenConfig):
    """One expectation, frozen before the run.

    Attributes:
        text: What is claimed.
        metric: Name of the primary metric; the study says which it knows.
        n: Cases that the metric rests on, in each decoding.
        rule: What supports and what refutes.
    """

    text: str
    metric: str
    n: int = Field(gt=0)
    rule: Rule


@dataclass(frozen=True)
class Measurement:
    """A primary metric as measured.

    Attributes:
        value: The estimate; a rate or a difference of rates lies between -1 and 1.
        low: Lower end of its 95 % interval; the value itself where it has none.
        high: Upper end.
        n: Cases it rests on.
        text: The estimate in words, with interval and n.
        p: Of the exact McNemar test where pairs are compared, else nan.
    """

    value: float
    low: float
    high: float
    n: int
    text: str
    p: float = math.nan

    @classmethod
    def of_rate(cls, estimate: Estimate) -> "Measurement":
        """A rate with its interval."""
        return cls(estimate.rate, estimate.low, estimate.high, estimate.n, str(estimate))

    @classmethod
    def of_pairs(cls, first: Sequence[float], second: Sequence[float]) -> "Measurement":
        """First minus second on the same cases; McNemar's p where all are yes or no."""
        is_binary = set(first) | set(second) <= {0.0, 1.0}
        change = (
            paired_rate_difference([x > 0 for x in first], [x > 0 for x in second])
            if is_binary
            else paired_difference(first, second)
        )
        n = max(change.n, 1)
        text = (
            f"{100 * sum(first) / n:.1f} % against {100 * sum(second) / n:.1f} %, difference "
            f"{100 * change.mean:+.1f} points [{100 * change.low:+.1f}, {100 * change.high:+.1f}] "
            f"n={change.n}"
        )
        if not is_binary:
            return cls(change.mean, change.low, change.high, change.n, text)
        pairs = list(zip(first, second, strict=True))
        p = mcnemar_exact(sum(a > b for a, b in pairs), sum(a < b for a, b in pairs))
        return cls(change.mean, change.low, change.high, change.n, f"{text}, p={p:.2g}", p)


@dataclass(frozen=True)
class Metric(Generic[Source]):
    """What a hypothesis may name; its name is an identifier, e.g. ``prefill.middle_minus_first``.

    Attributes:
        description: In words, for people.
        measure: From what a study recorded to measurements by decoding.
    """

    description: str
    measure: Callable[[Source], Mapping[str, Measurement]]


def judged(hypothesis: Hypothesis, metric: Metric[Source], source: Source) -> Claim:
    """What a study's records say of a hypothesis; every decoding must agree."""
    measurements = metric.measure(source)
    outcomes = [
        hypothesis.rule.decide(measured) if measured.n >= hypothesis.n else "undecided"
        for measured in measurements.values()
    ]
    return Claim(
        text=hypothesis.text,
        expected=f"{metric.description}, n = {hypothesis.n}",
        outcome=_agree(outcomes),
        evidence="; ".join(f"{name}: {measured.text}" for name, measured in measurements.items()),
        rule=str(hypothesis.rule),
    )


def _outcome(supported: bool, refuted: bool) -> Outcome:
    return "supported" if supported else "refuted" if refuted else "undecided"


def _agree(outcomes: list[Outcome]) -> Outcome:
    if "refuted" in outcomes:
        return "refuted"
    return "supported" if set(outcomes) == {"supported"} else "undecided"
