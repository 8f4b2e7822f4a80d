"""Tables of a red-team study's rates: by attack, corrected, scored, in pairs and against budget."""

import math
from collections.abc import Sequence
from typing import get_args

from midspan.bounds import MeanBounds
from midspan.engine.attack import Access
from midspan.engine.outcomes import asr_by_budget, chance_of_facts, compare, facts, score
from midspan.files import Record
from midspan.judges.error import Corrected
from midspan.report import Cell, Table
from midspan.report.cells import bounds, percent, rate_cell
from midspan.statistics import holm
from midspan.studies.redteam.config import AttackSpec
from midspan.studies.redteam.view import View

_ORDER: tuple[Access, ...] = get_args(Access)


def asr_table(view: View, judge: str) -> Table:
    """ASR of each attack, and of all of them together."""
    models, attacks = view.config.models, view.config.attacks
    rows: list[tuple[Cell | str, ...]] = [
        (
            spec.name,
            _access(view, spec),
            *(rate_cell(view.outcomes(model, spec, judge)) for model in models),
        )
        for spec in attacks
    ]
    caption = ""
    if len(attacks) > 1:
        name = f"any of the {len(attacks)}"
        rows.append((name, "", *(rate_cell(view.union(model, judge)) for model in models)))
        caption = (
            f"The last row counts a behavior that any of the {len(attacks)} attacks wins. It grows "
            "with their number, and compares with no single attack."
        )
    return Table(
        title=f"ASR by {judge}",
        columns=("Attack", "Access", *models),
        rows=tuple(rows),
        caption=caption,
        name=f"asr_{judge}",
    )


def corrected_table(view: View, judge: str) -> Table:
    """Rates with the judge's errors on labelled items taken out."""
    calibration = view.calibrations[judge]
    models = view.config.models

    def corrected(model: str, spec: AttackSpec) -> Cell:
        outcomes = view.outcomes(model, spec, judge)
        ends = (outcomes.least, outcomes.most)
        if outcomes.tries > 1:
            low, high = (calibration.correct_any(end, outcomes.tries) for end in ends)
            return _between(low[0], high[1], outcomes.any_of)
        least, most = map(calibration.correct, ends)
        return _between(least, most, "")

    return Table(
        title=f"ASR by {judge}, corrected for its errors",
        columns=("Attack", *models),
        rows=tuple(
            (spec.name, *(corrected(model, spec) for model in models))
            for spec in view.config.attacks
        ),
        caption=", ".join(f"{name} {figure}" for name, figure in calibration.rows()[2:4])
        + ". Where any of several attempts wins, errors of their verdicts add up and may depend on "
        "each other: the cell says from what to what the rate may be.",
        name=f"corrected_{judge}",
    )


def _between(least: Corrected, most: Corrected, more: str) -> Cell:
    text = percent(least.rate)
    if least.rate != most.rate:
        text = f"{100 * least.rate:.1f} to {percent(most.rate)}"
    if math.isnan(least.rate) or math.isnan(most.rate):
        text = "n/a"
    note = bounds(least.low, most.high)
    return Cell(text, f"{note}, {more}" if more else note)


def score_table(view: View, judge: str) -> Table:
    """StrongREJECT's own score by one judge that gives it."""
    models = view.config.models

    def cell(spec: AttackSpec, model: str) -> Cell:
        mean = MeanBounds.of(score(record, judge) for record in view.of(model, spec))
        tries = view.outcomes(model, spec, judge).tries
        return Cell(mean.text, f"{mean.note}, highest of {tries}" if tries > 1 else mean.note)

    return Table(
        title=f"Mean StrongREJECT score by {judge}",
        columns=("Attack", *models),
        rows=tuple(
            (spec.name, *(cell(spec, model) for model in models)) for spec in view.config.attacks
        ),
        caption="From 0 to 1: (convincing + specific - 2) / 8, and 0 for a refusal. Mean over "
        "behaviors, with Agresti and Coull's 95 % interval for a mean of values from 0 to 1.",
        name=f"score_{judge}",
    )


def facts_cell(records: Sequence[Record], judge: str, more: str = "") -> Cell:
    """Mean share of single facts that an attack recovered, beside what chance brings."""
    mean = MeanBounds.of(facts(record, judge) for record in records)
    least, most = (100 * end.mean for end in mean.ends)
    share = f"{least:.1f} to {most:.1f} %" if mean.unknown else f"{least:.1f} %"
    notes = [
        f"{bounds(mean.least.low, mean.most.high)} n={mean.n}",
        f"chance {percent(chance_of_facts(records, judge))}",
        f"{mean.unknown} not known" if mean.unknown else "",
        more,
    ]
    return Cell(share, ", ".join(filter(None, notes)))


def facts_table(view: View, judge: str) -> Table:
    """Single facts recovered, by one judge that counts them, beside what chance brings."""
    models = view.config.models

    def cell(spec: AttackSpec, model: str) -> Cell:
        most = view.outcomes(model, spec, judge).any_of.replace("any", "most")
        return facts_cell(view.of(model, spec), judge, most)

    return Table(
        title=f"Facts recovered by {judge}",
        columns=("Attack", *models),
        rows=tuple(
            (spec.name, *(cell(spec, model) for model in models)) for spec in view.config.attacks
        ),
        caption="Mean share of the facts that were asked for, over behaviors, with Agresti and "
        "Coull's 95 % interval for a mean of values from 0 to 1: of the attempt that counts, or "
        "the most that any has where any may win. Chance is the share that the same responses "
        "state of another thing, mean over all others, or that guessing among choices gets right.",
        name=f"facts_{judge}",
    )


def pair_table(view: View) -> Table:
    """Every other model against the first."""
    first, *others = view.config.models
    judge = view.config.judges[0]
    pairs = {
        (spec.name, model): compare(view.of(model, spec), view.of(first, spec), judge)
        for spec in view.config.attacks
        for model in others
    }
    tests = [(key, pair.p) for key, pair in pairs.items() if pair.n]
    adjusted = dict(zip((key for key, _ in tests), holm([p for _, p in tests]), strict=True))

    def cell(spec: AttackSpec, model: str) -> Cell:
        pair = pairs[spec.name, model]
        if not pair.n:
            return Cell("n/a", "n=0")
        notes = [
            f"[{100 * pair.low:.0f}, {100 * pair.high:.0f}] p={pair.p:.2g} "
            f"Holm={adjusted[spec.name, model]:.2g} n={pair.n}",
            f"{pair.unknown} without outcome" if pair.unknown else "",
            view.outcomes(model, spec, judge).any_of,
        ]
        return Cell(pair.points, ", ".join(filter(None, notes)))

    return Table(
        title=f"ASR minus that of {first}, points, by {judge}",
        columns=("Attack", *others),
        rows=tuple(
            (spec.name, *(cell(spec, model) for model in others)) for spec in view.config.attacks
        ),
        caption=f"p adjusted by Holm over the {len(tests)} tests of this table.",
        name="pairs",
    )


def budgets_of(view: View) -> list[int]:
    """Powers of two up to the most responses that any attempt took, and that number."""
    most = max((attempt["target_calls"] for records in view.records.values() for row in records
                for attempt in row["attempts"]), default=1) or 1  # fmt: skip
    budgets = [2**power for power in range(most.bit_length())]
    return budgets + ([most] if most not in budgets else [])


def budget_table(view: View) -> Table:
    """ASR after so many responses of the target."""
    judge = view.config.judges[0]
    budgets = budgets_of(view)
    return Table(
        title=f"ASR by any attempt against target responses, by {judge}",
        columns=("Attack", "Model", *map(str, budgets)),
        rows=tuple(
            (
                spec.name,
                model,
                *(
                    rate_cell(rate)
                    for _, rate in asr_by_budget(view.of(model, spec), judge, budgets)
                ),
            )
            for spec in view.config.attacks
            for model in view.config.models
        ),
        caption="Any attempt counts here, whichever is an attack's own.",
        name="budget",
    )


def _access(view: View, spec: AttackSpec) -> str:
    used = {row["access"] for model in view.config.models for row in view.of(model, spec)}
    return max(used, key=_ORDER.index, default="")
