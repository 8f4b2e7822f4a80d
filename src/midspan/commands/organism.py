"""``midspan organism``: make the embedded model again, and measure it."""

from pathlib import Path
from typing import Annotated

import typer

from midspan.commands.options import Output

app = typer.Typer(help="The embedded tiny model: train its weights again, verify its figures.")


@app.command()
def train(
    output: Annotated[Path, typer.Option("-o", "--output", help="Checkpoint folder.")],
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps; fewer make it worse.")] = None,
) -> None:
    """Train the organism from a seed; the same command continues an interrupted training."""
    from dataclasses import replace

    from midspan.commands.options import quiet
    from midspan.organism.training import TrainConfig
    from midspan.organism.training import train as run
    from midspan.runs.progress import Reporter

    quiet()
    config = TrainConfig(seed=seed)
    if steps is not None:
        config = replace(config, steps=steps)
    with Reporter().stage("training the organism", config.total_steps) as stage:

        def show(step: int, kind: str, loss: float) -> None:
            stage.advance(step - stage.done, f"{kind} {loss:.2f} nats/token")

        folder = run(config, output, show)
    typer.echo(f"{folder}: done. Measure it: midspan organism verify {folder}")


@app.command()
def verify(
    model: Annotated[
        str, typer.Argument(help="organism, or a folder that train made.")
    ] = "organism",
    output: Output = Path("runs/verify"),
    n: Annotated[int, typer.Option("-n", help="Cases a row.", min=1)] = 300,
    wraps: Annotated[
        int | None, typer.Option(help="Behaviors attacked with 8 wraps each; n by default.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the requests.")] = 1,
) -> None:
    """Measure the organism in both decodings against its targets; non-zero when one is missed."""
    from midspan.commands.options import command_line, load_model
    from midspan.studies.organism.verify.config import VerifyConfig
    from midspan.studies.organism.verify.run import verify as run

    config = VerifyConfig(n, wraps or n, seed)
    rows = run(load_model(model), output, config, command_line())
    width = max(len(row.name) for row in rows)
    for row in rows:
        mark = "ok  " if row.met else "MISS"
        typer.echo(
            f"{mark} {row.decoding:13} {row.name:{width}}  {row.estimate}  (target {row.target})"
        )
    if not all(row.met for row in rows):
        raise typer.Exit(1)
