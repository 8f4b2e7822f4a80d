"""Served models and judges, named as red-team studies name them, for what attacks nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from midspan.engine.calls import Chat
from midspan.engine.capabilities import lacks, needs_of, refusal
from midspan.engine.roles import MissingReply, RawReply, SeededCall
from midspan.errors import MidspanError
from midspan.served import is_served
from midspan.studies.given import NOTHING, Given
from midspan.studies.redteam.roles import SpecReader, read_servers
from midspan.studies.redteam.servers import contact


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
    needs = needs_of(call)
    if model.record is not None and (missing := lacks(model.record, needs)):
        raise refusal(call.role, missing, spec, model.record)
    if model.contact is not None:
        model.contact(needs)
    ((_, reply),) = model.open().answer([SeededCall(call, seed)])
    if isinstance(reply, MissingReply):
        raise MidspanError(f"{spec}: no answer came: {reply.reason}")
    return reply


def with_harm_judge(
    spec: str | None,
    servers: Mapping[str, Mapping[str, Any]],
    folder: str | Path,
    given: Given = NOTHING,
    others: Iterable[str] = (),
) -> Given:
    """What is given, and the judge of harm that a probe names.

    Its server is asked for a word when the probe begins, so that a dry run asks nobody.

    Args:
        spec: The judge, or None where the probe names none.
        servers: Settings of servers, by spec.
        folder: The probe's run folder.
        given: Models and judges that the caller has in hand.
        others: Models that are asked beside it.

    Raises:
        MidspanError: There is no such judge, or it knows another world.
    """
    reader = SpecReader(read_servers(servers), given)
    asked = [reader.model(model, 1) for model in others if is_served(model)]
    if spec is None or spec in given.judges:
        reader.check_servers(asked)
        return given
    judge = reader.judge(spec)
    if judge.knows_organism_alone:
        raise MidspanError(f"judge: {spec} knows the organism's world alone")
    reader.check_servers((*asked, judge))
    return replace(
        given,
        openers={**given.openers, spec: cache(judge.open)},
        contacts={**given.contacts, spec: partial(contact, (judge,), folder)},
    )
