"""What a finished red-team study says: rates, pairs, costs, the paper beside; and its trials."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain

from midspan.engine.budget import Usage
from midspan.engine.outcomes import (
    Outcomes,
    counting_judges,
    facts,
    reasons,
    score,
    scoring_judges,
    won,
)
from midspan.engine.problems import lost_tokens
from midspan.organism.worlds import FIRST, SECOND
from midspan.report import Cell, Report, Section, Table
from midspan.report.cells import rate_cell
from midspan.runs.compare import Trial
from midspan.runs.folder import FinishedRun
from midspan.studies.decodings import chosen_setting
from midspan.studies.headline import listed, too_few
from midspan.studies.paper_values import reported
from midspan.studies.redteam.config import AttackSpec, RedteamConfig
from midspan.studies.redteam.headline import (
    asr_figure,
    behaviors_of,
    budget_figures,
    headline_of,
)
from midspan.studies.redteam.judged_by import judged_by
from midspan.studies.redteam.rates import (
    asr_table,
    budget_table,
    corrected_table,
    facts_table,
    pair_table,
    score_table,
)
from midspan.studies.redteam.replay import REPLAY, REPLAYS_FILE, transfer_table
from midspan.studies.redteam.transcripts import transcripts_of
from midspan.studies.redteam.view import View

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
_SECOND_LIMITS = (
    "The second organism is a model of a few million parameters and a fictional world, and its "
    "attacker, evaluator and translator are scripts. Its rates say nothing about an 8B model.",
    "Behaviors ask for different works of 16 nouns; alignment saw 11 of the 16 of each noun.",
)
_LIMITS = (
    "The paper states neither prompts, helpers, budgets nor decoding, so its cells are no target: "
    "they stand beside ours for orientation.",
    "One seed of attack and decoding. Intervals cover the sampling of behaviors alone.",
)


def trials_of(run: FinishedRun) -> Iterator[Trial]:
    """What every attack came to by the first judge, and scores and facts of judges with any.

    Under other helpers it is another attack.
    """
    config = RedteamConfig.model_validate(run.info["config"])
    leading = config.judges[0]
    budgets = {spec.name: spec.budget or config.budget for spec in config.attacks}
    records = run.rows("records.jsonl")
    scoring, counting = scoring_judges(records), counting_judges(records)
    for record in records:
        roles = record["roles"].items()
        settings = {
            "attack": record["config"],
            "budget": budgets[record["attack_label"]].model_dump(),
            "decoding": config.decoding,
            "roles": {name: role for name, role in roles if name not in ("target", "proxy")},
        }
        asked = (record["behavior"], record["request"])
        cell = (record["model"], record["attack_label"])
        yield Trial((*cell, f"ASR by {leading}"), *asked, won(record, leading), settings)
        for judge in scoring:
            place = (*cell, f"mean score by {judge}")
            yield Trial(place, *asked, None, settings, score(record, judge))
        for judge in counting:
            place = (*cell, f"mean share of facts by {judge}")
            yield Trial(place, *asked, None, settings, facts(record, judge))


def report_of(run: FinishedRun) -> Report:
    """The page of a finished study, from its folder alone."""
    view = View.open(run)
    config = view.config
    scripted = config.helpers.values()
    limits = (
        *(_ORGANISM_LIMITS if FIRST in scripted else ()),
        *(_SECOND_LIMITS if SECOND in scripted else ()),
        *_LIMITS,
    )
    return Report(
        title=f"Attacks on {_named(config.models)}",
        subtitle=f"{listed(spec.name for spec in config.attacks)}, judged by "
        f"{listed(config.judges)}.",
        preliminary=too_few(behaviors_of(view), "behavior"),
        headline=headline_of(view),
        sections=(
            Section(
                "Attack success",
                "ASR is the share of behaviors won, with its 95 % Wilson interval. Where an "
                "outcome is missing, or a behavior was lost while a helper's answers were missing, "
                "the cell says from what to what the rate may be. Access is the most that the "
                "attack used of the target.",
                tables=(
                    *(asr_table(view, judge) for judge in config.judges),
                    *(corrected_table(view, judge) for judge in view.calibrations),
                    *(score_table(view, judge) for judge in view.scoring_judges),
                    *(facts_table(view, judge) for judge in view.counting_judges),
                    budget_table(view),
                ),
                figures=(asr_figure(view), *budget_figures(view)),
            ),
            *_transfer(view, run),
            *_pairs(view),
            Section(
                "Cost and failures",
                "Means over behaviors. What did not run or could not be judged is neither won "
                "nor lost.",
                tables=(_costs(view), _failures(view), *_reasons(view)),
            ),
            *_beside(view),
        ),
        transcripts=transcripts_of(
            [row for rows in view.records.values() for row in rows], config.judges[0]
        ),
        settings={"behaviors": run.info["dataset"]} | _settings(view) | judged_by(run) | run.origin,
        limits=limits,
        redact=not config.on_organism,
    )


def _named(models: Sequence[str]) -> str:
    return listed(models) if len(models) < 3 else f"{len(models)} models"


def _pairs(view: View) -> tuple[Section, ...]:
    if len(view.config.models) < 2:
        return ()
    told = (
        "Difference of ASR on the same behaviors, with Bonett and Price's 95 % interval, the exact "
        "p of McNemar's test, and that p after Holm's correction for all tests of the table."
    )
    return (Section("Against the first model", told, tables=(pair_table(view),)),)


def _transfer(view: View, run: FinishedRun) -> tuple[Section, ...]:
    if all(spec.attack != REPLAY for spec in view.config.attacks):
        return ()
    table = transfer_table(run.rows(REPLAYS_FILE), view.records, view.config.judges[0])
    told = "Attempts of an earlier run, asked again: how many of its successes are successes here."
    return (Section("Transfer", told, tables=(table,)),)


def _costs(view: View) -> Table:
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
        rows=tuple(row(spec, model) for spec, model in view.cells),
        caption="Target calls hold likelihoods and gradients too; the budget limits responses."
        + lost_tokens(chain.from_iterable(view.records.values())),
        name="costs",
    )


def _failures(view: View) -> Table:
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
        rows=tuple(row(spec, model) for spec, model in view.cells),
        name="failures",
    )


def _reasons(view: View) -> tuple[Table, ...]:
    """Why answers are missing; no table where none are."""
    judge = view.config.judges[0]
    rows = tuple(
        (spec.name, model, reason, str(count))
        for spec, model in view.cells
        for reason, count in reasons(view.of(model, spec), judge)[:_MOST_REASONS]
    )
    columns = ("Attack", "Model", "Reason", "behaviors")
    return (Table("Why answers are missing", columns, rows, name="reasons"),) if rows else ()


def _beside(view: View) -> tuple[Section, ...]:
    """The paper's cells for the models that ours stand for."""
    if not view.config.paper_models:
        return ()
    judge = view.config.judges[0]
    rows: list[tuple[Cell | str, ...]] = []
    for spec in view.config.attacks:
        for model, name in view.config.paper_models.items():
            theirs = reported(spec.attack, name, spec.adaptive)
            if theirs and model in view.config.models:
                cells = [f"{data} {own} / {strict}" for data, (own, strict) in theirs.items()]
                ours = rate_cell(view.outcomes(model, spec, judge))
                rows.append((spec.name, name, "; ".join(cells), model, ours))
    table = Table(
        title="Reported and measured",
        columns=("Attack", "Model of the paper", "Reported, %", "Our model", "Measured ASR"),
        rows=tuple(rows),
        name="paper",
    )
    told = "Reported: its own judge / StrongREJECT. Measured: the first judge."
    return (Section("Beside the paper", told, tables=(table,)),)


def _settings(view: View) -> dict[str, str]:
    config = view.config
    return {
        "helpers": json.dumps(config.helpers),
        "budget of each attack and behavior": config.budget.model_dump_json(exclude_none=True),
        "decoding, changes of the family's": json.dumps(config.decoding),
        **chosen_setting(config.decoding_choice),
        "seed": str(config.seed),
        **{f"attack: {spec.name}": view.settings_of(spec) for spec in config.attacks},
    }
