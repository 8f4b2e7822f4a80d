"""``midspan serve``: models behind OpenAI's API."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from midspan.commands.choices import A_RULE
from midspan.commands.ends import STOPPED, asking, say, typed
from midspan.commands.generated import with_options
from midspan.commands.names import checked_path
from midspan.commands.options import ConfigFile, Models, quiet, read_config

LIMITS = {
    "host": Annotated[
        str | None, typer.Option(help="Address; another one than loopback needs a token.")
    ],
    "port": Annotated[int | None, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)],
    "batch_size": Annotated[int | None, typer.Option(help="Rows that are decoded together.")],
    "queue": Annotated[int | None, typer.Option(help="Rows that may wait.")],
    "timeout": Annotated[float | None, typer.Option(help="Seconds that a request may take.")],
    "grace": Annotated[
        float | None, typer.Option(help="Seconds that what runs has when the server ends.")
    ],
    "rules": Annotated[
        list[str] | None,
        typer.Option(
            "--rule",
            help="A rule on every request, as in generate; repeatable.",
            **A_RULE,
        ),
    ],
    "log_prompts": Annotated[
        bool | None, typer.Option("--log-prompts", help="Log prompts and answers.")
    ],
}


@with_options("limits", LIMITS)
def serve(
    models: Models,
    limits: dict[str, Any],
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with tokens, one a line; by default MIDSPAN_SERVE_TOKEN.",
            callback=checked_path,
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Where the models go.")] = None,
    config: ConfigFile = None,
) -> None:
    """Serve models behind OpenAI's API, with anchors, holes, rules and traces."""
    start(models, {**read_config(config), **limits}, token_file, device)


def start(
    models: list[str],
    limits: dict[str, Any],
    token_file: Path | None = None,
    device: str | None = None,
    started: Callable[[str], None] | None = None,
) -> None:
    """Load the models and serve until a signal comes.

    Args:
        models: Their specs.
        limits: Fields of `ServeConfig`.
        token_file: Where the tokens are; None for the environment.
        device: Where the models go.
        started: Called with the server's address once it listens; by default it is printed.

    Raises:
        MidspanError: A field is wrong, a model does not load, or the extra is not installed.
    """
    from midspan.serve import extra

    extra()
    from midspan.models.sharing import load_sharing
    from midspan.serve.config import ServeConfig, read_tokens
    from midspan.serve.server import run

    quiet()
    settings = ServeConfig(**limits)
    tokens = read_tokens(settings, token_file)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("midspan.serve").setLevel(logging.INFO)
    say(f"Loads {' and '.join(models)}, then serves until Ctrl-C")
    loaded = load_sharing(models, **({"device": device} if device else {}))

    def listening(url: str) -> None:
        typer.echo(f"{', '.join(loaded)} on {url}/v1")
        if not tokens:
            name = next(iter(loaded))
            say(f"Next, in another terminal: {typed(*asking(models[0], f'{url}/v1#{name}'))}")

    told = started or listening
    try:
        run(loaded, settings, tokens, told)
    except KeyboardInterrupt:
        typer.echo("midspan: the server has ended; what ran was finished first", err=True)
        raise typer.Exit(STOPPED) from None
