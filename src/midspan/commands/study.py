"""``midspan study``: a whole comparison from one configuration, resumable, with one report."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from midspan.commands.options import ConfigFile, command_line, configure, quiet
from midspan.errors import MidspanError, not_one_of

if TYPE_CHECKING:
    from midspan.study.organism.objectives.config import ObjectivesConfig
    from midspan.study.paper.config import PaperConfig

Preset = Annotated[
    str,
    typer.Option(
        help="paper (LLaDA-8B), organism (the same on the organism), organism-redteam, objectives, "
        "ablations or samplers."
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
    parts: Annotated[
        list[str] | None,
        typer.Option("--part", help="Of paper and organism: run this part alone; repeatable."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Of paper and organism: parts at a time; 1, on the organism one a core.",
            min=1,
        ),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Run folder.")] = Path(
        "runs/study"
    ),
) -> None:
    """Run a whole study; the same command continues it.

    --config changes fields of the preset; a part or recipe set to null is left out.
    --print-config writes the configuration in full, to be edited and given back.
    """
    from midspan.commands.attack import run_attacks
    from midspan.study.organism.objectives.presets import COMPARISONS
    from midspan.study.paper.presets import PRESETS as PAPERS
    from midspan.study.redteam.presets import PRESETS as REDTEAMS

    quiet()
    presets: dict[str, Callable[[], Any]] = {**PAPERS, **REDTEAMS, **COMPARISONS}
    if preset not in presets:
        raise not_one_of("--preset", preset, presets)
    chosen = configure(presets[preset](), config, {})
    if show:
        import yaml

        fields = chosen.model_dump(mode="json")
        typer.echo(yaml.safe_dump(fields, sort_keys=False, allow_unicode=True), nl=False)
    elif preset in PAPERS:
        _run_paper(chosen, output, jobs, parts or [], dry_run)
    elif parts or jobs or dry_run:
        raise MidspanError(f"--part, --jobs, --dry-run: {preset} is a study without parts")
    elif preset in REDTEAMS:
        run_attacks(chosen, output)
    else:
        _run_objectives(chosen, output)


def _run_paper(
    config: "PaperConfig", output: Path, jobs: int | None, parts: list[str], dry_run: bool
) -> None:
    from midspan.organism.behaviors import is_organism
    from midspan.study.paper.run import run_paper

    if dry_run:
        from midspan.report.tables import table_text
        from midspan.study.paper.forecast import forecast, forecast_table

        table = forecast_table(forecast(config, output))
        typer.echo(f"{table_text(table)}\n\n{table.caption}")
        return
    cores = os.cpu_count() or 1
    default = cores if is_organism(config.base) else 1
    done = run_paper(config, output, command_line(), jobs or default, parts)
    if done.report is None:
        typer.echo(f"Still to be run: {', '.join(done.missing)}")
        return
    typer.echo(f"Done in {done.seconds / 60:.1f} min. Open {done.report}")


def _run_objectives(config: "ObjectivesConfig", output: Path) -> None:
    from midspan.study.organism.objectives.run import run_objectives

    typer.echo(f"Open {run_objectives(config, output, command_line())}")
