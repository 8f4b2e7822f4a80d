"""What changed between two runs: cell by cell, in pairs where both asked the same."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from midspan.errors import MidspanError
from midspan.report import Cell, Table
from midspan.report.cells import rate_cell
from midspan.runs.folder import FinishedRun, differences, flag
from midspan.runs.kinds import kind_of, read_trials
from midspan.statistics import Estimate, holm, mcnemar_exact, newcombe, wilson

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
    """

    place: Place
    unit: str
    asked: str
    success: bool | None
    settings: Mapping[str, Any]


def case_trials(run: FinishedRun) -> Iterator[Trial]:
    """Cases of `midspan.studies.organism.cases`; each training seed is another unit."""
    for record in run.rows("records.jsonl"):
        yield Trial(
            (record["model"], record["decoding"], record["cell"]),
            f"{record['behavior']} {record.get('seed', '')}",
            json.dumps([record["prompt"], record["anchors"]]),
            flag(record["verdict"], "success"),
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
            flag(record, "success"),
            {"decoding": record["settings"]},
        )


@dataclass(frozen=True)
class Change:
    """One cell in both runs.

    Attributes:
        place: Model, setting and cell; the model is "A -> B" for two of different names.
        first: Behaviors with a success, of the shared ones where there are any.
        second: The same in the second run.
        gained: Shared behaviors that succeed in the second run alone.
        lost: In the first run alone.
        paired: Whether behaviors are shared.
        left_out: Behaviors without an outcome, in the first run and in the second.
        refusal: Why the cell cannot be compared; empty when it can.
    """

    place: Place
    first: Estimate
    second: Estimate
    gained: int = 0
    lost: int = 0
    paired: bool = False
    left_out: tuple[int, int] = (0, 0)
    refusal: str = ""

    @property
    def p(self) -> float:
        """Of the exact McNemar test."""
        return mcnemar_exact(self.gained, self.lost)


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
    tested = [change for change in changes if change.paired and not change.refusal]
    adjusted = dict(zip(map(id, tested), holm([change.p for change in tested]), strict=True))
    rows = []
    for change in changes:
        row, quiet = _row(change, adjusted.get(id(change)))
        if everything or not quiet:
            rows.append(row)
    return Table(
        "What changed",
        COLUMNS,
        tuple(rows),
        f"{len(changes)} cells, {len(tested)} of them in pairs. Rates are behaviors with a "
        "success, with 95 % Wilson intervals; left out is what has no outcome. Shared behaviors: "
        f"exact McNemar test, p adjusted by Holm over the {len(tested)} tests, changed below "
        f"{ALPHA:g}. Others: Newcombe's 95 % interval of the difference, changed where it leaves "
        "out 0, each cell for itself.",
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
    left, out_left = _outcomes(before)
    right, out_right = _outcomes(after)
    left_out = (out_left, out_right)
    refusal = _settings_differ(before, after)
    if not refusal and not (left and right):
        refusal = "no outcome"
    shared = left.keys() & right.keys()
    if refusal or not shared:
        rates = (_rate(left.values()), _rate(right.values()))
        return Change(place, *rates, left_out=left_out, refusal=refusal)
    return Change(
        place,
        _rate(left[key] for key in shared),
        _rate(right[key] for key in shared),
        gained=sum(right[key] and not left[key] for key in shared),
        lost=sum(left[key] and not right[key] for key in shared),
        paired=True,
        left_out=left_out,
    )


def _outcomes(trials: Sequence[Trial]) -> tuple[dict[str, bool], int]:
    """Whether any attempt succeeded, by behavior and by what was asked in all attempts.

    Without a success, an attempt of which nothing can be said leaves its behavior out; how many
    these are comes second.
    """
    by_unit: dict[str, list[Trial]] = {}
    for trial in trials:
        by_unit.setdefault(trial.unit, []).append(trial)
    outcomes = {
        json.dumps([unit, sorted(trial.asked for trial in part)]): any(t.success for t in part)
        for unit, part in by_unit.items()
        if any(t.success for t in part) or all(t.success is not None for t in part)
    }
    return outcomes, len(by_unit) - len(outcomes)


def _rate(outcomes: Iterable[bool]) -> Estimate:
    values = list(outcomes)
    return wilson(sum(values), len(values))


def _settings_differ(before: Sequence[Trial], after: Sequence[Trial]) -> str:
    """The settings that differ, in words."""
    for trial in (*before, *after):
        if fields := differences(before[0].settings, trial.settings, "settings"):
            return fields
    return ""


def _row(change: Change, adjusted: float | None) -> tuple[tuple[Cell | str, ...], bool]:
    """A line, and whether it says that nothing changed."""
    rates = [
        rate_cell(rate, more=f"{count} left out" if count else "")
        for rate, count in zip((change.first, change.second), change.left_out, strict=True)
    ]
    if change.refusal:
        return (*change.place, *rates, "-", "-", f"not compared: {change.refusal}"), False
    points = 100 * (change.second.rate - change.first.rate)
    if adjusted is not None:
        test = f"+{change.gained} -{change.lost}, p={change.p:.2g}, adjusted {adjusted:.2g}"
        changed = adjusted < ALPHA
    else:
        gap = newcombe(change.second, change.first)
        test = f"[{100 * gap.low:+.1f}, {100 * gap.high:+.1f}], other requests"
        changed = not gap.low <= 0 <= gap.high
    result = "no change shown" if not changed else "higher" if points > 0 else "lower"
    return (*change.place, *rates, f"{points:+.1f}", test, result), not changed
