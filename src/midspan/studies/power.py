"""How likely a hypothesis is decided at its n, simulated before anything is run."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from midspan.bounds import Span
from midspan.report import Section, Table
from midspan.statistics import mean_interval, wilson
from midspan.studies.hypotheses import Hypothesis, Measurement, outcome_of

# Simulated runs; a share of them is known to 6 points.
REPEATS = 300


@dataclass(frozen=True)
class Rate:
    """An assumed rate."""

    rate: float

    def drawn(self, n: int, rng: random.Random) -> Measurement:
        """What a run of n cases would measure."""
        successes = sum(rng.random() < self.rate for _ in range(n))
        return Measurement.of_rate(wilson(successes, n))

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
        return Measurement.of_pairs(*self.sides(n, rng))

    def sides(self, n: int, rng: random.Random) -> tuple[list[float], list[float]]:
        """Outcomes of n pairs, side by side."""
        ends = (self.both, self.first, self.first + self.second - self.both)
        places = [rng.random() for _ in range(n)]
        ours = [float(place < ends[1]) for place in places]
        theirs = [float(place < ends[0] or ends[1] <= place < ends[2]) for place in places]
        return ours, theirs

    def __str__(self) -> str:
        return f"{self.first:.0%} against {self.second:.0%}, {self.both:.0%} on both sides"


@dataclass(frozen=True)
class Tasks:
    """Pairs of several tasks that count alike.

    Attributes:
        pairs: What is assumed of each.
    """

    pairs: tuple[Pairs, ...]

    def drawn(self, n: int, rng: random.Random) -> Measurement:
        """What a run of n pairs of each task would measure."""
        drawn = [one.sides(n, rng) for one in self.pairs]
        first, second = ([[Span(x, x) for x in task[side]] for task in drawn] for side in (0, 1))
        return Measurement.of_tasks(list(zip(first, second, strict=True)))

    def __str__(self) -> str:
        rates = ((one.first, one.second, one.both) for one in self.pairs)
        means = Pairs(*map(fmean, zip(*rates, strict=True)))
        return str(means) if len(self.pairs) == 1 else f"{means}, mean of {len(self.pairs)} tasks"


@dataclass(frozen=True)
class Shares:
    """Shares of several attempts a case that succeed, of one model or of two.

    Attributes:
        first: Assumed rate of each attempt on the first side.
        second: On the second; empty where there is one side alone.
        correlation: Of two attempts at a case; that share of cases is decided whatever is tried.
            With 0 every attempt stands for itself.
    """

    first: tuple[float, ...]
    second: tuple[float, ...] = ()
    correlation: float = 0.6

    def drawn(self, n: int, rng: random.Random) -> Measurement:
        """What a run of n cases would measure."""
        cases = [self._case(rng) for _ in range(n)]
        ours = [first for first, _ in cases]
        if self.second:
            return Measurement.of_pairs(ours, [second for _, second in cases])
        return Measurement.of_shares([Span(share, share) for share in ours])

    def _case(self, rng: random.Random) -> tuple[float, float]:
        sides = self.first, self.second or (0.0,)
        if rng.random() < self.correlation:
            place = rng.random()
            first, second = (fmean(place < rate for rate in side) for side in sides)
        else:
            first, second = (fmean(rng.random() < rate for rate in side) for side in sides)
        return first, second

    def __str__(self) -> str:
        means = " against ".join(f"{fmean(side):.0%}" for side in (self.first, self.second) if side)
        return f"{means}, correlation {self.correlation:g}"


@dataclass(frozen=True)
class Values:
    """Normal values.

    Attributes:
        mean: Assumed.
        deviation: Their standard deviation.
    """

    mean: float
    deviation: float

    def drawn(self, n: int, rng: random.Random) -> Measurement:
        """What a run of n cases would measure."""
        found = mean_interval([rng.gauss(self.mean, self.deviation) for _ in range(n)])
        return Measurement(found.mean, found.low, found.high, n, "")

    def __str__(self) -> str:
        return f"{self.mean:g}, standard deviation {self.deviation:g}"


Assumed = Rate | Pairs | Tasks | Shares | Values
# A hypothesis, what is assumed of its metric, and its power.
Power = tuple[Hypothesis, Assumed, float]


def power(
    hypothesis: Hypothesis, assumed: Assumed, decodings: int = 1, repeats: int = REPEATS
) -> float:
    """Share of simulated runs that decide a hypothesis, in whichever direction.

    Decodings are drawn each for itself. What they have in common, such as their requests, would
    let them agree more often.

    Args:
        hypothesis: With its n and its rule.
        assumed: What is true, in every decoding.
        decodings: In how many its metric is measured; all must agree.
        repeats: Runs.
    """
    rng = random.Random(f"power/{hypothesis.metric}/{hypothesis.n}")
    runs = ([assumed.drawn(hypothesis.n, rng) for _ in range(decodings)] for _ in range(repeats))
    decided = sum(outcome_of(hypothesis, run) in ("supported", "refuted") for run in runs)
    return decided / repeats


def powers(
    hypotheses: Sequence[Hypothesis],
    assumed: Mapping[str, Assumed],
    decodings: Callable[[str], int] = lambda metric: 1,
) -> list[Power]:
    """Of each hypothesis of whose metric something is assumed, its power.

    Args:
        hypotheses: All of them.
        assumed: What is true, by metric.
        decodings: In how many decodings a metric is measured.
    """
    known = [(one, assumed[one.metric]) for one in hypotheses if one.metric in assumed]
    return [(one, rates, power(one, rates, decodings(one.metric))) for one, rates in known]


def power_section(found: Iterable[Power], origin: str) -> Section:
    """What the claims could decide, said before they are.

    Args:
        found: Of each hypothesis.
        origin: Where the assumed rates come from, a sentence.
    """
    rows = tuple(
        (hypothesis.text, str(assumed), str(hypothesis.n), f"{share:.0%}")
        for hypothesis, assumed, share in found
    )
    caption = (
        f"{REPEATS} simulated runs a claim. {origin} "
        "Where a claim is on several decodings, each is drawn for itself, and all must agree. "
        "Where the rates are others, the power is another one."
    )
    table = Table("Power", ("Claim", "Assumed", "n", "Decided"), rows, caption, "power")
    return Section("What the claims can decide", "", tables=(table,))
