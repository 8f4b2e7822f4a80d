"""What servers are found to give, before anything is spent."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from midspan.engine.capabilities import Capabilities, Need
from midspan.engine.server import EndpointConfig
from midspan.runs.folder import is_begun
from midspan.runs.progress import Reporter
from midspan.served import is_served, read_served
from midspan.studies.redteam.roles import Participant


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


def contact(
    participants: Iterable[Participant],
    folder: str | Path,
    needs: Mapping[str, Collection[Need]] | None = None,
) -> None:
    """Ask every server for a word before anything expensive is begun.

    A run folder that holds replies already may hold all of them: then nobody is asked.

    Args:
        participants: Everybody who may be asked something.
        folder: The run's.
        needs: What will be asked of them beside a text, by model.

    Raises:
        MidspanError: Naming the first server that cannot be asked, or not for what is needed.
    """
    if is_begun(Path(folder)):
        return
    servers = {one.model: one.contact for one in participants if one.contact is not None}
    for model, ask in servers.items():
        found = ask((needs or {}).get(model, ()))
        if read_served(model).engine != "openai":
            Reporter().say(f"{model} gives {', '.join(found.given)}")
