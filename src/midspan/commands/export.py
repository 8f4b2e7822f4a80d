"""``midspan export``: a finished run in another tool's format."""

from pathlib import Path
from typing import Annotated

import typer

from midspan.commands.choices import EXPORTS, limited
from midspan.commands.ends import Call, typed
from midspan.commands.names import checked_path

# What shows inspect's logs, before their folder.
_VIEW = "inspect view --log-dir"


def export(
    run: Annotated[
        Path,
        typer.Argument(help="Folder of a finished run.", show_default=False, callback=checked_path),
    ],
    to: Annotated[
        str,
        typer.Option(
            help="jailbreakbench: prompts found, as its artifacts. inspect: logs for its viewer.",
            **limited(EXPORTS),
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="A file, or a folder for several.")
    ],
    model: Annotated[str, typer.Option(help="One of the run's models alone.")] = "",
    attack: Annotated[str, typer.Option(help="One of the run's attacks alone.")] = "",
) -> None:
    """Write what a finished run found for another tool to read.

    The files hold what models wrote, whole: they are their owner's alone, like the run folder.
    """
    from midspan.adapters.exports import Choice
    from midspan.adapters.exports import export as export_run

    call = Call(f"Writes {typed(run)} for {to} to {typed(output)}", "seconds")
    for line in export_run(run, to, output, Choice(model, attack)):
        typer.echo(line)
    logs = output if output.is_dir() else output.parent
    shown = (*_VIEW.split(), logs) if to == "inspect" else ("midspan", "report", "--open", run)
    call.end(f"The result is {typed(output)}", *shown)
