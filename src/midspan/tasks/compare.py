"""Figures of a task's records, and what they say about two models: paired, with what n can show."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from midspan.errors import MidspanError
from midspan.files import Record
from midspan.statistics import (
    Estimate,
    Interval,
    detectable_difference,
    mcnemar_exact,
    mean_interval,
    paired_difference,
    paired_rate_difference,
    wilson,
)
from midspan.tasks.humaneval import pass_at_k
from midspan.tasks.task import Measure

# The k of pass@k, as far as there are samples.
PASS_AT = (1, 10, 100)


@dataclass(frozen=True)
class BoundedRate:
    """A rate of items of which some have no verdict: from none of these to all of them.

    Attributes:
        known: The rate of the others.
        missing: Items without a verdict.
    """

    known: Estimate
    missing: int

    @property
    def n(self) -> int:
        """All items."""
        return self.known.n + self.missing

    @property
    def least(self) -> Estimate:
        """The rate if none of the missing were counted."""
        return wilson(self.known.successes, self.n)

    @property
    def most(self) -> Estimate:
        """The rate if all of the missing were counted."""
        return wilson(self.known.successes + self.missing, self.n)

    @property
    def percent(self) -> str:
        """From the least to the most, such as ``6.2 to 8.0 %``."""
        return f"{100 * self.least.rate:.1f} to {self.most.percent}"

    @property
    def note(self) -> str:
        """What must stand beside it."""
        interval = f"[{100 * self.least.low:.1f}, {100 * self.most.high:.1f}] n={self.n}"
        return f"{interval}, {self.missing} without verdict"

    def __str__(self) -> str:
        return f"{self.percent} {self.note}"


@dataclass(frozen=True)
class MeasureRow:
    """One figure of one model.

    Attributes:
        name: What it is.
        figure: A rate of items, or a mean over problems.
        values: Its value for each item with a verdict, by id: 0 or 1 for a rate.
        missing: Items without one.
    """

    name: str
    figure: Estimate | Interval | BoundedRate
    values: Mapping[str, float]
    missing: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Comparison:
    """Two models on the same items, second minus first.

    Attributes:
        difference: Of the rates, with Agresti and Min's interval, or of the means, with a bootstrap
            over items.
        p: McNemar's exact test; None for means that are no rates.
        detectable: Smallest difference that n items show four times in five; None likewise.
        unpaired: Items left out, on which one of the models has no verdict.
    """

    difference: Interval
    p: float | None
    detectable: float | None
    unpaired: int = 0


def rows(measures: Sequence[Measure], records: Sequence[Record]) -> list[MeasureRow]:
    """The figures of one model's records; all items have as many samples.

    What the judge never speaks of has none.
    """
    figures: list[MeasureRow] = []
    spoken = {field for record in records for field in record["verdict"]}
    for measure in (measure for measure in measures if measure.field in spoken):
        outcomes = _outcomes(measure, records)
        missing = frozenset(record["id"] for record in records if measure.lacks(record))
        samples = max(map(len, outcomes.values()), default=1)
        by_item = {item: hits for item, hits in outcomes.items() if item not in missing}
        if samples == 1:
            values = {item: float(hits[0]) for item, hits in by_item.items()}
            rate = wilson(int(sum(values.values())), len(values))
            figure = BoundedRate(rate, len(missing)) if missing else rate
            figures.append(MeasureRow(measure.name, figure, values, missing))
            continue
        for k in (k for k in PASS_AT if k <= samples):
            values = {item: pass_at_k(samples, sum(hits), k) for item, hits in by_item.items()}
            name = f"{measure.name}@{k}"
            mean = mean_interval(list(values.values()))
            figures.append(MeasureRow(name, mean, values, missing))
    return figures


def group_means(measures: Sequence[Measure], records: Sequence[Record]) -> dict[str, float]:
    """For measures that ask for it: the mean over groups of each group's share."""
    means = {}
    for measure in measures:
        if measure.by_group:
            groups = defaultdict(list)
            for record in records:
                if (outcome := measure.of(record)) is not None:
                    groups[record["group"]].append(outcome)
            means[measure.name] = fmean(map(fmean, groups.values())) if groups else math.nan
    return means


def compare(first: MeasureRow, second: MeasureRow) -> Comparison:
    """The second model against the first, on the items on which both could be scored.

    Raises:
        MidspanError: The figures are not of the same items.
    """
    items = first.values.keys() | first.missing
    if first.name != second.name or items != second.values.keys() | second.missing:
        raise MidspanError(f"{first.name}: scores are compared on the same items alone")
    unpaired = len(first.missing | second.missing)
    pairs = [
        (second.values[item], value)
        for item, value in first.values.items()
        if item in second.values
    ]
    if isinstance(first.figure, Interval):
        means = paired_difference([after for after, _ in pairs], [before for _, before in pairs])
        return Comparison(means, None, None)
    difference = paired_rate_difference(
        [after > 0 for after, _ in pairs], [before > 0 for _, before in pairs]
    )
    gained = sum(after > before for after, before in pairs)
    lost = sum(after < before for after, before in pairs)
    p = mcnemar_exact(gained, lost)
    detectable = detectable_difference(len(pairs), gained + lost)
    return Comparison(difference, p, detectable, unpaired)


def check_same(settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse to compare models under different settings.

    Args:
        settings: By model's name.

    Raises:
        MidspanError: Naming the first settings that differ.
    """
    names = list(settings)
    for name in names[1:]:
        changed = _differences(settings[names[0]], settings[name])
        if changed:
            raise MidspanError(
                f"scores are compared under identical settings alone: {changed[0]} of "
                f"{names[0]} and {name} differ; give the same ones in --config, or run them apart"
            )


def _differences(
    first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = ""
) -> list[str]:
    texts = []
    for key in sorted(first.keys() | second.keys()):
        one, two = first.get(key), second.get(key)
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            texts += _differences(one, two, f"{prefix}{key}.")
        elif one != two:
            texts.append(f"{prefix}{key} ({one} and {two})")
    return texts


def _outcomes(measure: Measure, records: Sequence[Record]) -> dict[str, list[bool]]:
    by_item: dict[str, list[bool]] = defaultdict(list)
    for record in records:
        if (outcome := measure.of(record)) is not None:
            by_item[record["id"]].append(outcome)
    return by_item
