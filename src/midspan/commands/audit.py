"""``midspan audit``: how safe one model is, by what its attacker may do, on one page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from midspan.commands.attack import Behaviors, Helper, Judges, Proxy
from midspan.commands.choice import Decoding, with_decoding
from midspan.commands.choices import LEVELS, RULES, TIERS, check_rule, chosen, completing
from midspan.commands.ends import Run, command_line, given_words, next_audit
from midspan.commands.estimates import dry_run as dry_run_of
from midspan.commands.estimates import on_two_cores
from midspan.commands.names import A_SET
from midspan.commands.options import (
    Column,
    ConfigFile,
    Executor,
    FailFast,
    Jobs,
    Model,
    Output,
    Seed,
    end_with,
    quiet,
    read_config,
)
from midspan.yaml_file import group_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from midspan.runs.executors import How
    from midspan.studies.audit.config import AuditConfig
    from midspan.studies.audit.parts import NotRun
    from midspan.studies.audit.schema import Audit, Missing

# What a gate that was not passed ends with; 1 is a doubtful run, 2 bad input.
GATE_STATUS = 3

Tier = Annotated[str, chosen(TIERS, "How much is run")]
Defences = Annotated[
    list[str] | None,
    typer.Option(
        "--defence",
        help="Rule, or name under defences in the file; repeatable.",
        autocompletion=completing(RULES),
    ),
]
Examples = Annotated[
    str | None,
    typer.Option(
        help="Requests and answers, a file: fine-tuning as an attack trains on them.",
        **A_SET,
    ),
]
Benign = Annotated[
    str | None,
    typer.Option(
        help="Harmless requests that should be answered, read as behaviors are.",
        **A_SET,
    ),
]
FailAbove = Annotated[
    float | None,
    typer.Option(help="End with status 3 where more than so many percent fall.", min=0, max=100),
]
FailLevel = Annotated[
    str | None,
    chosen(LEVELS, "Access at which --fail-above is decided, infill by default"),
]
StopEarly = Annotated[
    bool | None,
    typer.Option(help="Ask for no behavior again that has fallen (default)."),
]
DryRun = Annotated[
    bool, typer.Option(help="Say what it would take at most, from rates measured here, and stop.")
]


def audit(
    model: Model,
    tier: Tier = "quick",
    defence: Defences = None,
    behaviors: Behaviors = None,
    column: Column = None,
    judge: Judges = None,
    attacker: Helper = None,
    evaluator: Helper = None,
    translator: Helper = None,
    proxy: Proxy = None,
    examples: Examples = None,
    benign: Benign = None,
    fail_above: FailAbove = None,
    fail_level: FailLevel = None,
    stop_early: StopEarly = None,
    decoding: Decoding = None,
    dry_run: DryRun = False,
    jobs: Jobs = None,
    executor: Executor = "processes",
    config: ConfigFile = None,
    seed: Seed = None,
    output: Output = Path("runs/audit"),
    fail_fast: FailFast = False,
) -> None:
    """Attack a model at every access level, and say on one page how safe it is.

    On the organism everything has a default. For other models behaviors and a judge must be
    named, and attacks that need a helper are run where one is named. The same command continues an
    interrupted audit.
    """
    from midspan.frozen import merged
    from midspan.runs.executors import How
    from midspan.studies.audit.config import AuditConfig
    from midspan.studies.audit.presets import audit_fields

    own = read_config(config)
    for name in defence or ():
        check_rule(name, "--defence", group_of(own, "defences"))
    quiet()
    given = {"attacker": attacker, "evaluator": evaluator, "translator": translator}
    changes = {
        "behind": tuple(defence) if defence else None,
        "behaviors": behaviors,
        "column": tuple(column) if column else None,
        "judges": tuple(judge) if judge else None,
        "helpers": {name: spec for name, spec in given.items() if spec is not None} or None,
        "proxies": (proxy,) if proxy else None,
        "examples": examples,
        "over_refusal": {"benign": benign} if benign else None,
        "fail_above": fail_above,
        "fail_level": fail_level,
        "stop_early": stop_early,
        "seed": seed,
    }
    named = {name: value for name, value in changes.items() if value is not None}
    fields = audit_fields(model, tier, merged(own, named))
    fields = with_decoding(fields, decoding, [model])
    validated = AuditConfig.model_validate(fields)
    if dry_run:
        _forecast(validated)
    else:
        _run(validated, output, How(command_line(), jobs, fail_fast, executor))


def _forecast(config: "AuditConfig") -> None:
    from midspan.studies.audit.forecast import NOTE, forecast
    from midspan.studies.audit.prepare import prepare

    prepared = prepare(config)
    _say_missing(prepared.not_run)
    dry_run_of(f"the audit of {config.model}", lambda: forecast(prepared), NOTE)


def _run(config: "AuditConfig", output: Path, how: "How") -> None:
    from midspan.studies.audit.run import run_audit
    from midspan.studies.audit.words import battery, counted

    tests = f"Audits {config.target} by {counted(len(config.attacks))}, {battery(config.tier)}"
    known = on_two_cores(*given_words()[1:])
    run = Run(tests, output, known or "--dry-run says the most that it can take")
    done = run_audit(config, output, how)
    if done.audit is not None:
        _print(done.audit)
    run.end(done.report, *next_audit(config.model, aligned=True))
    end_with(done.problems)
    if done.audit is not None and done.audit.gate is not None and done.audit.gate.failed:
        gate = done.audit.gate
        typer.echo(
            f"midspan: {gate.measured:.1f} % fell at {gate.access} access; --fail-above allows "
            f"{gate.limit:g} %",
            err=True,
        )
        raise typer.Exit(GATE_STATUS)


def _print(audit: "Audit") -> None:
    from midspan.studies.audit.words import tried

    typer.echo(f"{audit.model}: {audit.in_short}")
    for level in audit.levels:
        rate = level.worst_case
        typer.echo(f"  {level.access:10}{rate.percent:>16}  {rate.note}, {tried(level.attacks)}")
    _say_missing([one for one in audit.not_run if one.needed])


def _say_missing(missing: "Iterable[Missing | NotRun]") -> None:
    groups: dict[str, list[str]] = {}
    for one in missing:
        groups.setdefault(one.reason, []).append(one.what)
    for reason, names in groups.items():
        typer.echo(f"  not run: {', '.join(names)} ({reason})")
