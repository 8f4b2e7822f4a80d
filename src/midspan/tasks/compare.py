"""Figures of a task's records, and what they say about two models: paired, with what n can show."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from midspan.bounds import MeanBounds, PairedBounds, RateBounds, Span
from midspan.errors import MidspanError
from midspan.files import Record
from midspan.statistics import Estimate, Interval, detectable_difference
from midspan.tasks.humaneval import pass_at_k
from midspan.tasks.task import Measure

# The k of pass@k, as far as there are samples.
PASS_AT = (1, 10, 100)


@dataclass(frozen=True)
class MeasureRow:
    """One figure of one model.

    Attributes:
        name: What it is.
        figure: A rate of items, or a mean over problems; of two ends where parts are not known.
        values: Its value for each item, by id: 0 or 1 for a rate.
    """

    name: str
    figure: Estimate | Interval | RateBounds | MeanBounds
    values: Mapping[str, Span]

    @property
    def is_rate(self) -> bool:
        """Whether every item is a yes or no."""
        return isinstance(self.figure, Estimate | RateBounds)


@dataclass(frozen=True)
class Comparison:
    """Two models on the same items, second minus first.

    Attributes:
        pairs: The difference of the rates or means, with Bonett and Price's interval.
        p: McNemar's exact test; None for means that are no rates.
        detectable: Smallest difference that n items show four times in five; None likewise.
    """

    pairs: PairedBounds
    p: float | None
    detectable: float | None


def rows(measures: Sequence[Measure], records: Sequence[Record]) -> list[MeasureRow]:
    """The figures of one model's records; all items have as many samples.

    What the judge never speaks of has none.
    """
    figures: list[MeasureRow] = []
    spoken = {field for record in records for field in record["verdict"]}
    for measure in (measure for measure in measures if measure.field in spoken):
        by_item = _outcomes(measure, records)
        samples = max(map(len, by_item.values()), default=1)
        if samples == 1:
            rate = RateBounds.of(outcomes[0] for outcomes in by_item.values())
            values = {item: Span.of(outcomes[0]) for item, outcomes in by_item.items()}
            figure = rate if rate.unknown else rate.least
            figures.append(MeasureRow(measure.name, figure, values))
            continue
        for k in (k for k in PASS_AT if k <= samples):
            values = {item: _pass_span(hits, k) for item, hits in by_item.items()}
            mean = MeanBounds.of(values.values())
            name = f"{measure.name}@{k}"
            figures.append(MeasureRow(name, mean if mean.unknown else mean.least, values))
    return figures


def _pass_span(hits: Sequence[bool | None], k: int) -> Span:
    known, unknown = hits.count(True), hits.count(None)
    return Span(pass_at_k(len(hits), known, k), pass_at_k(len(hits), known + unknown, k))


def group_means(
    measures: Sequence[Measure], records: Sequence[Record]
) -> dict[str, tuple[float, float]]:
    """For measures that ask for it: the mean over groups of each group's share.

    Returns:
        With what is not known at 0, and at 1.
    """
    means = {}
    for measure in measures:
        if measure.by_group:
            groups: dict[str, list[Span]] = defaultdict(list)
            for record in filter(measure.counts, records):
                groups[record["group"]].append(Span.of(measure.of(record)))
            least, most = (
                fmean(fmean(span[end] for span in spans) for spans in groups.values())
                for end in (0, 1)
            )
            means[measure.name] = (least, most)
    return means


def compare(first: MeasureRow, second: MeasureRow) -> Comparison:
    """The second model against the first.

    Raises:
        MidspanError: The figures are not of the same items.
    """
    if first.name != second.name or first.values.keys() != second.values.keys():
        raise MidspanError(f"{first.name}: scores are compared on the same items alone")
    pairs = PairedBounds.of(
        [second.values[item] for item in first.values], list(first.values.values())
    )
    if not first.is_rate:
        return Comparison(pairs, None, None)
    # The more pairs differ, the less n can show.
    discordant = max(end.more + end.fewer for end in (pairs.least, pairs.most))
    return Comparison(pairs, pairs.p, detectable_difference(pairs.n, discordant))


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


def _outcomes(measure: Measure, records: Sequence[Record]) -> dict[str, list[bool | None]]:
    by_item: dict[str, list[bool | None]] = defaultdict(list)
    for record in filter(measure.counts, records):
        by_item[record["id"]].append(measure.of(record))
    return by_item
