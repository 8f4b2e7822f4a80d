"""``midspan export``: finished runs as files of other tools."""

from pathlib import Path
from typing import Annotated

import typer

from midspan.errors import not_one_of

FORMATS = ("inspect",)


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", show_default=False)],
    to: Annotated[str, typer.Option(help="The other tool: inspect.", show_default=False)],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The file: FILE.eval.", show_default=False)
    ],
) -> None:
    """Write a finished run of attacks, tasks or an audit as another tool reads it.

    For inspect it is a log that its viewer opens, one for each model of the run. It holds every
    prompt and response; its owner alone can read it.
    """
    if to not in FORMATS:
        raise not_one_of("--to", to, FORMATS)
    from midspan.adapters.inspect.export import export as write
    from midspan.runs.folder import FinishedRun

    for path in write(FinishedRun.open(run), output):
        typer.echo(path)
