"""Numbers that a table may print: rates and means with intervals, exact paired tests, rank order.

Nothing here knows what was measured. Every estimate carries its ``n``; what is undefined (a rate
of no trials, a correlation with a constant) is ``nan``, never a default.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Estimate:
    """A rate with its interval; ``low`` and ``high`` are fractions between 0 and 1."""

    successes: int
    n: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """Successes over trials; ``nan`` without trials."""
        return self.successes / self.n if self.n else math.nan

    @property
    def interval(self) -> "Interval":
        """The same as a mean of zeros and ones."""
        return Interval(self.rate, self.low, self.high, self.n)

    @property
    def percent(self) -> str:
        """The rate alone, such as ``6.2 %``; ``n/a`` without trials."""
        return f"{100 * self.rate:.1f} %" if self.n else "n/a"

    @property
    def note(self) -> str:
        """What must stand beside the rate, such as ``[2.9, 12.8] n=96``."""
        return f"[{100 * self.low:.1f}, {100 * self.high:.1f}] n={self.n}"

    def __str__(self) -> str:
        return f"{self.percent} {self.note}"


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its interval, in the unit of the values."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.3g} [{self.low:.3g}, {self.high:.3g}] n={self.n}"


def wilson(successes: int, n: int, confidence: float = 0.95) -> Estimate:
    """Wilson's score interval of a binomial rate; no trials give the interval [0, 1]."""
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie in [0, {n}], got {successes}")
    _check_confidence(confidence)
    if n == 0:
        return Estimate(0, 0, 0.0, 1.0)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = successes / n
    scale = 1 + z * z / n
    centre = (rate + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # At the borders the formula gives exactly 0 or 1; rounding must not leave 1e-17 there.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Estimate(successes, n, low, high)


def newcombe(first: Interval, second: Interval) -> Interval:
    """Difference of two independent rates, first minus second (Newcombe 1998, method 10).

    From the intervals of both; of other means it is Zou and Donner's (2008), the same formula.
    """
    difference = first.mean - second.mean
    below = math.hypot(first.mean - first.low, second.high - second.mean)
    above = math.hypot(first.high - first.mean, second.mean - second.low)
    return Interval(difference, difference - below, difference + above, first.n + second.n)


def mean_of_means(means: Sequence[Interval]) -> Interval:
    """Mean of independent means, each of the same weight; n is that of the smallest.

    From the interval of each, as Zou and Donner (Statistics in Medicine 27, 2008) have it of sums.
    """
    middle, count = sum(one.mean for one in means) / len(means), len(means)
    below = math.hypot(*(one.mean - one.low for one in means)) / count
    above = math.hypot(*(one.high - one.mean for one in means)) / count
    return Interval(middle, middle - below, middle + above, min(one.n for one in means))


def holm(values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given."""
    adjusted = [0.0] * len(values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        highest = max(highest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = highest
    return adjusted


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Student's t interval of a mean; with a handful of seeds a bootstrap would be too narrow.

    One value gives an unbounded interval, no value gives ``nan``.
    """
    _check_confidence(confidence)
    data = np.asarray(values, dtype=float)
    n = data.size
    if n == 0:
        return Interval(math.nan, -math.inf, math.inf, 0)
    mean = float(data.mean())
    if n == 1:
        return Interval(mean, -math.inf, math.inf, 1)
    half = t_quantile((1 + confidence) / 2, n - 1) * float(data.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def bounded_mean(values: Sequence[float]) -> Interval:
    """Mean of values between 0 and 1, with a 95 % interval that few or equal values do not narrow.

    Agresti and Coull's (American Statistician 52, 1998) with four added items, two at either end of
    the range: the interval of a proportion, here with the variance of the values themselves.
    Without values ``nan`` and [0, 1].
    """
    data = _unit(values)
    if data.size == 0:
        return Interval(math.nan, 0.0, 1.0, 0)
    low, high = _normal(float(data.sum()) + 2, float((data**2).sum()) + 2, data.size + 4)
    return Interval(float(data.mean()), max(0.0, low), min(1.0, high), data.size)


def paired_difference(a: Sequence[float], b: Sequence[float]) -> Interval:
    """Mean of ``a - b`` over paired items with values between 0 and 1, with its 95 % interval.

    Bonett and Price's (Journal of Educational and Behavioral Statistics 37, 2012): an item more on
    which the first alone succeeds, and one on which the second does, so that few items do not look
    certain because no pair differs. Values between 0 and 1, such as shares, enter by their own
    variance.
    """
    first, second = _pair(a, b)
    difference = _unit(first) - _unit(second)
    n = difference.size
    if n == 0:
        return Interval(math.nan, -1.0, 1.0, 0)
    low, high = _normal(float(difference.sum()), float((difference**2).sum()) + 2, n + 2)
    return Interval(float(difference.mean()), max(-1.0, low), min(1.0, high), n)


def _normal(total: float, squares: float, n: int) -> tuple[float, float]:
    """Ends of the 95 % interval of a mean, from sums over n items."""
    middle = total / n
    half = NormalDist().inv_cdf(0.975) * math.sqrt(squares / n - middle**2) / math.sqrt(n)
    return middle - half, middle + half


def mcnemar_exact(b: int, c: int) -> float:
    """Two-sided exact p of McNemar's test, from the two counts of discordant pairs."""
    if b < 0 or c < 0:
        raise ValueError(f"counts must not be negative, got {b} and {c}")
    n = b + c
    tail = sum(math.comb(n, k) for k in range(min(b, c) + 1))
    return min(1.0, 2 * tail / 2**n)


def detectable_difference(
    n: int, discordant: int, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Smallest true difference of two paired rates that McNemar's test finds with that power.

    From the normal approximation of the discordant pairs (Connor 1987), with their share taken
    from the data as (discordant + 1) / (n + 2); no smaller than what `alpha` can ever reject.
    """
    if not 0 <= discordant <= n:
        raise ValueError(f"discordant must lie in [0, {n}], got {discordant}")
    if n == 0:
        return math.nan
    share = (discordant + 1) / (n + 2)
    z_alpha, z_power = (NormalDist().inv_cdf(p) for p in (1 - alpha / 2, power))
    low, high = 0.0, share
    for _ in range(60):
        middle = (low + high) / 2
        needed = z_alpha * math.sqrt(share) + z_power * math.sqrt(max(0.0, share - middle * middle))
        low, high = (middle, high) if middle * math.sqrt(n) < needed else (low, middle)
    # All discordant pairs on one side: fewer of them than this are never significant.
    fewest = math.ceil(1 - math.log2(alpha))
    return min(1.0, max(high, fewest / n))


def kendall_tau(x: Sequence[float], y: Sequence[float]) -> float:
    """Kendall's tau-b (ties corrected); ``nan`` when one side is constant."""
    first, second = _pair(x, y)
    sign_x = np.sign(first[:, None] - first[None, :])
    sign_y = np.sign(second[:, None] - second[None, :])
    scale = math.sqrt(float((sign_x**2).sum()) * float((sign_y**2).sum()))
    return float((sign_x * sign_y).sum()) / scale if scale else math.nan


def pearson(x: Sequence[float], y: Sequence[float]) -> float:
    """Pearson's correlation; ``nan`` when one side is constant."""
    first, second = _pair(x, y)
    if first.size == 0 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    # Brought to unit range first, so that squares of tiny or huge values do not under- or overflow.
    dx = (first - first.mean()) / np.ptp(first)
    dy = (second - second.mean()) / np.ptp(second)
    r = float((dx * dy).sum()) / math.sqrt(float((dx**2).sum()) * float((dy**2).sum()))
    return max(-1.0, min(1.0, r))


def auroc(positive: Sequence[float], negative: Sequence[float]) -> Interval:
    """Chance that a positive scores above a negative, ties half, with its 95 % interval.

    n is that of the positives.
    DeLong, DeLong and Clarke-Pearson's (Biometrics 44, 1988) variance over both samples, cut at 0
    and 1. Where one of two samples lies wholly above the other, or all values are the same, the
    variance is 0 and says nothing: the interval is then Wilson's of as many trials as the smaller
    sample has, which is ours. With fewer than two on a side it is [0, 1].
    """
    first, second = (np.asarray(values, dtype=float) for values in (positive, negative))
    if not (first.size and second.size):
        return Interval(math.nan, 0.0, 1.0, first.size)
    wins = (np.sign(first[:, None] - second[None, :]) + 1) / 2
    area, fewest = float(wins.mean()), min(first.size, second.size)
    if fewest < 2:
        return Interval(area, 0.0, 1.0, first.size)
    variance = sum(
        float(wins.mean(axis).var(ddof=1)) / size
        for axis, size in ((1, first.size), (0, second.size))
    )
    if math.isclose(variance, 0, abs_tol=1e-15):
        bound = wilson(round(area * fewest), fewest)
        return Interval(area, bound.low, bound.high, first.size)
    half = NormalDist().inv_cdf(0.975) * math.sqrt(variance)
    return Interval(area, max(0.0, area - half), min(1.0, area + half), first.size)


def t_quantile(probability: float, df: int) -> float:
    """Quantile of Student's t for a whole number of degrees of freedom."""
    if not 0.5 <= probability < 1:
        raise ValueError(f"probability must lie in [0.5, 1), got {probability}")
    if df < 1:
        raise ValueError(f"df must be at least 1, got {df}")
    low, high = 0.0, math.pi / 2  # the angle atan(t / sqrt(df)), which is bounded
    for _ in range(100):
        middle = (low + high) / 2
        if (1 + _t_mass(middle, df)) / 2 < probability:
            low = middle
        else:
            high = middle
    return math.sqrt(df) * math.tan((low + high) / 2)


def _t_mass(angle: float, df: int) -> float:
    """P(abs(T) <= sqrt(df) tan(angle)): Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    cosine = math.cos(angle)
    odd = df % 2 == 1
    term = cosine if odd else 1.0
    total = 0.0 if df == 1 else term
    for k in range(3 if odd else 2, df - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total


def _pair(
    a: Sequence[float], b: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"need two sequences of one length, got {first.shape} and {second.shape}")
    return first, second


def _unit(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    data = np.asarray(values, dtype=float)
    if data.size and not (data.min() >= 0 and data.max() <= 1):
        raise ValueError("values must lie in [0, 1]")
    return data


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
