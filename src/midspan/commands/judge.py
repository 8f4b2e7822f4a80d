"""``midspan judge``: how far judges can be trusted."""

import json
from pathlib import Path
from typing import Annotated

import typer

from midspan.commands.options import Output

app = typer.Typer(help="Judges: what they are worth on items whose label is known.")


@app.callback()
def _group() -> None:
    """Keep the name of what is done a part of the command."""


@app.command()
def calibrate(
    judge: Annotated[
        str,
        typer.Argument(
            help="harm=MODEL, strongreject=MODEL, harmbench-cls, llama-guard, refusal-keywords. "
            "MODEL is openai:NAME, URL#NAME or a diffusion model; classifiers take =FOLDER.",
            show_default=False,
        ),
    ],
    items: Annotated[
        Path | None, typer.Option(help="Labelled items (.jsonl); the shipped benign ones.")
    ] = None,
    column: Annotated[str, typer.Option(help="Column of the items' requests.")] = "request",
    output: Output = Path("runs/calibrate"),
) -> None:
    """Let a judge judge labelled items; print agreement, kappa, sensitivity, specificity.

    The same command continues an interrupted run. calibration.json in the run folder corrects the
    rates of a red team: midspan attack --calibration JUDGE=FILE.
    """
    from midspan.commands.options import command_line, quiet
    from midspan.files import write_atomic
    from midspan.judges.calibration import SHIPPED, read_items
    from midspan.judges.calibration import calibrate as run
    from midspan.runs.folder import RunFolder
    from midspan.studies.redteam.roles import SpecReader

    quiet()
    labelled = read_items(items, column) if items else read_items(SHIPPED)
    role = SpecReader().judge(judge).open()
    folder = RunFolder(output, {"judge": judge, "items": str(items or "shipped")}, command_line())
    with folder.journal:
        calibration = run(role, labelled, folder.journal)
    file = folder.path / "calibration.json"
    write_atomic(file, json.dumps(calibration.to_dict(), indent=1))
    width = max(len(name) for name, _ in calibration.rows())
    for name, figure in calibration.rows():
        typer.echo(f"{name:{width}}  {figure}")
    typer.echo(str(file))
