"""Pre-registration: what is expected, of which metric, at which n, and the rule that decides.

Hypotheses are part of a study's config, so they stand in ``run.json`` before anything is run, and
a folder refuses others afterwards. A rule needs no judgement: it reads bounds or a p value.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import Field

from midspan.bounds import MeanBounds, PairedBounds, RateBounds, Span
from midspan.frozen import FrozenConfig
from midspan.report import Claim
from midspan.report.model import Outcome
from midspan.statistics import Estimate, mcnemar_exact, mean_of_means, paired_difference

Source = TypeVar("Source")
_EVERY = "Every decoding must agree; on fewer cases than n there is no verdict."
# On fewer no rule decides, whatever n was planned: one case, and every interval is a guess.
FEWEST_CASES = 5


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
        value: The estimate, the least one; a rate or a difference lies between -1 and 1.
        low: Lower end of its 95 % interval; the value itself where it has none.
        high: Upper end.
        n: Cases it rests on.
        text: The estimate in words, with interval and n.
        p: Of the exact McNemar test where pairs are compared, else nan.
        short: The estimate alone, for a table.
        ends: Where outcomes are missing: the same with all of them failed and with all of them
            successful, or for a difference one failed and the other successful.
    """

    value: float
    low: float
    high: float
    n: int
    text: str
    p: float = math.nan
    ends: "tuple[Measurement, ...]" = ()
    short: str = ""

    @classmethod
    def of_rate(cls, estimate: Estimate) -> "Measurement":
        """A rate with its interval."""
        interval = estimate.rate, estimate.low, estimate.high
        return cls(*interval, estimate.n, str(estimate), short=estimate.percent)

    @classmethod
    def of_bounds(cls, rate: RateBounds) -> "Measurement":
        """A rate of trials of which some may have no outcome."""
        least, most = cls.of_rate(rate.least), cls.of_rate(rate.most)
        if not rate.unknown:
            return least
        interval = least.value, least.low, most.high
        return cls(*interval, rate.n, str(rate), ends=(least, most), short=rate.percent)

    @classmethod
    def of_pairs(cls, first: Sequence[float], second: Sequence[float]) -> "Measurement":
        """First minus second on the same cases; McNemar's p where all are yes or no."""
        change = paired_difference(first, second)
        n = max(change.n, 1)
        text = (
            f"{100 * sum(first) / n:.1f} % against {100 * sum(second) / n:.1f} %, difference "
            f"{100 * change.mean:+.1f} points [{100 * change.low:+.1f}, {100 * change.high:+.1f}] "
            f"n={change.n}"
        )
        interval = change.mean, change.low, change.high
        short = f"{100 * change.mean:+.1f} points"
        if not set(first) | set(second) <= {0.0, 1.0}:
            return cls(*interval, change.n, text, short=short)
        pairs = list(zip(first, second, strict=True))
        p = mcnemar_exact(sum(a > b for a, b in pairs), sum(a < b for a, b in pairs))
        return cls(*interval, change.n, f"{text}, p={p:.2g}", p, short=f"{short}, p={p:.2g}")

    @classmethod
    def of_shares(cls, shares: Sequence[Span]) -> "Measurement":
        """A mean of shares, one a case, of which some may not be known exactly."""
        mean = MeanBounds.of(shares)
        short = _percent([end.mean for end in mean.ends])
        unknown = f", {mean.unknown} not known exactly" if mean.unknown else ""
        span = f"[{100 * mean.least.low:.1f}, {100 * mean.most.high:.1f}]"
        text = f"{short} {span} n={mean.n}{unknown}"
        least, most = (cls(end.mean, end.low, end.high, end.n, "") for end in mean.ends)
        ends = (least, most) if mean.unknown else ()
        return cls(least.value, least.low, most.high, mean.n, text, ends=ends, short=short)

    @classmethod
    def of_outcomes(
        cls, first: Sequence[bool | None], second: Sequence[bool | None]
    ) -> "Measurement":
        """First minus second on the same cases, of which some may have no outcome."""
        return cls.of_spans(*([Span.of(outcome) for outcome in side] for side in (first, second)))

    @classmethod
    def of_spans(cls, first: Sequence[Span], second: Sequence[Span]) -> "Measurement":
        """First minus second on the same cases, of which some may not be known exactly."""
        least, most = (
            cls.of_pairs([a[end] for a in first], [b[1 - end] for b in second]) for end in (0, 1)
        )
        pairs = PairedBounds.of(first, second)
        if not pairs.unknown:
            return least
        sides = (
            _percent([fmean(span[end] for span in side) for end in (0, 1)])
            for side in (first, second)
        )
        text = (
            f"{' against '.join(sides)}, difference {pairs.points} points "
            f"[{100 * pairs.low:+.1f}, {100 * pairs.high:+.1f}] n={pairs.n}, "
            f"{pairs.unknown} without outcome"
        )
        interval = least.value, least.low, most.high
        short = f"{pairs.points} points"
        # Shares have no McNemar test.
        p = math.nan if math.isnan(least.p + most.p) else pairs.p
        ending = "" if math.isnan(p) else f", p={p:.2g}"
        return cls(*interval, pairs.n, text + ending, p, (least, most), short + ending)

    @classmethod
    def of_tasks(cls, tasks: Sequence[tuple[Sequence[Span], Sequence[Span]]]) -> "Measurement":
        """First minus second, the mean over tasks: each counts alike, however many cases it has.

        Args:
            tasks: Both sides of each. The n of several is that of the smallest.
        """
        if len(tasks) == 1:
            return cls.of_spans(*tasks[0])
        if not all(len(first) for first, _ in tasks):
            return cls.of_pairs([], [])
        pairs = [PairedBounds.of(*sides) for sides in tasks]
        unknown = sum(one.unknown for one in pairs)
        ends = (
            mean_of_means([one.least.difference for one in pairs]),
            mean_of_means([one.most.difference for one in pairs]),
        )
        least, most = (cls(end.mean, end.low, end.high, end.n, "") for end in ends)
        sides = (
            _percent(
                [fmean(fmean(span[end] for span in task[side]) for task in tasks) for end in (0, 1)]
            )
            for side in (0, 1)
        )
        points = " to ".join(dict.fromkeys(f"{100 * end.value:+.1f}" for end in (least, most)))
        text = (
            f"{' against '.join(sides)}, difference {points} points "
            f"[{100 * least.low:+.1f}, {100 * most.high:+.1f}], mean of {len(tasks)} tasks, "
            f"n={least.n} or more in each" + (f", {unknown} without outcome" if unknown else "")
        )
        return cls(
            least.value, least.low, most.high, least.n, text,
            ends=(least, most) if unknown else (), short=f"{points} points",
        )  # fmt: skip


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
    """What a study's records say of a hypothesis; every decoding must agree.

    Where outcomes are missing, a rule decides only what it decides whatever they are.
    """
    measurements = metric.measure(source)
    decided = {name: _decide(hypothesis, measured) for name, measured in measurements.items()}
    disagree = len({outcome for outcome, _ in decided.values()}) > 1
    notes = {name: why or (outcome if disagree else "") for name, (outcome, why) in decided.items()}
    texts = (
        f"{name}: {measured.text}" + (f" ({notes[name]})" if notes[name] else "")
        for name, measured in measurements.items()
    )
    return Claim(
        text=hypothesis.text,
        expected=f"{metric.description}, n = {hypothesis.n}",
        outcome=_agree([outcome for outcome, _ in decided.values()]),
        evidence="; ".join(texts),
        rule=str(hypothesis.rule),
        short="; ".join(
            f"{name} {measured.short or measured.text}" for name, measured in measurements.items()
        ),
        cases=_cases(hypothesis, measurements.values()),
    )


def _percent(ends: Sequence[float]) -> str:
    """One value or two in percent, such as ``6.2 %``, or ``6.2 to 12.5 %``."""
    return f"{' to '.join(f'{100 * end:.1f}' for end in dict.fromkeys(ends))} %"


def _cases(hypothesis: Hypothesis, measurements: Iterable[Measurement]) -> str:
    """The fewest cases of any decoding, beside the planned ones."""
    fewest = min((measured.n for measured in measurements), default=0)
    return str(fewest) if fewest >= hypothesis.n else f"{fewest} of {hypothesis.n}"


def _decide(hypothesis: Hypothesis, measured: Measurement) -> tuple[Outcome, str]:
    """The outcome in one decoding, and why it is open where missing outcomes would decide it."""
    if measured.n < hypothesis.n:
        return "no verdict", f"{hypothesis.n} were planned"
    if measured.n < FEWEST_CASES:
        return "no verdict", f"a verdict needs {FEWEST_CASES} cases"
    ends = [hypothesis.rule.decide(end) for end in measured.ends or (measured,)]
    if len(set(ends)) == 1:
        return ends[0], ""
    return "undecided", f"{ends[0]} or {ends[-1]}, by what the missing outcomes are"


def outcome_of(hypothesis: Hypothesis, measurements: Iterable[Measurement]) -> Outcome:
    """What the measurements of all decodings together decide, as `judged` does."""
    return _agree([_decide(hypothesis, measured)[0] for measured in measurements])


def _outcome(supported: bool, refuted: bool) -> Outcome:
    return "supported" if supported else "refuted" if refuted else "undecided"


def _agree(outcomes: list[Outcome]) -> Outcome:
    if "no verdict" in outcomes or not outcomes:
        return "no verdict"
    return outcomes[0] if len(set(outcomes)) == 1 else "undecided"
