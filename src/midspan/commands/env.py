"""``midspan env``: what a report of a fault must say of the machine."""

import typer


def env() -> None:
    """Print versions and hardware; nothing is loaded and nothing is sent."""
    from midspan.commands.options import quiet
    from midspan.runs.machine import hardware, versions

    quiet()
    for name, value in {**versions(), **hardware()}.items():
        typer.echo(f"{name:14} {value}")
