"""``midspan judge``: how far judges can be trusted."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from midspan.commands.ends import Run, command_line, typed
from midspan.commands.names import A_JUDGE, checked_path
from midspan.commands.options import (
    FailFast,
    Output,
    end_with,
    quiet,
    read_config,
)
from midspan.errors import MidspanError

Servers = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="YAML file with servers: what the judge's server needs.",
        callback=checked_path,
    ),
]

app = typer.Typer(
    help="Judges: what they are worth on items whose label is known.", no_args_is_help=True
)


@app.callback()
def _group() -> None:
    """Keep the name of what is done a part of the command."""


@app.command()
def calibrate(
    judge: Annotated[
        str,
        typer.Argument(
            help="exact, exact-strongreject, exact-forms, refusal-keywords, xstest-strmatch, "
            "harm=MODEL, strongreject=MODEL, xstest=MODEL, harmbench-cls or llama-guard. "
            "MODEL is openai:NAME, URL#NAME or a diffusion model; classifiers take =FOLDER; "
            "strongreject, pair and harmbench take MODEL:rubric=FILE, a published rubric.",
            show_default=False,
            **A_JUDGE,
        ),
    ],
    items: Annotated[
        Path | None,
        typer.Option(
            help="Labelled items (.jsonl); the shipped benign ones.", callback=checked_path
        ),
    ] = None,
    column: Annotated[str, typer.Option(help="Column of the items' requests.")] = "request",
    config: Servers = None,
    output: Output = Path("runs/calibrate"),
    fail_fast: FailFast = False,
) -> None:
    """Let a judge judge labelled items; print agreement, kappa, sensitivity, specificity.

    The same command continues an interrupted run. calibration.json in the run folder corrects the
    rates of a red team: midspan attack --calibration JUDGE=FILE.
    """
    from midspan.files import write_atomic
    from midspan.judges.calibration import SHIPPED, read_items
    from midspan.judges.calibration import calibrate as run
    from midspan.runs.folder import RunFolder
    from midspan.runs.progress import Reporter
    from midspan.studies.redteam.roles import SpecReader, read_servers
    from midspan.studies.redteam.servers import contact

    labelled = read_items(items, column) if items else read_items(SHIPPED)
    reader = SpecReader(read_servers(_servers(config)))
    participant = reader.judge(judge)
    reader.check_servers([participant])
    contact([participant], output)
    quiet()
    items_told = f"Lets {judge} judge {len(labelled)} labelled items"
    told = Run(items_told, output, "the time left is known after the first verdicts")
    folder = RunFolder(output, {"judge": judge, "items": str(items or "shipped")}, command_line())
    with folder.journal, Reporter().stage(f"verdicts of {judge}", len(labelled)) as stage:
        role = participant.open()
        calibration = run(
            role, labelled, folder.journal, lambda step: stage.advance(step.replies), fail_fast
        )
    file = folder.path / "calibration.json"
    write_atomic(file, json.dumps(calibration.to_dict(), indent=1))
    width = max(len(name) for name, _ in calibration.rows())
    for name, figure in calibration.rows():
        typer.echo(f"{name:{width}}  {figure}")
    told.done(file)
    typer.echo(f"Next: give it to midspan attack as {typed('--calibration', f'{judge}={file}')}")
    end_with(calibration.problems)


def _servers(file: Path | None) -> dict[str, Any]:
    """Settings of servers in a configuration file, which may hold nothing else here."""
    fields = read_config(file)
    servers = fields.pop("servers", {})
    if fields or not isinstance(servers, dict):
        raise MidspanError(f"--config: {file} must hold servers: alone, with fields by model")
    return servers
