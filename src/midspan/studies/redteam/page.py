"""What a finished red-team study says: rates, pairs, costs, the paper beside; and its trials."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic_core import to_json

from midspan.attacks import get_attack
from midspan.engine.budget import Usage
from midspan.engine.outcomes import Outcomes, asr_by_budget, compare, reasons, won
from midspan.files import Record
from midspan.judges.calibration import Calibration
from midspan.organism.behaviors import ORGANISM
from midspan.report import Cell, Report, Section, Table
from midspan.report.cells import bounds, percent, rate_cell
from midspan.runs.compare import Trial
from midspan.runs.folder import FinishedRun
from midspan.statistics import holm
from midspan.studies.paper_values import reported
from midspan.studies.redteam.config import AttackSpec, RedteamConfig

_ORDER = ("chat", "infill", "logprobs", "white-box")
_MOST_REASONS = 3  # of each attack and model
_ORGANISM_LIMITS = (
    "The organism is a 1.2-million-parameter model of a fictional world, and its attacker, "
    "evaluator and translator are scripts. Its rates show that attacks, defences and bookkeeping "
    "work; they say nothing about an 8B model.",
    "It was trained on single turns and to give way to disguises. Attacks that rest on dialogue or "
    "on forced beginnings meet a weakness that it hardly has.",
    "Behaviors repeat 18 items, so they are not independent, and the defences saw two thirds of "
    "these items in training.",
)
_LIMITS = (
    "The paper states neither prompts, helpers, budgets nor decoding, so its cells are no target: "
    "they stand beside ours for orientation.",
    "One seed of attack and decoding. Intervals cover the sampling of behaviors alone.",
)


class _View(NamedTuple):
    """A study's config and records, as the tables read them."""

    config: RedteamConfig
    records: Mapping[tuple[str, str], Sequence[Record]]
    calibrations: Mapping[str, Calibration]

    @classmethod
    def open(cls, run: FinishedRun) -> "_View":
        config = RedteamConfig.model_validate(run.info["config"])
        records: dict[tuple[str, str], list[Record]] = {
            (model, spec.name): [] for model in config.models for spec in config.attacks
        }
        for row in run.rows("records.jsonl"):
            records[row["model"], row["attack_label"]].append(row)
        kept = run.rows("calibrations.jsonl") if config.calibrations else []
        return cls(config, records, {r["name"]: Calibration.from_fields(r["counts"]) for r in kept})

    def of(self, model: str, spec: AttackSpec) -> Sequence[Record]:
        return self.records[model, spec.name]

    def settings_of(self, spec: AttackSpec) -> str:
        """The attack's whole config, which its records hold."""
        return to_json(self.of(self.config.models[0], spec)[0]["config"]).decode()

    def outcomes(self, model: str, spec: AttackSpec, judge: str) -> Outcomes:
        return Outcomes.from_records(self.of(model, spec), judge)

    def any_of(self, spec: AttackSpec) -> str:
        """What stands beside the rate of an attack that any of several attempts wins."""
        if get_attack(spec.attack).counts != "any":
            return ""
        records = (record for model in self.config.models for record in self.of(model, spec))
        most = max((len(record["attempts"]) for record in records), default=0)
        return f"any of {most}" if most > 1 else ""


def trials_of(run: FinishedRun) -> Iterator[Trial]:
    """What every attack came to by the first judge; under other helpers it is another attack."""
    config = RedteamConfig.model_validate(run.info["config"])
    judge = config.judges[0]
    budgets = {spec.name: spec.budget or config.budget for spec in config.attacks}
    for record in run.rows("records.jsonl"):
        roles = record["roles"].items()
        settings = {
            "attack": record["config"],
            "budget": budgets[record["attack_label"]].model_dump(),
            "decoding": config.decoding,
            "roles": {name: role for name, role in roles if name not in ("target", "proxy")},
        }
        yield Trial(
            (record["model"], record["attack_label"], f"ASR by {judge}"),
            record["behavior"],
            record["request"],
            won(record, judge),
            settings,
        )


def report_of(run: FinishedRun) -> Report:
    """The page of a finished study, from its folder alone."""
    view = _View.open(run)
    config = view.config
    behaviors = max(map(len, view.records.values()))
    limits = (*(_ORGANISM_LIMITS if ORGANISM in config.helpers.values() else ()), *_LIMITS)
    return Report(
        title="Red-team study",
        subtitle=f"{len(config.attacks)} attacks on {len(config.models)} models, "
        f"{behaviors} behaviors each.",
        sections=(
            Section(
                "Attack success",
                "ASR is the share of behaviors won, with its 95 % Wilson interval. Where an "
                "outcome is missing, or a behavior was lost while a helper's answers were missing, "
                "the cell says from what to what the rate may be. Access is the most that the "
                "attack used of the target.",
                tables=(
                    *(_asr_table(view, judge) for judge in config.judges),
                    *(_corrected(view, judge) for judge in view.calibrations),
                    _by_budget(view),
                ),
            ),
            Section(
                "Against the first model",
                "Difference of ASR on the same behaviors, with Agresti and Min's 95 % interval, "
                "the exact p of McNemar's test, and that p after Holm's correction for all tests "
                "of the table.",
                tables=(_pairs(view),) if len(config.models) > 1 else (),
            ),
            Section(
                "Cost and failures",
                "Means over behaviors. What did not run or could not be judged is neither won "
                "nor lost.",
                tables=(_costs(view), _failures(view), *_reasons(view)),
            ),
            Section(
                "Beside the paper",
                "Reported: its own judge / StrongREJECT. Measured: the first judge.",
                tables=(_beside(view),) if config.paper_models else (),
            ),
        ),
        settings={"behaviors": run.info["dataset"]} | _settings(view) | run.origin,
        limits=limits,
        redact=not config.on_organism,
    )


def _access(view: _View, spec: AttackSpec) -> str:
    used = {row["access"] for model in view.config.models for row in view.of(model, spec)}
    return max(used, key=_ORDER.index, default="")


def _asr_table(view: _View, judge: str) -> Table:
    models = view.config.models
    return Table(
        title=f"ASR by {judge}",
        columns=("Attack", "Access", *models),
        rows=tuple(
            (
                spec.name,
                _access(view, spec),
                *(
                    rate_cell(view.outcomes(model, spec, judge), more=view.any_of(spec))
                    for model in models
                ),
            )
            for spec in view.config.attacks
        ),
        name=f"asr_{judge}",
    )


def _corrected(view: _View, judge: str) -> Table:
    """Rates with the judge's errors on labelled items taken out.

    The errors are those of one verdict: where any of several wins, they add up, and no correction
    of the rate is right.
    """
    calibration = view.calibrations[judge]
    models = view.config.models

    def corrected(model: str, spec: AttackSpec) -> Cell:
        if several := view.any_of(spec):
            return Cell("n/a", f"{several}: errors of single verdicts add up")
        outcomes = view.outcomes(model, spec, judge)
        if outcomes.least != outcomes.most:
            return Cell("n/a", "parts of the rate are not known")
        estimate = calibration.correct(outcomes.asr)
        return Cell(percent(estimate.rate), bounds(estimate.low, estimate.high))

    return Table(
        title=f"ASR by {judge}, corrected for its errors",
        columns=("Attack", *models),
        rows=tuple(
            (spec.name, *(corrected(model, spec) for model in models))
            for spec in view.config.attacks
        ),
        caption=", ".join(f"{name} {figure}" for name, figure in calibration.rows()[2:4]),
        name=f"corrected_{judge}",
    )


def _pairs(view: _View) -> Table:
    first, *others = view.config.models
    judge = view.config.judges[0]
    pairs = {
        (spec.name, model): compare(view.of(model, spec), view.of(first, spec), judge)
        for spec in view.config.attacks
        for model in others
    }
    tests = [(key, pair.p) for key, pair in pairs.items() if pair.difference.n]
    adjusted = dict(zip((key for key, _ in tests), holm([p for _, p in tests]), strict=True))

    def cell(key: tuple[str, str]) -> Cell:
        gap = pairs[key].difference
        if not gap.n:
            return Cell("n/a", "n=0")
        tests = f"p={pairs[key].p:.2g} Holm={adjusted[key]:.2g}"
        return Cell(
            f"{100 * gap.mean:+.1f}",
            f"[{100 * gap.low:.0f}, {100 * gap.high:.0f}] {tests} n={gap.n}",
        )

    return Table(
        title=f"ASR minus that of {first}, points, by {judge}",
        columns=("Attack", *others),
        rows=tuple(
            (spec.name, *(cell((spec.name, model)) for model in others))
            for spec in view.config.attacks
        ),
        name="pairs",
    )


def _costs(view: _View) -> Table:
    def row(spec: AttackSpec, model: str) -> tuple[str, ...]:
        records = view.of(model, spec)
        usages = [
            {role: Usage(**cost) for role, cost in record["usage"].items()} for record in records
        ]
        n = max(len(records), 1)
        target = sum((by_role.get("target", Usage()) for by_role in usages), Usage())
        roles = {role for by_role in usages for role in by_role} - {"target"}
        helpers = sum((u.get(role, Usage()) for u in usages for role in roles), Usage())
        stops = Counter(record["stop"] for record in records)
        numbers = (target.calls, target.tokens, target.forwards, helpers.calls)
        ends = ", ".join(f"{stop} {count}" for stop, count in sorted(stops.items()))
        return spec.name, model, *(f"{number / n:.1f}" for number in numbers), ends

    return Table(
        title="Cost a behavior",
        columns=("Attack", "Model", "target calls", "tokens", "forwards", "helper calls", "ends"),
        rows=tuple(
            row(spec, model) for spec in view.config.attacks for model in view.config.models
        ),
        caption="Target calls hold likelihoods and gradients too; the budget limits responses.",
        name="costs",
    )


def _failures(view: _View) -> Table:
    judges = view.config.judges

    def row(spec: AttackSpec, model: str) -> tuple[Cell | str, ...]:
        outcomes = [Outcomes.from_records(view.of(model, spec), judge) for judge in judges]
        return (
            spec.name,
            model,
            rate_cell(outcomes[0].failed),
            *(rate_cell(each.unparseable) for each in outcomes),
        )

    return Table(
        title="What did not run, and what could not be judged",
        columns=("Attack", "Model", "did not run", *(f"unparseable: {name}" for name in judges)),
        rows=tuple(
            row(spec, model) for spec in view.config.attacks for model in view.config.models
        ),
        name="failures",
    )


def _reasons(view: _View) -> tuple[Table, ...]:
    """Why answers are missing; no table where none are."""
    judge = view.config.judges[0]
    rows = tuple(
        (spec.name, model, reason, str(count))
        for spec in view.config.attacks
        for model in view.config.models
        for reason, count in reasons(view.of(model, spec), judge)[:_MOST_REASONS]
    )
    columns = ("Attack", "Model", "Reason", "behaviors")
    return (Table("Why answers are missing", columns, rows, name="reasons"),) if rows else ()


def _beside(view: _View) -> Table:
    """The paper's cells for the models that ours stand for."""
    judge = view.config.judges[0]
    rows: list[tuple[Cell | str, ...]] = []
    for spec in view.config.attacks:
        for model, name in view.config.paper_models.items():
            theirs = reported(spec.attack, name, spec.adaptive)
            if theirs and model in view.config.models:
                cells = [f"{data} {own} / {strict}" for data, (own, strict) in theirs.items()]
                ours = rate_cell(view.outcomes(model, spec, judge), more=view.any_of(spec))
                rows.append((spec.name, name, "; ".join(cells), model, ours))
    return Table(
        title="Reported and measured",
        columns=("Attack", "Model of the paper", "Reported, %", "Our model", "Measured ASR"),
        rows=tuple(rows),
        name="paper",
    )


def _by_budget(view: _View) -> Table:
    judge = view.config.judges[0]
    most = max((attempt["target_calls"] for records in view.records.values() for row in records
                for attempt in row["attempts"]), default=1)  # fmt: skip
    budgets = [2**power for power in range(most.bit_length())]
    budgets += [most] if most not in budgets else []
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
        name="budget",
    )


def _settings(view: _View) -> dict[str, str]:
    config = view.config
    return {
        "helpers": json.dumps(config.helpers),
        "judges": ", ".join(config.judges),
        "budget of each attack and behavior": config.budget.model_dump_json(exclude_none=True),
        "decoding, changes of the family's": json.dumps(config.decoding),
        "seed": str(config.seed),
        **{f"attack: {spec.name}": view.settings_of(spec) for spec in config.attacks},
    }
