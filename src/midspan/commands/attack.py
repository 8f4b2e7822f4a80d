"""``midspan attack``: attacks on a model, judged, with tables and a report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from midspan.commands.choice import Decoding, with_decoding
from midspan.commands.choices import ATTACKS, chosen
from midspan.commands.ends import Run, command_line, expected_responses, next_audit
from midspan.commands.names import (
    A_HELPER,
    A_JUDGE,
    A_SET,
    checked_calibration,
    checked_path,
)
from midspan.commands.options import (
    Column,
    ConfigFile,
    Executor,
    FailFast,
    Model,
    Output,
    Seed,
    end_with,
    quiet,
    read_config,
)
from midspan.errors import MidspanError
from midspan.yaml_file import group_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from midspan.runs.executors import How
    from midspan.studies.redteam.config import RedteamConfig
    from midspan.studies.redteam.prepare import PreparedRedteam

_MOST_NAMES = 3
_MOST_REASONS = 3  # of a cell

Judges = Annotated[
    list[str] | None,
    typer.Option(
        "--judge",
        help="exact, exact-strongreject, exact-forms, refusal-keywords, xstest-strmatch, "
        "harm=MODEL, strongreject=MODEL, xstest=MODEL, harmbench-cls, llama-guard, or "
        "strongreject, pair or harmbench=MODEL:rubric=FILE of a published rubric; several times "
        "for several.",
        **A_JUDGE,
    ),
]
Helper = Annotated[
    str | None,
    typer.Option(
        help="organism or organism2 (scripted), openai:NAME, URL#NAME or a diffusion model.",
        **A_HELPER,
    ),
]
Proxy = Annotated[str | None, typer.Option(help="Model whose gradients PAL takes.", **A_HELPER)]
Calibrations = Annotated[
    list[str] | None,
    typer.Option(
        "--calibration",
        help="JUDGE=FILE of midspan judge calibrate; corrects its ASR.",
        callback=checked_calibration,
    ),
]
Behaviors = Annotated[
    str | None,
    typer.Option(
        help="organism:N, organism2:N, a data set such as advbench:100, or a file.", **A_SET
    ),
]
AttackJobs = Annotated[
    int | None,
    typer.Option(
        help="Processes or Ray tasks at a time; 1, on Ray as many as it has GPUs, or cores for "
        "the organism.",
        min=1,
    ),
]
TargetCalls = Annotated[
    int | None, typer.Option(help="Target responses an attack may cost a behavior.", min=1)
]


def attack(
    model: Model,
    method: Annotated[list[str] | None, chosen(ATTACKS, "Attack, repeatable")] = None,
    replay: Annotated[
        str | None,
        typer.Option(
            help="Finished red-team run, or JailbreakBench artifact (.json), whose attempts are "
            "asked of this model.",
            callback=checked_path,
        ),
    ] = None,
    behaviors: Behaviors = None,
    column: Column = None,
    adaptive: Annotated[
        bool, typer.Option("--adaptive", help="The variant aimed at the response's middle.")
    ] = False,
    attacker: Helper = None,
    evaluator: Helper = None,
    translator: Helper = None,
    judge: Judges = None,
    proxy: Proxy = None,
    budget: TargetCalls = None,
    config: ConfigFile = None,
    calibration: Calibrations = None,
    decoding: Decoding = None,
    seed: Seed = None,
    jobs: AttackJobs = None,
    executor: Executor = "processes",
    output: Output = Path("runs/attack"),
    fail_fast: FailFast = False,
) -> None:
    """Attack one model and judge what came of it; the same command continues a run.

    Fields of an attack's config go into the file of --config, under its name. On the organism the
    attacks have its small sizes and its language, elsewhere their papers' defaults. Behaviors and
    judges must be named there.
    """
    own = read_config(config)
    from midspan.frozen import merged
    from midspan.runs.executors import How
    from midspan.studies.redteam.config import RedteamConfig
    from midspan.studies.redteam.presets import redteam_fields, replayed

    if not method and replay is None:
        raise MidspanError("--method: name an attack, or a finished run by --replay")
    quiet()
    base = redteam_fields(model, tuple(method or ()), adaptive, own)
    if replay is not None:
        base, left_out = replayed(base, own, replay)
        for line in left_out:
            typer.echo(f"not replayed: {line}")
    changes = _changes(behaviors, judge, budget, seed, calibration)
    given = {"attacker": attacker, "evaluator": evaluator, "translator": translator}
    named = {name: spec for name, spec in given.items() if spec is not None}
    changes |= {
        "helpers": group_of(base, "helpers") | named,
        "proxies": (proxy,) if proxy else None,
    }
    changes["column"] = tuple(column) if column else None
    fields = merged(base, {name: value for name, value in changes.items() if value is not None})
    fields = with_decoding(fields, decoding, fields["models"])
    _check_judged(fields)
    how = How(command_line(), jobs, fail_fast, executor)
    run_and_print(RedteamConfig.model_validate(fields), output, how.or_one)


def _check_judged(fields: "Mapping[str, Any]") -> None:
    """Refuse requests without a judge, by an example that can judge them."""
    from midspan.organism.worlds import world_of

    if fields.get("judges") or "behaviors" not in fields:
        return
    if world_of(str(fields["behaviors"])):
        one = "exact, which counts the facts of an organism's requests"
    else:
        one = "strongreject=MODEL, which asks a model how far a response helps"
    raise MidspanError(f"--judge: name one, such as {one}")


def _changes(
    behaviors: str | None,
    judge: list[str] | None,
    budget: int | None,
    seed: int | None,
    calibration: list[str] | None,
) -> dict[str, Any]:
    pairs = [entry.rpartition("=") for entry in calibration or ()]
    return {
        "behaviors": behaviors,
        "judges": tuple(judge) if judge else None,
        "budget": {"target": budget} if budget else None,
        "seed": seed,
        "calibrations": {name: file for name, _, file in pairs} or None,
    }


def _what(config: "RedteamConfig", prepared: "PreparedRedteam") -> str:
    count = len(config.attacks)
    rows = (
        f"{count} attacks" if count > _MOST_NAMES else " and ".join(r.name for r in config.attacks)
    )
    return (
        f"Attacks {' and '.join(config.models)} by {rows}; {len(prepared.behaviors)} behaviors, "
        f"judged by {config.judges[0]}"
    )


def _most(config: "RedteamConfig", prepared: "PreparedRedteam") -> str:
    """The most responses that the budgets allow; the time left follows while it runs."""
    from midspan.studies.paper.part_forecasts import costs_of

    try:
        each = sum(cost.generations for cost in costs_of(prepared))
    except MidspanError:  # An attack that does not say what it costs.
        return ""
    most = each * len(prepared.behaviors) * len(config.models)
    return expected_responses(most, config.models)


def run_and_print(config: "RedteamConfig", output: Path, how: "How") -> None:
    """Run a red-team study, and print every cell.

    Raises:
        typer.Exit: With status 1, where a role never answered or an attack's own code raised.
    """
    from midspan.engine.outcomes import Outcomes, reasons
    from midspan.studies.redteam.prepare import prepare
    from midspan.studies.redteam.shares import run_shared

    prepared = prepare(config)
    run = Run(_what(config, prepared), output, _most(config, prepared))
    done = run_shared(prepared, output, how)
    judge = config.judges[0]
    width = max(len(spec.name) for spec in config.attacks)
    for (model, label), records in done.cells.items():
        typer.echo(f"{label:{width}}  {model}  {Outcomes.from_records(records, judge)}")
        for reason, count in reasons(records, judge)[:_MOST_REASONS]:
            typer.echo(f"{'':{width}}  {count} x {reason}")
    run.end(done.report, *next_audit(config.models[0]))
    end_with(done.problems)
