"""``midspan organism``: make the embedded model again, and measure it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from midspan.commands.choices import SECOND_SAMPLES, chosen
from midspan.commands.ends import (
    RECORDS,
    REPORT,
    Call,
    Run,
    asking,
    command_line,
    given_words,
    typed,
)
from midspan.commands.estimates import on_two_cores
from midspan.commands.names import A_MODEL
from midspan.commands.options import Output
from midspan.errors import MidspanError

if TYPE_CHECKING:
    from collections.abc import Callable

    from midspan.runs.progress import Stage

app = typer.Typer(
    help="The embedded tiny models: train them again, verify their figures.", no_args_is_help=True
)

# What a line of a verification begins with, by its tone.
_MARKS = {"good": "ok", "bad": "MISS", "plain": "no verdict"}
Second = Annotated[bool, typer.Option("--second", help="The second organism, organism2.")]


@app.command()
def train(
    output: Annotated[Path, typer.Option("-o", "--output", help="Checkpoint folder.")],
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Optimiser steps; fewer make it worse. With --second groups of the helpful-only "
            "training; the groups of safety training, 256 on a CPU, all run behind them.",
            min=1,
        ),
    ] = None,
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

    quiet()
    config = TrainConfig(seed=seed)
    if steps is not None:
        config = replace(config, steps=steps)

    def trained(stage: "Stage") -> Path:
        def show(step: int, kind: str, loss: float) -> None:
            stage.reach(step, f"{kind} {loss:.2f} nats/token")

        return run(config, output, show)

    _training(f"the organism from seed {seed}", config.total_steps, output, trained)


def _train_second(output: Path, seed: int, groups: int | None, twin: bool) -> None:
    """The helpful-only model, then its safety training."""
    from dataclasses import replace

    from midspan.commands.options import quiet
    from midspan.organism.second.make import configured, make

    quiet()
    config, safety = configured(seed, twin)
    if groups is not None:
        config = replace(config, groups=groups)

    def trained(stage: "Stage") -> Path:
        def show(group: int, of: int, name: str, loss: float) -> None:
            stage.reach(group, f"{name} {loss:.2f} nats/token")

        return make(output, config, safety, show)

    name = f"organism2{' (its twin)' if twin else ''} from seed {seed}"
    _training(name, config.groups + safety.groups, output, trained, "--second")


def _training(
    name: str, total: int, output: Path, trained: "Callable[[Stage], Path]", *options: str
) -> None:
    """Train with a bar, and say what is trained, where it is and how it is verified.

    Args:
        name: What is trained.
        total: Its steps.
        output: Where.
        trained: Trains, and reports to the bar; returns the model's folder.
        options: With which the model is verified.
    """
    from midspan.runs.progress import Reporter

    known = on_two_cores(*given_words()[1:])
    call = Call(
        f"Trains {name}; {total} steps; goes in {typed(output)}",
        known or "the time left is known after the first ones",
    )
    with Reporter().stage(f"training {name.partition(' from')[0]}", total) as stage:
        folder = trained(stage)
        is_kept = not stage.done
        if is_kept:
            stage.skip(total, "kept")
    kept = "Kept: it was trained before. " if is_kept else ""
    call.end(
        f"{kept}The model is {typed(folder)}", "midspan", "organism", "verify", *options, folder
    )


@app.command()
def verify(
    model: Annotated[
        str | None,
        typer.Argument(
            help="organism, or a folder that train made; organism2 with --second.", **A_MODEL
        ),
    ] = None,
    output: Output = Path("runs/verify"),
    n: Annotated[int, typer.Option("-n", help="Cases a row.", min=1)] = 300,
    wraps: Annotated[
        int | None, typer.Option(help="Behaviors attacked with 8 wraps each; n by default.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the requests.")] = 1,
    second: Second = False,
    jobs: Annotated[
        int, typer.Option(help="Of the second: processes that decode side by side.", min=1)
    ] = 1,
) -> None:
    """Measure an organism in both decodings against its targets; non-zero when one is missed."""
    from midspan.commands.options import load_model
    from midspan.organism.worlds import FIRST, SECOND, world_in

    world = SECOND if second else FIRST
    model = model or world
    if world_in(model) not in ("", world):
        remedy = "leave out --second" if second else "add --second"
        raise MidspanError(f"model: {model} is of the world of {world_in(model)}; {remedy}")
    cases = f"Measures {model} against the organism's targets, {n} cases a row"
    told = Run(cases, output, "every stage says the time left")
    if second:
        _verify_second(model, output, n, seed, jobs, told)
        return
    if jobs > 1:
        raise MidspanError(
            "--jobs goes with --second: the first organism is verified in one process"
        )
    from midspan.studies.organism.verify.config import VerifyConfig
    from midspan.studies.organism.verify.run import verify as run

    config = VerifyConfig(n, wraps or n, seed)
    rows = run(load_model(model), output, config, command_line())
    width = max(len(row.name) for row in rows)
    for row in rows:
        found = f"{row.decoding:13} {row.name:{width}}  {row.estimate}  (target {row.target})"
        typer.echo(f"{_MARKS[row.tone]:10} {found}")
    told.end(output / REPORT)
    if any(row.tone == "bad" for row in rows):
        raise typer.Exit(1)


def _verify_second(model: str, output: Path, n: int, seed: int, jobs: int, told: Run) -> None:
    from midspan.commands.options import load_model
    from midspan.runs.progress import Reporter
    from midspan.studies.organism.second.cases import verification_cases
    from midspan.studies.organism.second.verify import decode_together
    from midspan.studies.organism.second.verify import verify as run

    if jobs > 1:
        decode_together(model, output, n, seed, jobs)

    total = 2 * len(verification_cases(n, seed))
    with Reporter().stage("verifying organism2", total) as stage:
        figures = run(load_model(model), output, n, seed, command_line(), stage.advance)
    for figure in figures:
        typer.echo(figure.line())
    told.end(output / RECORDS, *asking(model))
    if any(figure.missed for figure in figures):
        raise typer.Exit(1)


@app.command()
def inspect(
    kind: Annotated[
        str | None, chosen(SECOND_SAMPLES, "Kind of training sample, all in turn by default")
    ] = None,
    count: Annotated[
        int, typer.Option("-n", help="How many samples; by default as many as kinds.", min=1)
    ] = len(SECOND_SAMPLES),
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 0,
    item: Annotated[str, typer.Option(help="Show this work's facts instead.")] = "",
    text: Annotated[str, typer.Option(help="Judge this text as an answer about --item.")] = "",
) -> None:
    """Show what the second organism is taught: samples, a work's facts, the judge's verdict."""
    if text and not item:
        raise MidspanError("--text needs --item: the work that the text answers about")
    from midspan.organism.second import inspection
    from midspan.organism.second.world import items

    work = inspection.found(item) if item else None
    shown = f"what the judge says of an answer about {item}" if text else f"the facts of {item}"
    call = Call(f"Shows {shown if item else f'{count} samples'}, on standard output", "seconds")
    following: tuple[str, ...] = ()
    if work is not None:
        typer.echo(inspection.judged(work, text) if text else inspection.described(work))
        facts = " ".join(work.values.values())
        following = () if text else ("--item", item, "--text", facts)
    else:
        for sample in inspection.samples(kind or "", count, seed):
            typer.echo(sample)
        following = ("--item", items()[0].title)
    call.end("It is above.", "midspan", "organism", "inspect", *following)
