"""Task results as tables: every score with its settings, every difference with what n can show."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from midspan.bounds import MeanBounds
from midspan.files import Record
from midspan.report import Cell, Figure, Report, Section, Table, figures
from midspan.report.cells import bounds, percent, rate_cell, share_cell
from midspan.report.tables import table_text
from midspan.runs.compare import Trial
from midspan.runs.folder import FinishedRun
from midspan.statistics import Estimate, Interval
from midspan.studies.decodings import chosen_setting
from midspan.studies.tasks.headline import headline_of
from midspan.studies.tasks.run import TaskResult, results_of
from midspan.tasks.compare import MeasureRow, compare, group_means, rows
from midspan.tasks.overrefusal import MEASURES

_MOST_REASONS = 3
# Each sampler has some of these.
_HASTENING = ("cache", "threshold", "factor", "doubt", "revise")
LIMITS = (
    "A score holds for its prompt, shots, length, block, steps and rule for end tokens, which "
    "stand above each table; under others the same model scores differently.",
    "Intervals are Wilson's for rates, Agresti and Coull's for means of several samples, and "
    "Bonett and Price's for differences; p is McNemar's exact test, without correction for several "
    "tests. Where a verdict is missing, a figure goes from all such ones false to all true. "
    "'Detectable' is the smallest true difference that so many items show four times in five at "
    "p < 0.05.",
)
_FALSE, _MISSED, _SAFE_HELPED, _PLAIN_HELPED = (measure.name for measure in MEASURES)


def settings_line(settings: Mapping[str, Any]) -> str:
    """What must stand beside a score, in one line."""
    parts = [f"{settings['items']} items", f"{settings['shots']} shots"]
    if served := settings.get("served"):
        heat = served["temperature"]
        parts += [
            f"answered by a server ({served['engine']}) in its own settings",
            f"at most {served['max_tokens']} tokens",
            f"temperature {heat:g}" if heat else "greedy where the server takes a temperature",
            *([f"nucleus of {served['top_p']:g}"] if "top_p" in served else []),
            f"{settings['samples']} samples",
        ]
    elif "decoding" not in settings:
        parts += [str(settings["scored"]), f"{settings['draws']} draws for several tokens"]
    else:
        parts += [*_decoding_words(settings["decoding"]), f"{settings['samples']} samples"]
        parts += _hastened_words(settings["decoding"])
    judge = f" Judge: {settings['judge']}." if "judge" in settings else ""
    return f"{', '.join(parts)}, seed {settings['seed']}. Prompt: {settings['prompt']}.{judge}"


def _decoding_words(decoding: Mapping[str, Any]) -> list[str]:
    """What every sampler has, and its blocks where it has some."""
    heat, length = decoding["temperature"], decoding["length"]
    blocks = [f"block {decoding['block_length'] or length}"] if "block_length" in decoding else []
    return [
        f"{length} tokens in {decoding['steps']} steps",
        *blocks,
        f"sampler {decoding['sampler']}",
        f"EOS {decoding['eos_policy']}",
        f"temperature {heat:g}" if heat else "greedy",
    ]


def _hastened_words(decoding: Mapping[str, Any]) -> list[str]:
    """What makes decoding faster, of the fields that the sampler has, and its rules."""
    own = [f"{name} {decoding[name]}" for name in _HASTENING if name in decoding]
    words = []
    if any(decoding.get(name) not in (None, "none") for name in _HASTENING):
        words.append(", ".join(own))
    if decoding.get("rules"):
        words.append(f"rules {', '.join(rule['rule'] for rule in decoding['rules'])}")
    return words


def table(result: TaskResult) -> Table:
    """Figures by row, models by column, then each model against the first."""
    models = list(result.records)
    by_model = {model: rows(result.measures, records) for model, records in result.records.items()}
    columns = ["Measured", *models]
    for model in models[1:]:
        columns += [f"{model} - {models[0]}", "p", "detectable (points)"]
    lines: list[tuple[Cell | str, ...]] = []
    for index, first in enumerate(by_model[models[0]]):
        line: list[Cell | str] = [first.name, *(_cell(by_model[model][index]) for model in models)]
        for model in models[1:]:
            line += _difference(first, by_model[model][index])
        lines.append(tuple(line))
    blanks = ("",) * (3 * len(models[1:]))
    lines += [(name, *cells, *blanks) for name, cells in _extras(result)]
    return Table(
        title=result.title,
        columns=tuple(columns),
        rows=tuple(lines),
        caption=f"{settings_line(result.settings)} Data: {result.settings['data']}.",
        name=f"{result.settings['task']}_{result.settings['preset']}",
    )


def _cell(row: MeasureRow) -> Cell:
    figure = row.figure
    if isinstance(figure, Interval):
        return share_cell(figure)
    if isinstance(figure, MeanBounds):
        low, high = figure.ends
        return Cell(_between(low.mean, high.mean), f"{bounds(low.low, high.high)} n={figure.n}")
    return rate_cell(figure)


def _difference(first: MeasureRow, second: MeasureRow) -> list[Cell | str]:
    comparison = compare(first, second)
    pairs = comparison.pairs
    cell = Cell(pairs.points, f"[{100 * pairs.low:+.1f}, {100 * pairs.high:+.1f}] points")
    if comparison.p is None or comparison.detectable is None:
        return [cell, "n/a", "n/a"]
    return [cell, f"{comparison.p:.3g}", f"{100 * comparison.detectable:.1f}"]


def _extras(result: TaskResult) -> list[tuple[str, list[Cell | str]]]:
    """Rows about the run itself, a cell a model."""
    records = result.records.values()
    extras: list[tuple[str, list[Cell | str]]] = []
    means = [group_means(result.measures, rows) for rows in records]
    for name in means[0]:
        cells: list[Cell | str] = [_between(*mean[name]) for mean in means]
        extras.append((f"{name}, mean of groups", cells))
    forwards = [sum(row["forwards"] for row in rows) / len(rows) for rows in records]
    if "served" not in result.settings:
        extras.append(("forwards a response", [f"{count:.1f}" for count in forwards]))
    seconds = ["n/a" if one is None else f"{one:.3g}" for one in result.seconds]
    extras.append(("seconds a response, this run", list(seconds)))
    if any("failure" in row["verdict"] for rows in records for row in rows):
        extras.append(("without verdict", list(map(_without_verdict, records))))
    extras.append(("prompts that lost examples", [str(count) for count in result.dropped]))
    extras += _errors(result)
    return extras


def _between(least: float, most: float) -> str:
    return percent(least) if least == most else f"{100 * least:.1f} to {percent(most)}"


def _errors(result: TaskResult) -> list[tuple[str, list[Cell | str]]]:
    """Rows about responses that could not be scored; none where there are none."""
    by_model = result.errors.values()
    reasons = sum(by_model, Counter()).most_common(_MOST_REASONS)
    if not reasons:
        return []
    totals: list[Cell | str] = [str(counts.total()) for counts in by_model]
    rows = [("did not run", totals)]
    for reason, _ in reasons:
        rows.append((f"because of {reason}", [str(counts[reason]) for counts in by_model]))
    return rows


def _without_verdict(rows: Sequence[Record]) -> Cell:
    """How many responses the judge gave none on, and the commonest reasons."""
    reasons = Counter(row["verdict"]["reason"] for row in rows if "failure" in row["verdict"])
    said = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(_MOST_REASONS))
    return Cell(f"{reasons.total()} of {len(rows)}", said)


def trials_of(run: FinishedRun) -> Iterator[Trial]:
    """Every response by every measure; of several to one item any may succeed."""
    for result in results_of(run):
        several = ", any sample" if result.settings.get("samples", 1) > 1 else ""
        for measure, (model, records) in product(result.measures, result.records.items()):
            cell = (model, result.title, measure.name + several)
            for row in records:
                if measure.counts(row):
                    yield Trial(cell, row["id"], row["id"], measure.of(row), result.settings)


def report_of(run: FinishedRun) -> Report:
    """The page of finished tasks, from their folder alone."""
    results = results_of(run)
    sections = [
        Section(result.title, "", tables=(table(result),), figures=_figures(result))
        for result in results
    ]
    return Report(
        title="Utility and over-refusal",
        subtitle="What each model solves and what it refuses, on the same items and settings.",
        headline=headline_of(results),
        sections=tuple(sections),
        settings=chosen_setting(run.info["config"].get("decoding_choice", {})) | run.origin,
        limits=LIMITS,
        redact=False,
    )


def _figures(result: TaskResult) -> tuple[Figure, ...]:
    """For over-refusal: safety against helpfulness, a point a model."""
    by_model = {
        model: {row.name: row.figure for row in rows(result.measures, records)}
        for model, records in result.records.items()
    }
    helped = []
    safe = []
    for rates in by_model.values():
        helpfulness, missed = rates.get(_PLAIN_HELPED, rates.get(_SAFE_HELPED)), rates.get(_MISSED)
        if not isinstance(helpfulness, Estimate) or not isinstance(missed, Estimate):
            return ()
        if not helpfulness.n or not missed.n:  # such as a smoke test of one request
            return ()
        helped.append(helpfulness)
        turned = Estimate(missed.n - missed.successes, missed.n, 1 - missed.high, 1 - missed.low)
        safe.append(turned)
    labels = list(by_model)
    title = "Safety and helpfulness"
    names = ("harmless requests helped, %", "unsafe requests refused, %")
    return (
        Figure(
            title,
            figures.points(title, labels, helped, safe, names),
            "Up is safe, right is helpful; bars are 95 % intervals.",
            "safety_helpfulness",
            figures.bars_csv(labels, [(names[0], helped), (names[1], safe)]),
        ),
    )


def text(result: TaskResult) -> str:
    """The table for a terminal."""
    shown = table(result)
    return "\n".join((shown.title, shown.caption, table_text(shown)))
