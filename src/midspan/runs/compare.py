"""What changed between two runs: cell by cell, in pairs where both asked the same."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from midspan.bounds import MeanBounds, PairedBounds, RateBounds, Span, best_of
from midspan.errors import MidspanError
from midspan.report import Cell, Table
from midspan.report.cells import rate_cell
from midspan.runs.folder import FinishedRun, differences
from midspan.runs.kinds import kind_of, read_trials
from midspan.statistics import holm, newcombe

ALPHA = 0.05
COLUMNS = ("model", "setting", "cell", "first", "second", "points", "test", "result")
Place = tuple[str, str, str]


@dataclass(frozen=True)
class Trial:
    """One judged outcome, as a comparison sees it.

    Attributes:
        place: Model, setting (a decoding, an attack, a task) and cell.
        unit: The behavior or item; several attempts may ask for it.
        asked: Everything that was asked, as text.
        success: The counted event; None where nothing can be said.
        settings: All that makes an outcome another one's equal, beside the model.
        score: A value from 0 to 1 instead of an event, where its mean is compared.
    """

    place: Place
    unit: str
    asked: str
    success: bool | None
    settings: Mapping[str, Any]
    score: Span | None = None

    def __post_init__(self) -> None:
        """Refuse what a damaged record says.

        Raises:
            TypeError: A name is no text, or the outcome neither true, false nor null.
        """
        for text in (*self.place, self.unit, self.asked):
            if not isinstance(text, str):
                raise TypeError(f"{text!r:.60} is no text")
        if not (self.success is None or isinstance(self.success, bool)):
            raise TypeError(f"{self.success!r:.60} is not true, false or null")

    @property
    def span(self) -> Span:
        """What came of it, from 0 to 1."""
        return self.score or Span.of(self.success)


def case_trials(run: FinishedRun) -> Iterator[Trial]:
    """Cases of `midspan.studies.organism.cases`; each training seed is another unit."""
    for record in run.rows("records.jsonl"):
        yield Trial(
            (record["model"], record["decoding"], record["cell"]),
            f"{record['behavior']} {record.get('seed', '')}",
            json.dumps([record["prompt"], record["anchors"]]),
            record["verdict"]["success"],
            {"decoding": record["settings"]},
        )


def probe_trials(run: FinishedRun) -> Iterator[Trial]:
    """Responses of a probe that judges them."""
    for record in run.rows("records.jsonl"):
        labels = (record.get(name) for name in ("request_kind", "phrase_kind", "position", "start"))
        cell = ", ".join(str(label) for label in labels if label is not None)
        yield Trial(
            (record["model"], record["decoding"], cell),
            record["id"],
            json.dumps([record["prompt"], record["phrase"]]),
            record["success"],
            {"decoding": record["settings"]},
        )


Figure = RateBounds | MeanBounds


@dataclass(frozen=True)
class Change:
    """One cell in both runs.

    Attributes:
        place: Model, setting and cell; the model is "A -> B" for two of different names.
        first: Behaviors with a success, or their mean score; of the shared ones where there are
            any. What has no outcome makes it two ends.
        second: The same in the second run.
        pairs: The second run against the first, on shared behaviors; None where there are none.
        refusal: Why the cell cannot be compared; empty when it can.
    """

    place: Place
    first: Figure
    second: Figure
    pairs: PairedBounds | None = None
    refusal: str = ""

    @property
    def is_tested(self) -> bool:
        """Whether the cell has a p value."""
        is_rate = isinstance(self.first, RateBounds)
        return is_rate and self.pairs is not None and not self.refusal

    @property
    def p(self) -> float:
        """The largest of the exact McNemar test, whatever the unknown outcomes are."""
        return self.pairs.p if self.pairs else math.nan


def compare_runs(first: FinishedRun, second: FinishedRun) -> list[Change]:
    """Every cell that both runs hold.

    Raises:
        MidspanError: The runs have nothing in common.
    """
    _check(first, second)
    before, after = _by_place(first), _by_place(second)
    names = _same_models(before, after)
    changes = []
    for (model, setting, cell), trials in before.items():
        other = after.get((names.get(model, model), setting, cell))
        if other is not None:
            label = model if model not in names else f"{model} -> {names[model]}"
            changes.append(_change((label, setting, cell), trials, other))
    if not changes:
        raise MidspanError(
            f"{first.path} and {second.path} share no cell: models "
            f"{_models(before)} there, {_models(after)} here"
        )
    return changes


def change_table(changes: Sequence[Change], everything: bool = False) -> Table:
    """One line a cell; by default those alone that changed or could not be compared."""
    tested = [change for change in changes if change.is_tested]
    adjusted = dict(zip(map(id, tested), holm([change.p for change in tested]), strict=True))
    rows = []
    for change in changes:
        row, quiet = _row(change, adjusted.get(id(change)))
        if everything or not quiet:
            rows.append(row)
    return Table(
        "All cells" if everything else "What changed",
        COLUMNS,
        tuple(rows),
        f"{len(changes)} cells, {len(tested)} of them tested in pairs. Rates are behaviors with a "
        "success, with 95 % Wilson intervals; where outcomes are missing they go from all of "
        "these failed to all successful, and a change holds whatever they are. Shared "
        f"behaviors: exact McNemar test, p adjusted by Holm over the {len(tested)} tests, changed "
        f"below {ALPHA:g}. Others: Newcombe's 95 % interval of the difference, changed where it "
        "leaves out 0, each cell for itself. So are mean scores, whose points are hundredths.",
    )


def _check(first: FinishedRun, second: FinishedRun) -> None:
    kinds = [run.info.get("kind", "") for run in (first, second)]
    for run in (first, second):
        kind_of(run)
    configs = [run.info["config"] for run in (first, second)]
    for name, values in (
        ("kind", kinds),
        *((name, [config.get(name) for config in configs]) for name in ("probe", "judged_by")),
    ):
        if values[0] != values[1]:
            raise MidspanError(f"not comparable: {name} is {values[0]} there, {values[1]} here")


def _by_place(run: FinishedRun) -> dict[Place, list[Trial]]:
    trials: dict[Place, list[Trial]] = {}
    for trial in read_trials(run):
        trials.setdefault(trial.place, []).append(trial)
    return trials


def _models(trials: Mapping[Place, Any]) -> str:
    return ", ".join(dict.fromkeys(model for model, _, _ in trials))


def _same_models(before: Mapping[Place, Any], after: Mapping[Place, Any]) -> dict[str, str]:
    """Two runs of one model each are compared whatever the models' names."""
    old, new = ({model for model, _, _ in trials} for trials in (before, after))
    return {old.pop(): new.pop()} if len(old) == len(new) == 1 and old != new else {}


def _change(place: Place, before: Sequence[Trial], after: Sequence[Trial]) -> Change:
    left, right = _spans(before), _spans(after)
    is_score = any(trial.score is not None for trial in (*before, *after))
    refusal = _settings_differ(before, after)
    if not refusal and not all(map(_has_outcome, (left, right))):
        refusal = "no outcome"
    shared = sorted(left.keys() & right.keys())
    if refusal or not shared:
        old, new = list(left.values()), list(right.values())
    else:
        old, new = [left[key] for key in shared], [right[key] for key in shared]
    pairs = None if refusal or not shared else PairedBounds.of(new, old)
    return Change(place, _figure(old, is_score), _figure(new, is_score), pairs, refusal)


def _spans(trials: Sequence[Trial]) -> dict[str, Span]:
    """What the best attempt came to, by behavior and by what was asked in all attempts."""
    by_unit: dict[str, list[Trial]] = {}
    for trial in trials:
        by_unit.setdefault(trial.unit, []).append(trial)
    return {
        json.dumps([unit, sorted(trial.asked for trial in part)]): best_of(t.span for t in part)
        for unit, part in by_unit.items()
    }


def _has_outcome(spans: Mapping[str, Span]) -> bool:
    return any(span.is_known for span in spans.values())


def _figure(spans: Sequence[Span], is_score: bool) -> Figure:
    if is_score:
        return MeanBounds.of(spans)
    return RateBounds.of(span.least > 0 if span.is_known else None for span in spans)


def _settings_differ(before: Sequence[Trial], after: Sequence[Trial]) -> str:
    """The settings that differ, in words."""
    for trial in (*before, *after):
        if fields := differences(before[0].settings, trial.settings, "settings"):
            return fields
    return ""


def _row(change: Change, adjusted: float | None) -> tuple[tuple[Cell | str, ...], bool]:
    """A line, and whether it says that nothing changed."""
    cells = [_cell(figure) for figure in (change.first, change.second)]
    if change.refusal:
        return (*change.place, *cells, "-", "-", f"not compared: {change.refusal}"), False
    low, high, points = difference(change)
    interval = f"[{100 * low:+.1f}, {100 * high:+.1f}]"
    if change.pairs is None:
        test, changed = f"{interval}, other requests", not low <= 0 <= high
    elif adjusted is None:
        test, changed = interval, not low <= 0 <= high
    else:
        gained = _counts(change.pairs.least.more, change.pairs.most.more)
        lost = _counts(change.pairs.most.fewer, change.pairs.least.fewer)
        test = f"+{gained} -{lost}, p={change.p:.2g}, adjusted {adjusted:.2g}"
        changed = adjusted < ALPHA
    result = "no change shown" if not changed else "higher" if low + high > 0 else "lower"
    return (*change.place, *cells, points, test, result), not changed


def _cell(figure: Figure) -> Cell:
    if isinstance(figure, RateBounds):
        return rate_cell(figure)
    return Cell(figure.text, figure.note)


def _counts(least: int, most: int) -> str:
    return str(least) if least == most else f"{least}..{most}"


def difference(change: Change) -> tuple[float, float, str]:
    """Both ends of the interval of second minus first, and the difference in points."""
    if change.pairs is not None:
        return change.pairs.low, change.pairs.high, change.pairs.points
    (first, first_most), (second, second_most) = change.first.ends, change.second.ends
    least, most = newcombe(second, first_most), newcombe(second_most, first)
    points = f"{100 * least.mean:+.1f}"
    if least.mean != most.mean:
        points = f"{points} to {100 * most.mean:+.1f}"
    return least.low, most.high, points
