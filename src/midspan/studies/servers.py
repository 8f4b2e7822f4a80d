"""What served models give, before anything is spent."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from midspan.engine.capabilities import Capabilities, Need
from midspan.engine.server import EndpointConfig
from midspan.runs.folder import is_begun
from midspan.runs.progress import Reporter
from midspan.served import is_served, read_served

# Asks a server for a word, and raises where it cannot be asked for what is needed.
Contact = Callable[[Collection[Need]], Capabilities]


def record_of(spec: str, servers: Mapping[str, Mapping[str, Any]]) -> Capabilities | None:
    """What a model can be asked; None where it is decoded here.

    Args:
        spec: The model, without defences.
        servers: Settings of servers, by spec.

    Raises:
        MidspanError: The spec or its settings are wrong.
    """
    if not is_served(spec):
        return None
    return EndpointConfig.from_spec(spec, **servers.get(spec, {})).record


def contact_all(
    servers: Mapping[str, Contact],
    folder: str | Path,
    needs: Mapping[str, Collection[Need]],
) -> None:
    """Ask every server for a word before anything expensive is begun, and say what it gives.

    A run folder that holds replies already may hold all of them: then nobody is asked.

    Args:
        servers: By spec.
        folder: The run's.
        needs: What will be asked of them beside a text, by spec.

    Raises:
        MidspanError: Naming the first server that cannot be asked, or not for what is needed.
    """
    if is_begun(Path(folder)):
        return
    for spec, ask in servers.items():
        found = ask(needs.get(spec, ()))
        if read_served(spec).engine != "openai":
            Reporter().say(f"{spec} gives {', '.join(found.given)}")
