"""Rates and paired differences where some outcomes are not known: from their least to their most.

To leave out what is not known is to guess that it is like the rest. So a figure is computed twice:
with every unknown outcome a failure, and with every one a success. A statement holds where it holds
at both ends.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple, Self

from midspan.statistics import (
    Estimate,
    Interval,
    bounded_mean,
    mcnemar_exact,
    paired_difference,
    wilson,
)


class Span(NamedTuple):
    """What one trial came to, 0 to 1, at the least and at the most."""

    least: float
    most: float

    @classmethod
    def of(cls, outcome: bool | None) -> "Span":
        """Of a yes or no; None is not known."""
        return cls(0.0, 1.0) if outcome is None else cls(float(outcome), float(outcome))

    @property
    def is_known(self) -> bool:
        """Whether both ends are one."""
        return self.least == self.most


def best_of(spans: Iterable[Span]) -> Span:
    """The highest of several, at the least and at the most."""
    least, most = zip(*spans, strict=True)
    return Span(max(least), max(most))


def mean_of(spans: Sequence[Span]) -> Span:
    """The mean of several, at the least and at the most."""
    return Span(*(fmean(span[end] for span in spans) for end in (0, 1)))


def any_of(outcomes: Iterable[bool | None]) -> bool | None:
    """Whether any of several succeeded; None where one that is not known would decide it."""
    results = set(outcomes)
    return True if True in results else None if None in results else False


@dataclass(frozen=True, slots=True)
class RateBounds:
    """A rate of trials, with those that are not known failed and with them successful."""

    least: Estimate
    most: Estimate

    @classmethod
    def of(cls, outcomes: Iterable[bool | None]) -> Self:
        """Of trials; None is one whose outcome is not known."""
        trials = list(outcomes)
        successes, n = trials.count(True), len(trials)
        return cls(wilson(successes, n), wilson(successes + trials.count(None), n))

    @property
    def n(self) -> int:
        """All trials."""
        return self.least.n

    @property
    def ends(self) -> tuple[Interval, Interval]:
        """The least and the most as means."""
        return self.least.interval, self.most.interval

    @property
    def unknown(self) -> int:
        """Trials whose outcome is not known."""
        return self.most.successes - self.least.successes

    @property
    def percent(self) -> str:
        """The rate, such as ``6.2 %``, or ``6.2 to 12.5 %``."""
        if not self.unknown:
            return self.least.percent
        return f"{100 * self.least.rate:.1f} to {self.most.percent}"

    @property
    def note(self) -> str:
        """What must stand beside the rate: its interval, n, and how many are not known."""
        unknown = f", {self.unknown} without outcome" if self.unknown else ""
        return f"[{100 * self.least.low:.1f}, {100 * self.most.high:.1f}] n={self.n}{unknown}"

    def __str__(self) -> str:
        return f"{self.percent} {self.note}"


@dataclass(frozen=True, slots=True)
class MeanBounds:
    """A mean of values between 0 and 1, with what is not known at 0 and at 1.

    Attributes:
        least: With Agresti and Coull's interval for a mean.
        most: Likewise.
        unknown: Values that are not known, or not exactly.
    """

    least: Interval
    most: Interval
    unknown: int

    @classmethod
    def of(cls, spans: Iterable[Span]) -> Self:
        """Of values."""
        values = list(spans)
        least, most = ([span[end] for span in values] for end in (0, 1))
        unknown = sum(not span.is_known for span in values)
        return cls(bounded_mean(least), bounded_mean(most), unknown)

    @property
    def n(self) -> int:
        """All values."""
        return self.least.n

    @property
    def ends(self) -> tuple[Interval, Interval]:
        """The least and the most."""
        return self.least, self.most

    @property
    def text(self) -> str:
        """The mean, such as ``0.125``, or ``0.125 to 0.250``."""
        if not self.n:
            return "n/a"
        low, high = (f"{end.mean:.3f}" for end in self.ends)
        return f"{low} to {high}" if self.unknown else low

    @property
    def note(self) -> str:
        """What must stand beside the mean."""
        unknown = f", {self.unknown} not known" if self.unknown else ""
        return f"[{self.least.low:.3f}, {self.most.high:.3f}] n={self.n}{unknown}"


@dataclass(frozen=True, slots=True)
class Pairs:
    """Two rates on the same items.

    Attributes:
        difference: First minus second, with Bonett and Price's interval.
        more: Items on which the first is higher.
        fewer: Items on which it is lower.
    """

    difference: Interval
    more: int
    fewer: int

    @classmethod
    def of(cls, first: Sequence[float], second: Sequence[float]) -> Self:
        """Compare item by item."""
        pairs = list(zip(first, second, strict=True))
        more, fewer = sum(a > b for a, b in pairs), sum(a < b for a, b in pairs)
        return cls(paired_difference(first, second), more, fewer)

    @property
    def p(self) -> float:
        """Exact McNemar, where all items are yes or no."""
        return mcnemar_exact(self.more, self.fewer)


@dataclass(frozen=True, slots=True)
class PairedBounds:
    """Two rates on the same items, the first against the second.

    Attributes:
        least: With what is not known a failure of the first and a success of the second.
        most: The other way round.
        unknown: Items of which either outcome is not known.
    """

    least: Pairs
    most: Pairs
    unknown: int

    @classmethod
    def of(cls, first: Sequence[Span], second: Sequence[Span]) -> Self:
        """Compare item by item."""
        pairs = list(zip(first, second, strict=True))
        least = Pairs.of([a.least for a, _ in pairs], [b.most for _, b in pairs])
        most = Pairs.of([a.most for a, _ in pairs], [b.least for _, b in pairs])
        return cls(least, most, sum(not (a.is_known and b.is_known) for a, b in pairs))

    @property
    def n(self) -> int:
        """Pairs."""
        return self.least.difference.n

    @property
    def p(self) -> float:
        """The largest that exact McNemar gives, whatever the unknown outcomes are."""
        if (
            self.unknown
            and self.least.more <= self.least.fewer
            and self.most.fewer <= self.most.more
        ):
            return 1.0  # some outcomes make both rates equal
        return max(self.least.p, self.most.p)

    @property
    def low(self) -> float:
        """Lower end of the least difference's interval."""
        return self.least.difference.low

    @property
    def high(self) -> float:
        """Upper end of the most difference's interval."""
        return self.most.difference.high

    @property
    def points(self) -> str:
        """The difference in points, such as ``-5.6``, or ``-5.6 to +11.1``."""
        low, high = (f"{100 * end.difference.mean:+.1f}" for end in (self.least, self.most))
        return f"{low} to {high}" if self.unknown else low
