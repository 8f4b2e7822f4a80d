"""``midspan merge``: an aligned model or adapter for programs that know nothing of midspan."""

from pathlib import Path
from typing import Annotated

import typer

from midspan.commands.names import checked_name
from midspan.commands.options import quiet


def merge(
    model: Annotated[
        str, typer.Argument(help="BASE+ADAPTER.", show_default=False, callback=checked_name)
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="A new folder.")],
    adapter_only: Annotated[
        bool,
        typer.Option(
            "--adapter-only",
            help="Do not merge: write the adapter under the published class's module names.",
        ),
    ] = False,
) -> None:
    """Write base and adapter as one checkpoint in the base's published format."""
    quiet()
    from midspan.models.merging import merge as merge_models
    from midspan.models.merging import publish_adapter

    path = (publish_adapter if adapter_only else merge_models)(model, output)
    typer.echo(f"wrote {path}")
