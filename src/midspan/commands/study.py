"""``midspan study``: a whole comparison from one configuration, resumable, with one report."""

from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any

import typer

from midspan.commands.choice import Decoding, decoded
from midspan.commands.choices import STUDIES, check_parts, one_of
from midspan.commands.ends import Run, command_line
from midspan.commands.options import (
    ConfigFile,
    Executor,
    FailFast,
    Jobs,
    Output,
    configure,
    end_with,
    quiet,
    read_config,
)
from midspan.errors import MidspanError

if TYPE_CHECKING:
    from midspan.runs.executors import How

Preset = Annotated[
    str,
    typer.Option(
        help="paper (LLaDA-8B), organism (the same on the organism), organism-redteam, "
        "organism-native, organism-words, organism-weights, objectives, recovery-alignment, "
        "ablations, samplers, pieces, demo, demo-full or demo-smoke.",
        callback=one_of(STUDIES),
    ),
]


def study(
    preset: Preset = "organism",
    config: ConfigFile = None,
    show: Annotated[
        bool, typer.Option("--print-config", help="Print the whole configuration, and stop.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(help="Say what it would take, from rates measured here, and stop."),
    ] = False,
    pilot: Annotated[
        int | None,
        typer.Option(
            help="Of a dry run: attack so many behaviors to see how early attacks stop; 0, on the "
            "organism 4.",
            min=0,
        ),
    ] = None,
    parts: Annotated[
        list[str] | None,
        typer.Option("--part", help="Of paper and organism: run this part alone; repeatable."),
    ] = None,
    decoding: Decoding = None,
    jobs: Jobs = None,
    executor: Executor = "processes",
    output: Output = Path("runs/study"),
    fail_fast: FailFast = False,
) -> None:
    """Run a whole study; the same command continues it.

    --config changes fields of the preset; a part or recipe set to null is left out. --decoding is
    for attacks; of a whole paper it is chosen on the base model.
    --print-config writes the configuration in full, to be edited and given back.
    """
    from midspan.commands.attack import run_and_print
    from midspan.runs.executors import How
    from midspan.studies.redteam.config import RedteamConfig
    from midspan.studies.registry import preset_config, study_of

    check_parts(preset, parts or (), read_config(config))
    quiet()
    how = How(command_line(), jobs, fail_fast, executor)
    chosen = configure(preset_config(preset), config, {})
    kind = study_of(chosen)
    assert kind is not None
    if decoding is not None:
        chosen = decoded(chosen, decoding, preset)
    if show:
        import yaml

        fields = chosen.model_dump(mode="json")
        typer.echo(yaml.safe_dump(fields, sort_keys=False, allow_unicode=True), nl=False)
    elif kind.has_parts:
        if dry_run:
            _forecast(chosen, output, parts or [], pilot)
        else:
            _run_paper(chosen, output, parts or [], how)
    elif dry_run:
        raise MidspanError(f"--dry-run: {preset} is a study without parts")
    elif isinstance(chosen, RedteamConfig):
        run_and_print(chosen, output, how.or_one)
    elif jobs or how.on_ray:
        raise MidspanError(f"--jobs, --executor: {preset} is a study without parts")
    else:
        run = Run(f"Runs the study {preset}", output, "every stage says the time left")
        done = resolve_name(kind.run)(chosen, output, command_line())
        run.end(done.report)


def _forecast(config: Any, output: Path, parts: list[str], pilot: int | None) -> None:
    from midspan.report.tables import table_text
    from midspan.studies.paper.forecast import forecast, forecast_table

    table = forecast_table(forecast(config, output, parts, pilot))
    typer.echo(f"{table_text(table)}\n\n{table.caption}")


def _run_paper(config: Any, output: Path, parts: list[str], how: "How") -> None:
    from midspan.studies.paper.run import run_parts

    names = parts or [*config.recipes, *config.parts]
    dry = "--dry-run says how long; every stage says the time left"
    run = Run(f"Runs {len(names)} parts of the study of {config.base}", output, dry)
    done = run_parts(config, output, how, parts)
    if done.report is None:
        typer.echo(f"Still to be run: {', '.join(done.missing)}")
    else:
        run.end(done.report)
    end_with(done.problems)
