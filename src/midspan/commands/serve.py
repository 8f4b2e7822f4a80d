"""``midspan serve``: models behind OpenAI's API."""

from typing import Annotated

import typer

from midspan.commands.options import Models, load_model


def serve(
    models: Models,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 for any free one.", min=0, max=65535)] = 8000,
) -> None:
    """Serve models behind OpenAI's API, with anchors, holes, rules and traces."""
    import uvicorn

    from midspan.serve.app import create_app

    app = create_app({spec: load_model(spec) for spec in models})
    uvicorn.run(app, host=host, port=port)
