"""Served models and judges, named as red-team studies name them, for what attacks nothing."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field

from midspan.engine.calls import Chat
from midspan.engine.capabilities import needs_of
from midspan.engine.roles import MissingReply, RawReply, SeededCall
from midspan.errors import MidspanError
from midspan.frozen import FrozenConfig
from midspan.studies.given import NOTHING, Given
from midspan.studies.redteam.roles import SpecReader, read_servers
from midspan.studies.redteam.servers import contact


class ServedDecoding(FrozenConfig):
    """What of decoding every server lets a request set; frozen, None leaves it to the server.

    Attributes:
        length: Tokens of the answer at most.
        temperature: 0 is greedy.
        top_p: Nucleus filter.
    """

    length: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, allow_inf_nan=False)
    top_p: float | None = Field(None, gt=0, le=1)


def ask_server(
    spec: str, call: Chat, seed: int, servers: Mapping[str, Mapping[str, Any]]
) -> RawReply:
    """What a served model answers to one call.

    Args:
        spec: The model, as `SpecReader.model` reads it.
        call: What is asked; an error names its role.
        seed: Of the model's draws.
        servers: Fields of `EndpointConfig`, by spec.

    Raises:
        MidspanError: The server cannot be asked or does not give what the call needs; or no answer
            came, with its reason.
    """
    reader = SpecReader(read_servers(servers))
    model = reader.model(spec, batch_size=1)
    reader.check_servers((model,))
    if model.contact is not None:
        model.contact(needs_of(call))
    ((_, reply),) = model.open().answer([SeededCall(call, seed)])
    if isinstance(reply, MissingReply):
        raise MidspanError(f"{spec}: no answer came: {reply.reason}")
    return reply


def with_harm_judge(
    spec: str | None,
    servers: Mapping[str, Mapping[str, Any]],
    folder: str | Path,
    given: Given = NOTHING,
) -> Given:
    """What is given, and the judge of harm that a probe names; its server is asked for a word.

    Args:
        spec: The judge, or None where the probe names none.
        servers: Settings of servers, by spec.
        folder: The probe's run folder.
        given: Models and judges that the caller has in hand.

    Raises:
        MidspanError: There is no such judge, it knows another world, or its server cannot be asked.
    """
    if spec is None:
        if servers:
            raise MidspanError("servers: nobody is asked but a judge; name one")
        return given
    if spec in given.judges:
        return given
    reader = SpecReader(read_servers(servers), given)
    judge = reader.judge(spec)
    if judge.knows_organism_alone:
        raise MidspanError(f"judge: {spec} knows the organism's world alone")
    reader.check_servers((judge,))
    contact((judge,), folder)
    return replace(given, openers={**given.openers, spec: cache(judge.open)})
