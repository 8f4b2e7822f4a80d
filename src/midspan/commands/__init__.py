"""One module a command; each imports what it needs inside its function, so ``--help`` is quick.

A command line that names a command imports that command alone.
"""

from collections.abc import Iterable, Sequence
from pkgutil import resolve_name
from typing import Any

import typer

from midspan.commands.ends import Group

# What a name runs: a function, or an app of commands of its own. Help lists them in this order.
COMMANDS = {
    "demo": "demo:demo",
    "generate": "generate:generate",
    "align": "align:align",
    "attack": "attack:attack",
    "audit": "audit:audit",
    "study": "study:study",
    "serve": "serve:serve",
    "play": "play:play",
    "merge": "merge:merge",
    "data": "data:data",
    "task": "task:task",
    "report": "report:report",
    "compare": "report:compare",
    "export": "export:export",
    "push": "push:push",
    "doctor": "doctor:doctor",
    "env": "env:env",
    "organism": "organism:app",
    "probe": "probe:app",
    "judge": "judge:app",
}


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """The app that a command line needs: one command, or all where it names none of them."""
    first = next(iter(arguments), "")
    return _build([first] if first in COMMANDS else [] if first == "--version" else COMMANDS)


def _build(names: Iterable[str]) -> typer.Typer:
    built = typer.Typer(
        name="midspan",
        cls=Group,
        help="The safety workbench for diffusion language models.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )
    for name in names:
        command = resolve_name(f"midspan.commands.{COMMANDS[name]}")
        if isinstance(command, typer.Typer):
            built.add_typer(command, name=name)
        else:
            built.command(name)(command)
    built.callback(invoke_without_command=True)(_version)
    return built


def _version(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        from midspan.version import __version__

        typer.echo(__version__)
        raise typer.Exit


def __getattr__(name: str) -> Any:
    """``app``: all commands, for whoever reads or tests the whole command line."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = _build(COMMANDS)
    return globals()["app"]
