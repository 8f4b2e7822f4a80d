"""``midspan organism``: make the embedded model again, and measure it."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from midspan.commands.choices import SECOND_SAMPLES, chosen
from midspan.commands.ends import command_line, say, typed
from midspan.commands.names import checked_name
from midspan.commands.options import Output
from midspan.errors import MidspanError

app = typer.Typer(help="The embedded tiny models: train them again, verify their figures.")

Second = Annotated[bool, typer.Option("--second", help="The second organism, organism2.")]


@app.command()
def train(
    output: Annotated[Path, typer.Option("-o", "--output", help="Checkpoint folder.")],
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps; fewer make it worse.")] = None,
    second: Second = False,
    twin: Annotated[
        bool, typer.Option("--twin", help="Of the second: its autoregressive twin.")
    ] = False,
) -> None:
    """Train an organism from a seed; the same command continues an interrupted training."""
    from dataclasses import replace

    from midspan.commands.options import quiet

    if second:
        _train_second(output, seed, steps, twin)
        return
    if twin:
        raise MidspanError("--twin goes with --second: the first organism has none")
    from midspan.organism.training import TrainConfig
    from midspan.organism.training import train as run
    from midspan.runs.progress import Reporter

    quiet()
    config = TrainConfig(seed=seed)
    if steps is not None:
        config = replace(config, steps=steps)
    say(
        f"Trains the organism from seed {seed}; {config.total_steps} steps; goes in "
        f"{shlex.quote(str(output))}"
    )
    with Reporter().stage("training the organism", config.total_steps) as stage:

        def show(step: int, kind: str, loss: float) -> None:
            stage.reach(step, f"{kind} {loss:.2f} nats/token")

        folder = run(config, output, show)
    typer.echo(f"Done. The model is {shlex.quote(str(folder))}")
    typer.echo(f"Next: {typed('midspan', 'organism', 'verify', folder)}")


def _train_second(output: Path, seed: int, groups: int | None, twin: bool) -> None:
    """The helpful-only model, then its safety training."""
    from dataclasses import replace

    from midspan.commands.options import quiet
    from midspan.organism.second.make import configured, make
    from midspan.runs.progress import Reporter

    quiet()
    config, safety = configured(seed, twin)
    if groups is not None:
        config = replace(config, groups=groups)
    total = config.groups + safety.groups
    with Reporter().stage("training organism2", total) as stage:

        def show(group: int, of: int, name: str, loss: float) -> None:
            stage.reach(group, f"{name} {loss:.2f} nats/token")

        folder = make(output, config, safety, show)
    typer.echo(f"Done. The model is {shlex.quote(str(folder))}")
    typer.echo(f"Next: {typed('midspan', 'organism', 'verify', '--second', folder)}")


@app.command()
def verify(
    model: Annotated[
        str,
        typer.Argument(
            help="organism, or a folder that train made; organism2 with --second.",
            callback=checked_name,
        ),
    ] = "organism",
    output: Output = Path("runs/verify"),
    n: Annotated[int, typer.Option("-n", help="Cases a row.", min=1)] = 300,
    wraps: Annotated[
        int | None, typer.Option(help="Behaviors attacked with 8 wraps each; n by default.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the requests.")] = 1,
    second: Second = False,
) -> None:
    """Measure an organism in both decodings against its targets; non-zero when one is missed."""
    from midspan.commands.options import load_model

    if second:
        _verify_second("organism2" if model == "organism" else model, output, n, seed)
        return
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


def _verify_second(model: str, output: Path, n: int, seed: int) -> None:
    from midspan.commands.options import load_model
    from midspan.runs.progress import Reporter
    from midspan.studies.organism.second.cases import verification_cases
    from midspan.studies.organism.second.verify import verify as run

    total = 2 * len(verification_cases(n, seed))
    with Reporter().stage("verifying organism2", total) as stage:
        figures = run(load_model(model), output, n, seed, command_line(), stage.advance)
    for figure in figures:
        typer.echo(figure.line())
    if not all(figure.met for figure in figures):
        raise typer.Exit(1)


@app.command()
def inspect(
    kind: Annotated[
        str | None, chosen(SECOND_SAMPLES, "Kind of training sample, all in turn by default")
    ] = None,
    count: Annotated[int, typer.Option("-n", help="How many samples.", min=1)] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 0,
    item: Annotated[str, typer.Option(help="Show this work's facts instead.")] = "",
    text: Annotated[str, typer.Option(help="Judge this text as an answer about --item.")] = "",
) -> None:
    """Show what the second organism is taught: samples, a work's facts, the judge's verdict."""
    from midspan.organism.second import inspection

    if text and not item:
        raise MidspanError("--text needs --item: the work that the text answers about")
    if item:
        work = inspection.found(item)
        typer.echo(inspection.judged(work, text) if text else inspection.described(work))
        return
    for sample in inspection.samples(kind or "", count, seed):
        typer.echo(sample)
