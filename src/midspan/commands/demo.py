"""``midspan demo``: the main job on the second organism, with a report."""

from pathlib import Path
from typing import Annotated

import typer

from midspan.commands.ends import Run, command_line
from midspan.commands.estimates import dry_run as dry_run_of
from midspan.commands.estimates import on_two_cores
from midspan.commands.options import Output, quiet
from midspan.errors import MidspanError


def demo(
    output: Output = Path("runs/demo"),
    full: Annotated[
        bool, typer.Option(help="Larger cells, both decodings; about 20 minutes on two cores.")
    ] = False,
    smoke: Annotated[
        bool, typer.Option(help="The smallest cells; checks an installation.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the requests.")] = 1,
    dry_run: Annotated[
        bool, typer.Option(help="Say what it would take, from rates measured here, and stop.")
    ] = False,
) -> None:
    """Train MOSA on the second organism, attack it and its shipped adapters, write a report.

    Models are measured side by side, a process of one thread each; OMP_NUM_THREADS changes the
    threads. The same command continues an interrupted run.
    """
    if smoke and full:
        raise MidspanError("--smoke, --full: give one of them")
    size = ("--smoke",) if smoke else ("--full",) if full else ()
    what = "Trains MOSA on the second organism, and attacks five models"
    # Said before torch is imported, which may take as long as the first answers.
    run = None if dry_run else Run(what, output, on_two_cores("demo", *size))
    from midspan.studies.organism.demo.config import DemoConfig
    from midspan.studies.organism.demo.presets import full as full_config
    from midspan.studies.organism.demo.presets import smoke as smoke_config
    from midspan.studies.organism.demo.run import run_demo, side_by_side
    from midspan.studies.paper.other_forecasts import of_demo

    quiet()
    base = smoke_config() if smoke else full_config() if full else DemoConfig()
    config = base.model_copy(update={"seed": seed})
    if run is None:
        dry_run_of("the demo", lambda: of_demo(config, output), width=side_by_side(config))
        return
    result = run_demo(config, output, command_line())
    run.end(result.report, "midspan", "audit", "organism2")
