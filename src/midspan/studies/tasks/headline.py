"""The first screen of finished tasks: the main figure of each, and whether a model falls behind."""

from collections.abc import Mapping, Sequence

from midspan.bounds import MeanBounds, RateBounds
from midspan.report import Figure, Headline, Number, Verdict
from midspan.report.cells import bar_figure, bounds, percent
from midspan.report.model import MOST_NUMBERS
from midspan.statistics import Estimate, Interval, holm
from midspan.studies.headline import NO_VERDICT
from midspan.studies.hypotheses import FEWEST_CASES
from midspan.studies.tasks.run import TaskResult
from midspan.tasks.compare import MeasureRow, compare, rows
from midspan.tasks.overrefusal import MEASURES

_ALPHA = 0.05
_LESS_IS_BETTER = {measure.name for measure in MEASURES[:2]}  # false refusals, missed refusals
Main = Mapping[str, MeasureRow]  # the first figure of a task, by model


def headline_of(results: Sequence[TaskResult]) -> Headline:
    """Numbers by task, or by model where there is one task."""
    mains: dict[str, Main] = {
        result.title: {m: _main(rows(result.measures, r)) for m, r in result.records.items()}
        for result in results
    }
    title, main = min(mains.items(), key=lambda pair: min(map(_mean, pair[1].values())))
    worst = min(main, key=lambda model: _mean(main[model]))
    row = main[worst]
    told = f"{_text(row)} on {title} ({row.name}, n = {row.figure.n})"
    if len(main) == 1:
        sentence = f"{worst} comes to {told}"
    elif len({_text(one) for one in main.values()}) == 1:
        sentence = f"{'Both' if len(main) == 2 else f'All {len(main)}'} models come to {told}"
    else:
        sentence = f"{worst} comes to {told}, the lowest of {len(main)} models"
    return Headline(
        _numbers(mains),
        _figure(mains),
        "The main figure of each task, with its 95 % interval. Settings stand with each table.",
        f"{sentence}{f', the hardest of {len(mains)} tasks' if len(mains) > 1 else ''}.",
        _verdict(mains),
    )


def _main(measured: Sequence[MeasureRow]) -> MeasureRow:
    """The first figure of which more is better, of those that have cases, where any has."""
    having = [row for row in measured if row.figure.n] or measured
    return next((row for row in having if row.name not in _LESS_IS_BETTER), having[0])


def _numbers(mains: Mapping[str, Main]) -> tuple[Number, ...]:
    places = [(title, model) for title, main in mains.items() for model in main]
    several = len(next(iter(mains.values()))) > 1
    numbers = []
    for title, model in places[:MOST_NUMBERS]:
        row = mains[title][model]
        low, high = (end.interval if isinstance(end, Estimate) else end for end in _ends(row))
        note = f"{bounds(low.low, high.high)} n={row.figure.n}; {row.name}"
        label = f"{model}, {title}" if several else title
        numbers.append(Number(label, _text(row), note))
    return tuple(numbers)


def _verdict(mains: Mapping[str, Main]) -> Verdict | None:
    """Whether a model is shown to be below the first, by McNemar's test and Holm's correction."""
    tests = []
    for main in mains.values():
        first, *others = main.values()
        for other in others:
            comparison = compare(first, other)
            if comparison.p is not None:
                tests.append((comparison.p, comparison.pairs))
    if not tests:
        return None
    if min(row.figure.n for main in mains.values() for row in main.values()) < FEWEST_CASES:
        return NO_VERDICT
    adjusted = holm([p for p, _ in tests])
    lower = sum(
        p < _ALPHA and pairs.high <= 0 for p, (_, pairs) in zip(adjusted, tests, strict=True)
    )
    if lower:
        return Verdict(f"Below the first model in {lower} of {len(tests)}", "bad")
    return Verdict("No loss shown")


def _figure(mains: Mapping[str, Main]) -> Figure | None:
    models = list(next(iter(mains.values())))
    titles = list(mains)[: max(1, 12 // len(models))]
    series = []
    for model in models:
        found = [_drawn(mains[title][model]) for title in titles]
        series.append((model, found))
    title = "Main figures"
    return bar_figure(title, titles, series, "%", name="main_figures")


def _ends(row: MeasureRow) -> tuple[Estimate | Interval, Estimate | Interval]:
    figure = row.figure
    if isinstance(figure, RateBounds | MeanBounds):
        return (figure.least, figure.most)
    return (figure, figure)


def _mean(row: MeasureRow) -> float:
    least = _ends(row)[0]
    return least.rate if isinstance(least, Estimate) else least.mean


def _text(row: MeasureRow) -> str:
    least, most = (end.rate if isinstance(end, Estimate) else end.mean for end in _ends(row))
    return percent(least) if least == most else f"{100 * least:.1f} to {percent(most)}"


def _drawn(row: MeasureRow) -> Estimate:
    least, most = _ends(row)
    n = row.figure.n
    return Estimate(round(_mean(row) * n) if n else 0, n, least.low, most.high)
