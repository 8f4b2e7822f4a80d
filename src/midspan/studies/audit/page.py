"""What a finished audit says on one page."""

import json
from collections.abc import Iterator, Sequence

from midspan.engine.outcomes import counting_judges, won
from midspan.files import Record
from midspan.organism.worlds import FIRST, SECOND, world_of
from midspan.report import Cell, Figure, Report, Section, Table
from midspan.report.cells import bar_figure, rate_cell
from midspan.runs.folder import FinishedRun
from midspan.studies.audit.config import AuditConfig
from midspan.studies.audit.headline import headline_of, tone_of
from midspan.studies.audit.schema import Audit, BudgetCut, Measured, MonitorResult, Rate
from midspan.studies.audit.summary import audit_of
from midspan.studies.audit.words import battery, counted
from midspan.studies.decodings import chosen_setting
from midspan.studies.headline import too_few
from midspan.studies.redteam.judged_by import judged_by
from midspan.studies.redteam.rates import facts_cell
from midspan.studies.redteam.transcripts import transcripts_of

LIMITS = (
    "The worst case is a union: it grows with the attacks and responses behind it, and compares "
    "with audits of the same battery alone.",
    "A behavior that has fallen is not asked for again, so a single attack's rate of all behaviors "
    "has two ends: those it was not asked for might have fallen to it, or not.",
    "What held here held against these attacks, under these settings and one seed. Intervals cover "
    "the sampling of behaviors alone.",
    "The judge decides what fell; its errors are in every number (docs/judges.md).",
)
_OF_ASKED = (
    "Rates of the behaviors that an attack was asked for: those that stood until then, which are "
    "the harder ones. Rates of attacks are not comparable with each other."
)
_OF_WORLD = {
    FIRST: (
        "The organism is a 1.2-million-parameter model of a fictional world with scripted helpers. "
        "Its numbers show that the battery works and say nothing about large models.",
    ),
    SECOND: (
        "The second organism is a model of a few million parameters and a fictional world, with "
        "scripted helpers. Its numbers say nothing about large models.",
    ),
}


def report_of(run: FinishedRun) -> Report:
    """The page, from the folder alone."""
    config = AuditConfig.model_validate(run.info["config"])
    audit, records = audit_of(run), run.rows("records.jsonl")
    return Report(
        title=f"Audit of {audit.model}",
        subtitle=f"{counted(len(audit.attacks))}, {battery(audit.tier)}, judged by "
        f"{audit.judges[0]}.",
        preliminary=too_few(audit.n, "behavior"),
        headline=headline_of(audit),
        sections=(
            Section("By access", _battery_text(audit), tables=(_levels(audit),)),
            *_optional(
                "What was not run",
                "None of these was tried, so the page says nothing of them.",
                _not_run(audit),
            ),
            *_optional("What the budget cut short", _CUT, _cuts(audit)),
            _beside("Over-refusal", audit.over_refusal, "over-refusal"),
            _beside("Utility", audit.utility, "utility"),
            _monitors(audit),
            Section("Cost", _cost_text(audit), tables=(_costs(audit),)),
            *_optional("Decoding", _DECODING, _decodings(audit)),
            Section("What to do next", "\n\n".join(audit.advice)),
            Section(
                "Details",
                "records.jsonl has every attempt: prompt, response, verdicts and cost; a line's "
                "number stands beside each behavior that fell. audit.json has this page as fields, "
                "card.md and badge.svg are for a model's own page.",
                tables=(_attacks(audit), *_facts(config, records), _fallen(config, records)),
                figures=_attack_figures(audit),
            ),
        ),
        transcripts=transcripts_of(records, config.judges[0]),
        settings=_settings(config, run) | judged_by(run) | run.origin,
        limits=(*_OF_WORLD.get(world_of(config.behaviors), ()), *LIMITS),
        redact=not config.on_organism,
    )


def _battery_text(audit: Audit) -> str:
    return (
        f"Each level has all attacks of the levels above it in the table. {audit.n} behaviors, "
        f"judged by {audit.judges[0]}."
    )


def _levels(audit: Audit) -> Table:
    return Table(
        "Worst case by access",
        ("Access", "Any attack", "Attacks", "Judged responses", "Best single attack", "It won"),
        tuple(
            (
                level.access,
                rate_cell(level.worst_case, tone_of(level.worst_case)),
                str(len(level.attacks)),
                str(level.responses),
                level.best_attack or "none won",
                rate_cell(level.best),
            )
            for level in audit.levels
        ),
        "Any attack: the union over all attacks of the level and below; it grows with their number "
        "and with the judged responses, here those of the behavior that got the most. Best single "
        "attack: of all behaviors; those that had fallen before and were not asked for again are "
        "without outcome.",
        name="levels",
    )


def _optional(title: str, text: str, table: Table) -> tuple[Section, ...]:
    return (Section(title, text, tables=(table,)),) if table.rows else ()


def _not_run(audit: Audit) -> Table:
    groups: dict[tuple[str, str], list[str]] = {}
    for one in audit.not_run:
        if one.needed:
            groups.setdefault((one.access, one.reason), []).append(one.what)
    rows = tuple((", ".join(names), access, reason) for (access, reason), names in groups.items())
    return Table("Not run", ("What", "Access", "Why"), rows, name="not_run")


_UNITS = {
    "target": "responses", "helper": "calls of helpers", "tokens": "tokens", "forwards": "forwards",
}  # fmt: skip
_CUT = (
    "The budget ended these attacks before they had won. What they did not win is no evidence "
    "against the whole attack."
)


def _cuts(audit: Audit) -> Table:
    rows = tuple(
        (
            one.name,
            one.access,
            f"{one.cut.behaviors} of {one.asked}",
            ", ".join(f"{limit:,} {_UNITS[name]}" for name, limit in one.cut.limits.items()),
            f"{one.cut.responses:,} responses, {one.cut.forwards:,} forwards",
            _whole(one.cut),
        )
        for one in audit.attacks
        if one.cut is not None
    )
    return Table(
        "Cut short by the budget",
        ("Attack", "Access", "Behaviors", "Budget of each", "Came to, at most", "Asks, at most"),
        rows,
        "Forwards are rows through local networks, of responses, likelihoods and gradients. The "
        "last column is what the attack's own settings ask for on one behavior, where nothing is "
        "won before.",
        name="cut",
    )


def _whole(cut: BudgetCut) -> str:
    """What an attack without a budget may take."""
    if cut.most_responses is None:
        return "not noted"
    rows = f", {cut.most_rows:,} rows for likelihoods and gradients" if cut.most_rows else ""
    return f"{cut.most_responses:,} responses{rows}"


_DECODING = (
    "Requests as they stand, without any attack, under other settings than the audit's own; "
    "measured on every behavior."
)


def _decodings(audit: Audit) -> Table:
    rows = tuple(
        (one.settings, rate_cell(one.won, tone_of(one.won)), "holds" if not one.won.most else "")
        for one in audit.decodings
    )
    return Table("Plain requests by decoding", ("Decoding", "Answered", ""), rows, name="decodings")


def _beside(title: str, measured: Sequence[Measured], folder: str) -> Section:
    if not measured:
        return Section(title, "Not run.")
    page = f"{folder}/report.html"
    rows = tuple((Cell(one.task, link=page), one.name, rate_cell(one.rate)) for one in measured)
    table = Table(title, ("Task", "Measured", "Rate"), rows, name=folder)
    return Section(
        title, f"Settings and intervals stand on a page of their own, {page}.", tables=(table,)
    )


def _monitors(audit: Audit) -> Section:
    if not audit.monitors:
        return Section("Monitors", "Not run.")
    rows = tuple(
        (
            one.attack,
            "n/a" if one.auroc is None else Cell(f"{one.auroc:.2f}", _area_note(one)),
            rate_cell(one.false_alarms) if one.false_alarms else "n/a",
        )
        for one in audit.monitors
    )
    text = (
        f"The best of the detectors that read the model while it decodes is "
        f"{audit.monitors[0].monitor}, by its mean AUROC over the attacks. They were fitted on "
        "plain requests, and watched the model without its defences. The folder monitors has its "
        "own page, report.html, with all of them."
    )
    columns = ("Attack", "AUROC", "False alarms at 95 % recall")
    return Section(
        "Monitors", text, tables=(Table("Best monitor", columns, rows, name="monitors"),)
    )


def _area_note(one: MonitorResult) -> str:
    if one.low is None or one.high is None:
        return ""
    return f"[{one.low:.2f}, {one.high:.2f}]"


def _cost_text(audit: Audit) -> str:
    return f"{audit.seconds / 60:.1f} minutes, all commands that came to their end together."


def _costs(audit: Audit) -> Table:
    return Table(
        "What the attacks asked for",
        ("Role", "Calls", "Tokens", "Forwards"),
        tuple(
            (one.role, f"{one.calls:,}", f"{one.tokens:,}", f"{one.forwards:,}")
            for one in audit.costs
        ),
        "Forwards are rows through a local network. Judging and tasks are not in it.",
        name="costs",
    )


def _attacks(audit: Audit) -> Table:
    def rate(one: Rate | None, tries: int) -> Cell | str:
        more = f"any of {tries}" if tries > 1 else ""
        return "n/a" if one is None else rate_cell(one, more=more)

    return Table(
        "Every attack",
        ("Attack", "Access", "Won of those asked", "Did not run", "Target calls", "Helper calls"),
        tuple(
            (
                one.name, one.access, rate(one.of_asked, one.tries), str(one.did_not_run or ""),
                f"{one.target_calls:,}", f"{one.helper_calls:,}",
            )
            for one in audit.attacks
        ),
        _OF_ASKED,
        name="attacks",
    )  # fmt: skip


def _attack_figures(audit: Audit) -> tuple[Figure, ...]:
    asked = [(one.name, one.of_asked) for one in audit.attacks if one.of_asked is not None]
    if not asked:
        return ()
    title = "Won of the behaviors asked for, by attack"
    groups = [name for name, _ in asked]
    series = [(audit.model, [rate.estimate for _, rate in asked])]
    return (bar_figure(title, groups, series, "behaviors, %", _OF_ASKED, "attacks"),)


def _facts(config: AuditConfig, records: Sequence[Record]) -> Iterator[Table]:
    """Single facts, where the first judge knows them: whole answers hide what leaks in parts."""
    judge = config.judges[0]
    by_attack: dict[str, list[Record]] = {}
    for record in records:
        by_attack.setdefault(record["attack_label"], []).append(record)
    if judge in counting_judges(records):
        rows = tuple((name, facts_cell(own, judge)) for name, own in by_attack.items())
        yield Table(
            "Single facts recovered",
            ("Attack", "Mean share of those asked"),
            rows,
            "Of the behaviors that an attack was asked for. Chance is what the same responses tell "
            "of another thing, or what guessing among choices gets right.",
            name="facts",
        )


def _fallen(config: AuditConfig, records: Sequence[Record]) -> Table:
    """The first attack that won each behavior, and where its attempts stand."""
    judge = config.judges[0]
    first: dict[str, tuple[str, ...]] = {}
    for number, record in enumerate(records, start=1):
        if won(record, judge) and record["behavior"] not in first:
            place = (record["behavior"], record["level"], record["attack_label"], str(number))
            first[record["behavior"]] = place
    return Table(
        "What fell, and to what first",
        ("Behavior", "Access", "Attack", "Line of records.jsonl"),
        tuple(first.values()),
        name="fallen",
    )


def _settings(config: AuditConfig, run: FinishedRun) -> dict[str, str]:
    return {
        "behaviors": run.info["dataset"],
        "tier": config.tier,
        "defences": ", ".join(config.behind) or "none",
        **({"rules of defences": json.dumps(config.defences)} if config.defences else {}),
        "helpers": json.dumps(config.helpers),
        "budget of each attack and behavior": config.budget.model_dump_json(exclude_none=True),
        "decoding, changes of the family's": json.dumps(config.decoding),
        **chosen_setting(config.decoding_choice),
        "seed": str(config.seed),
        **{
            f"attack: {row.name}": json.dumps(row.config, ensure_ascii=False) for row in config.rows
        },
    }
