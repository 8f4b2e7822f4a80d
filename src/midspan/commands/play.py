"""``midspan play``: the playground on this machine, in the browser."""

import threading
import webbrowser
from typing import Annotated

import typer

from midspan.commands.names import A_MODEL
from midspan.commands.serve import start

_MODELS = ("organism", "organism:psa")


def play(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help=f"Models, as elsewhere; by default {' and '.join(_MODELS)}.",
            **A_MODEL,
        ),
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address alone.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="Where the models go.")] = None,
) -> None:
    """Watch canvases fill in the browser: anchors, rules, two models side by side."""

    def started(url: str) -> None:
        typer.echo(f"playground on {url}/ (Ctrl-C ends it)")
        if not no_browser:
            # A browser of the terminal returns when its user leaves it.
            threading.Thread(target=webbrowser.open, args=(f"{url}/",), daemon=True).start()

    start(models or list(_MODELS), {"port": 0}, device=device, started=started)
