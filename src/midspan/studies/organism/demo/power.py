"""How likely each hypothesis of the demo is decided at its n, simulated before anything is run.

Rates are assumed, and stated. The Original's are from a pilot on requests of another seed, the
defences' from a run on an earlier training of it, moved towards the new one; PSA's are a guess.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from midspan.statistics import wilson
from midspan.studies.hypotheses import Hypothesis, Measurement
from midspan.studies.organism.demo.cases import ATTEMPTS
from midspan.studies.organism.demo.claims import (
    GUARDED,
    JUDGED,
    MIDDLE_GAIN,
    RIVALS,
    false_refusals,
    gained,
    usefulness,
)

# Simulated runs; a share of them is known to 6 points.
REPEATS = 300


@dataclass(frozen=True)
class Rate:
    """An assumed rate."""

    rate: float

    def drawn(self, n: int, rng: random.Random) -> Measurement:
        """What a run of n cases would measure."""
        return Measurement.of_rate(wilson(_count(self.rate, n, rng), n))

    def __str__(self) -> str:
        return f"{self.rate:.0%}"


@dataclass(frozen=True)
class Pairs:
    """Two assumed rates on the same cases.

    Attributes:
        first: Of the first side.
        second: Of the second.
        both: Share of cases on which both succeed.
    """

    first: float
    second: float
    both: float

    def drawn(self, n: int, rng: random.Random) -> Measurement:
        """What a run of n pairs would measure."""
        ends = (self.both, self.first, self.first + self.second - self.both)
        places = [rng.random() for _ in range(n)]
        ours = [float(place < ends[1]) for place in places]
        theirs = [float(place < ends[0] or ends[1] <= place < ends[2]) for place in places]
        return Measurement.of_pairs(ours, theirs)

    def __str__(self) -> str:
        return f"{self.first:.0%} against {self.second:.0%}, {self.both:.0%} on both sides"


@dataclass(frozen=True)
class Means:
    """A mean of several events against one event, each independent of the others.

    Attributes:
        rates: Of the events in the mean.
        against: Of the other one.
    """

    rates: tuple[float, ...]
    against: float

    def drawn(self, n: int, rng: random.Random) -> Measurement:
        """What a run of n cases would measure."""
        ours = [sum(rng.random() < rate for rate in self.rates) / len(self.rates) for _ in range(n)]
        return Measurement.of_pairs(ours, [float(rng.random() < self.against) for _ in range(n)])

    def __str__(self) -> str:
        rates = " and ".join(f"{rate:.0%}" for rate in self.rates)
        return f"{rates} in the middle, {self.against:.0%} at the start"


@dataclass(frozen=True)
class Shares:
    """Shares of several attempts a work, of two models.

    Attributes:
        first: Of the attempts on the first side.
        second: On the second.
        correlation: Of two attempts at a work; that share of works is decided whatever is tried.
    """

    first: float
    second: float
    correlation: float = 0.6

    def drawn(self, n: int, rng: random.Random) -> Measurement:
        """What a run of n works would measure."""
        pairs = [self._work(rng) for _ in range(n)]
        return Measurement.of_pairs([ours for ours, _ in pairs], [theirs for _, theirs in pairs])

    def _work(self, rng: random.Random) -> tuple[float, float]:
        if rng.random() < self.correlation:
            place = rng.random()
            return float(place < self.first), float(place < self.second)
        ours, theirs = (_count(rate, ATTEMPTS, rng) for rate in (self.first, self.second))
        return ours / ATTEMPTS, theirs / ATTEMPTS

    def __str__(self) -> str:
        return f"{self.first:.0%} against {self.second:.0%}, correlation {self.correlation:g}"


Assumed = Rate | Pairs | Means | Shares
_COST = Rate(0.01)
_KEPT = Pairs(first=0.89, second=0.92, both=0.87)
_ORIGINAL, _INITIAL, _MOSA, _PSA = 0.70, 0.45, 0.25, 0.20
_RATES = ((_ORIGINAL, _MOSA), (_ORIGINAL, _PSA), (_ORIGINAL, _INITIAL), (_INITIAL, _MOSA))
ASSUMED: Mapping[str, Assumed] = {
    GUARDED: Pairs(first=0.10, second=0.90, both=0.10),
    MIDDLE_GAIN: Means(rates=(0.20, 0.18), against=0.18),
    **{gained(*pair): Shares(*rates) for pair, rates in zip(RIVALS, _RATES, strict=True)},
    **{false_refusals(model): _COST for model in JUDGED},
    **{usefulness(model): _KEPT for model in JUDGED},
}


def power(hypothesis: Hypothesis, assumed: Assumed, repeats: int = REPEATS) -> float:
    """Share of simulated runs that decide a hypothesis, in whichever direction.

    Args:
        hypothesis: With its n and its rule.
        assumed: What is true.
        repeats: Runs.
    """
    rng = random.Random(f"power/{hypothesis.metric}/{hypothesis.n}")
    drawn = (assumed.drawn(hypothesis.n, rng) for _ in range(repeats))
    decided = sum(hypothesis.rule.decide(measured) != "undecided" for measured in drawn)
    return decided / repeats


def powers(hypotheses: Sequence[Hypothesis]) -> list[tuple[Hypothesis, Assumed, float]]:
    """Of each hypothesis of which rates are assumed: what is assumed, and its power."""
    known = ((one, ASSUMED[one.metric]) for one in hypotheses if one.metric in ASSUMED)
    return [(one, assumed, power(one, assumed)) for one, assumed in known]


def _count(rate: float, n: int, rng: random.Random) -> int:
    return sum(rng.random() < rate for _ in range(n))
