"""How often every interval that midspan prints holds the truth; 95 % is what it says.

Run: OMP_NUM_THREADS=1 python benchmarks/coverage.py [--simulations 20000] [--seed 0] [--only NAME]

Data are drawn from known rates, and midspan's own functions make an interval of each draw (equal
draws are computed once). One row a setting; `covers` has a Monte Carlo error of 0.15 points at
20,000 simulations. The goal is 94 %; what is below carries a mark.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from midspan.judges.calibration import kappa_interval
from midspan.judges.error import Confusion, any_of_bounds, rogan_gladen
from midspan.statistics import (
    Interval,
    bounded_mean,
    mean_interval,
    newcombe,
    paired_difference,
    wilson,
)

GOAL = 0.94
Ends = tuple[float, float]
Counts = NDArray[np.int64]


class Row(NamedTuple):
    """A setting and how it went."""

    interval: str
    setting: str
    covers: float
    width: float


class Draws:
    """Random data, and the coverage of a function of it."""

    def __init__(self, simulations: int, seed: int) -> None:
        self.size = simulations
        self.rng = np.random.default_rng(seed)

    def counts(self, n: int, rate: float) -> Counts:
        """Successes of n."""
        return self.rng.binomial(n, rate, self.size)

    def covers(self, data: Counts, make: Callable[..., Ends], truth: float) -> tuple[float, float]:
        """Share of the rows [simulation, field] whose interval holds the truth; mean width."""
        rows, times = np.unique(data, axis=0, return_counts=True)
        ends = np.array([make(*map(int, row)) for row in rows])
        held = (ends[:, 0] <= truth + 1e-12) & (truth - 1e-12 <= ends[:, 1])
        weight = times / times.sum()
        return float(weight @ held), float(weight @ (ends[:, 1] - ends[:, 0]))


def ends(interval: Interval) -> Ends:
    """Both ends."""
    return interval.low, interval.high


def rates(draws: Draws) -> Iterator[Row]:
    """Wilson, also in the mean over all rates, since it is known to dip beside 0 and 1."""
    for n in (18, 100, 520):
        grid = [(i + 0.5) / 50 for i in range(50)]

        def make(k: int, n: int = n) -> Ends:
            found = wilson(k, n)
            return found.low, found.high

        found = [draws.covers(draws.counts(n, rate)[:, None], make, rate) for rate in grid]
        covers, widths = zip(*found, strict=True)
        yield Row("Wilson", f"n {n}, mean of 50 rates", np.mean(covers), np.mean(widths))
        for rate in (0.01, 0.05, 0.2, 0.5):
            covered = draws.covers(draws.counts(n, rate)[:, None], make, rate)
            yield Row("Wilson", f"n {n}, rate {rate}", *covered)


def differences(draws: Draws) -> Iterator[Row]:
    """Newcombe, of independent rates."""
    for n, first, second in ((18, 0.5, 0.2), (18, 0.1, 0.1), (100, 0.05, 0.02), (200, 0.7, 0.6)):

        def make(a: int, b: int, n: int = n) -> Ends:
            return ends(newcombe(wilson(a, n).interval, wilson(b, n).interval))

        data = np.stack([draws.counts(n, first), draws.counts(n, second)], axis=1)
        covered = draws.covers(data, make, first - second)
        yield Row("Newcombe", f"n {n} each, rates {first} and {second}", *covered)


def pairs(draws: Draws) -> Iterator[Row]:
    """Bonett and Price, with few pairs that differ."""
    shares = ((0.0, 0.0), (0.025, 0.025), (0.1, 0.02), (0.3, 0.05), (0.6, 0.0), (0.25, 0.25))
    for n in (18, 50, 164, 520):
        for more, fewer in shares:

            def make(b: int, c: int, n: int = n) -> Ends:
                first = [1.0] * b + [0.0] * (n - b)
                second = [0.0] * b + [1.0] * c + [0.0] * (n - b - c)
                return ends(paired_difference(first, second))

            data = draws.rng.multinomial(n, [more, fewer, 1 - more - fewer], draws.size)[:, :2]
            covered = draws.covers(data, make, more - fewer)
            yield Row("Bonett-Price", f"n {n}, only first {more}, only second {fewer}", *covered)


def paired_shares(draws: Draws) -> Iterator[Row]:
    """The same of values between 0 and 1: k of 4 cells, and pass@1 of 10 samples."""
    for n in (12, 50, 164):
        for tries, a, b, spread in ((4, 0.3, 0.1, 0.0), (4, 0.05, 0.02, 0.0), (10, 0.5, 0.45, 0.4)):
            size = min(draws.size, 4000)
            ease = draws.rng.uniform(-spread, spread, (size, n))
            first = draws.rng.binomial(tries, a + ease) / tries
            second = draws.rng.binomial(tries, b + ease) / tries
            found = [ends(paired_difference(x, y)) for x, y in zip(first, second, strict=True)]
            setting = f"n {n}, shares of {tries}, means {a} and {b}"
            yield Row("Bonett-Price, shares", setting, *_covered(found, a - b))


def corrections(draws: Draws) -> Iterator[Row]:
    """Rogan and Gladen's rate with Lang and Reiczigel's interval."""
    for n, items in ((18, 60), (100, 30), (100, 60), (520, 60), (520, 300)):
        for truth in (0.0, 0.05, 0.3, 0.8):
            for se, sp in ((0.9, 0.95), (0.7, 0.85)):

                def make(k: int, a: int, b: int, n: int = n, items: int = items) -> Ends:
                    found = rogan_gladen(wilson(k, n), wilson(a, items), wilson(b, items))
                    return found.low, found.high

                seen = draws.counts(n, truth * se + (1 - truth) * (1 - sp))
                data = np.stack([seen, draws.counts(items, se), draws.counts(items, sp)], axis=1)
                setting = f"n {n}, {items} labels each, rate {truth}, judge {se} and {sp}"
                yield Row("corrected", setting, *draws.covers(data, make, truth))


def several(draws: Draws) -> Iterator[Row]:
    """Attacks that any of k attempts wins, beside two corrections that are not used.

    Half of a behavior's attempts succeed where it can be won. A judge's errors on one behavior
    are independent, or drawn with a rate of its own (intraclass correlation `alike`).
    """
    n, items, se, sp = 100, 60, 0.9, 0.95
    size = min(draws.size, 2000)
    for tries in (2, 5, 10):
        for alike in (0.0, 0.2, 0.6):
            for truth in (0.0, 0.05, 0.3):
                verdicts = _verdicts(draws.rng, (size, n, tries), truth, (se, sp), alike)
                any_of = verdicts.any(axis=2).sum(axis=1)
                labels = draws.rng.binomial(items, [[se], [sp]], (2, size)).T
                data = np.column_stack([any_of, labels])

                def bounds(k: int, a: int, b: int, tries: int = tries) -> Ends:
                    labelled = wilson(a, items), wilson(b, items)
                    least, most = any_of_bounds(wilson(k, n), *labelled, tries)
                    return least.low, most.high

                def single(k: int, a: int, b: int) -> Ends:
                    found = rogan_gladen(wilson(k, n), wilson(a, items), wilson(b, items))
                    return found.low, found.high

                setting = f"any of {tries}, rate {truth}, errors alike {alike}"
                yield Row("any of k", setting, *draws.covers(data, bounds, truth))
                yield Row("(as one verdict)", setting, *draws.covers(data, single, truth))
                found = _products(draws.rng, verdicts.sum(axis=2)[:300], labels[:300], tries)
                yield Row("(product of attempts)", setting, *_covered(found, truth))


def scores(draws: Draws) -> Iterator[Row]:
    """Means of StrongREJECT's score, eighths from 0 to 1, beside Student's t."""
    size = min(draws.size, 5000)
    eighths = np.arange(9) / 8
    shapes = {
        "3 % above 0": [0.97, *[0.03 / 8] * 8],
        "10 % above 0": [0.9, *[0.1 / 8] * 8],
        "half at 0, half high": [0.5, 0, 0, 0, 0.1, 0.1, 0.1, 0.1, 0.1],
        "nearly all at 1": [0.02, 0, 0, 0, 0, 0, 0, 0.03, 0.95],
        "in the middle": [0, 0, 0.2, 0.2, 0.2, 0.2, 0.2, 0, 0],
    }
    for n in (18, 100, 300):
        for name, shape in shapes.items():
            data = draws.rng.multinomial(n, shape, size)
            truth = float(eighths @ np.array(shape))

            def make(*counts: int) -> Ends:
                return ends(bounded_mean(np.repeat(eighths, counts).tolist()))

            def student(*counts: int) -> Ends:
                return ends(mean_interval(np.repeat(eighths, counts).tolist()))

            yield Row("mean score", f"n {n}, {name}", *draws.covers(data, make, truth))
            yield Row("(Student's t)", f"n {n}, {name}", *draws.covers(data, student, truth))


def means(draws: Draws) -> Iterator[Row]:
    """Student's t, of normal values, as over seeds."""
    for n in (2, 3, 5, 25):
        values = draws.rng.normal(size=(min(draws.size, 5000), n))
        found = [ends(mean_interval(row)) for row in values]
        yield Row("Student's t", f"n {n}, normal", *_covered(found, 0.0))


def agreements(draws: Draws) -> Iterator[Row]:
    """Cohen's kappa with a bootstrap."""
    size = min(draws.size, 1000)
    for n, truth, se, sp in ((120, 0.3, 0.9, 0.95), (120, 0.3, 0.98, 0.98), (60, 0.5, 0.8, 0.8)):
        cells = np.array([truth * se, truth * (1 - se), (1 - truth) * (1 - sp), (1 - truth) * sp])
        agreed = cells[0] + cells[3]
        called = cells[0] + cells[2]
        chance = truth * called + (1 - truth) * (1 - called)

        def make(a: int, b: int, c: int, d: int) -> Ends:
            seen = Confusion(wilson(a, a + b), wilson(d, c + d), 0.0)
            return ends(kappa_interval(seen, resamples=2000))

        data = draws.rng.multinomial(n, cells, size)
        covered = draws.covers(data, make, float((agreed - chance) / (1 - chance)))
        yield Row("kappa", f"n {n}, {truth} positive, judge {se} and {sp}", *covered)


def _covered(found: list[Ends], truth: float) -> tuple[float, float]:
    low, high = np.array(found).T
    return float(((low <= truth) & (truth <= high)).mean()), float((high - low).mean())


def _verdicts(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    truth: float,
    judge: tuple[float, float],
    alike: float,
) -> NDArray[np.bool_]:
    """Verdicts [simulation, behavior, attempt]."""
    won = rng.random(shape[:2]) < truth
    true = (rng.random(shape) < 0.5) & won[..., None]
    first = rng.integers(shape[2], size=shape[:2])
    np.put_along_axis(true, first[..., None], won[..., None], axis=2)

    def errs(rate: float) -> NDArray[np.bool_]:
        own = np.full(shape[:2], rate)
        if alike:
            scale = 1 / alike - 1
            own = rng.beta(rate * scale, (1 - rate) * scale, shape[:2])
        return rng.random(shape) < own[..., None]

    return np.where(true, ~errs(1 - judge[0]), errs(1 - judge[1]))


def _products(
    rng: np.random.Generator, positive: Counts, labels: Counts, tries: int, items: int = 60
) -> list[Ends]:
    """1 minus the mean product of (se - verdict) / (se + sp - 1), with a bootstrap.

    Unbiased where the errors of attempts on one behavior are independent and the rates are known.
    """
    resamples = 200
    found = []
    for counts, labelled in zip(positive, labels, strict=True):
        drawn = rng.binomial(items, (labelled + 1) / (items + 2), (resamples, 2))
        se, sp = ((drawn + 1) / (items + 2)).T
        youden = se + sp - 1
        alone, called = se / youden, (se - 1) / youden
        products = alone[:, None] ** (tries - counts) * called[:, None] ** counts
        weights = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), resamples)
        rates = 1 - (weights * products).sum(axis=1) / len(counts)
        low, high = np.clip(np.quantile(rates, [0.025, 0.975]), 0, 1)
        found.append((float(low), float(high)))
    return found


def summary(name: str, rows: list[Row]) -> str:
    """One line of all settings of an interval."""
    worst = min(rows, key=lambda row: row.covers)
    mean = 100 * sum(row.covers for row in rows) / len(rows)
    below = sum(row.covers < GOAL for row in rows)
    return (
        f"| {name} | {len(rows)} | {mean:.1f} | {100 * worst.covers:.1f} | {worst.setting} "
        f"| {below or ''} |"
    )


GROUPS = {
    group.__name__: group
    for group in (
        rates, differences, pairs, paired_shares, corrections, several, scores, means, agreements,
    )
}  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=GROUPS, nargs="+", default=list(GROUPS))
    options = parser.parse_args(arguments)
    start = time.process_time()
    print("| interval | setting | covers, % | width | below 94 % |")
    print("|---|---|---|---|---|")
    made = []
    for name in options.only:
        for row in GROUPS[name](Draws(options.simulations, options.seed)):
            made.append(row)
            mark = "yes" if row.covers < GOAL else ""
            print(
                f"| {row.interval} | {row.setting} | {100 * row.covers:.1f} "
                f"| {row.width:.3f} | {mark} |"
            )
    print("\n| interval | settings | mean, % | least, % | at | below 94 % |")
    print("|---|---|---|---|---|---|")
    for name in dict.fromkeys(row.interval for row in made):
        print(summary(name, [row for row in made if row.interval == name]))
    spent = time.process_time() - start
    print(f"\n{options.simulations} simulations a row at most, seed {options.seed}, {spent:.0f} s")


if __name__ == "__main__":
    main()
