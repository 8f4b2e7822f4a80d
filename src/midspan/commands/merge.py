"""``midspan merge``: an aligned model or adapter for programs that know nothing of midspan."""

from pathlib import Path
from typing import Annotated

import typer

from midspan.commands.ends import Call, asking, typed
from midspan.commands.names import A_MODEL
from midspan.commands.options import quiet
from midspan.errors import MidspanError


def merge(
    model: Annotated[str, typer.Argument(help="BASE+ADAPTER.", show_default=False, **A_MODEL)],
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
    if "+" not in model and ":" not in model:
        raise MidspanError(f"{model} has no adapter; write BASE+ADAPTER")
    quiet()
    from midspan.models.merging import merge as merge_models
    from midspan.models.merging import publish_adapter

    written = "adapter, under published names," if adapter_only else "base and adapter, merged,"
    call = Call(
        f"Writes {written} of {model} to {typed(output)}",
        "as long as reading the base and writing takes",
    )
    path = (publish_adapter if adapter_only else merge_models)(model, output)
    typer.echo(f"wrote {path}")
    must = "answers as the next line does" if adapter_only else "is a checkpoint of its own"
    call.end(f"{typed(path)} {must}.", *asking(model if adapter_only else str(path)))
