"""What a served model is found to give."""

from collections.abc import Iterator
from typing import Any

from midspan.doctor.finding import Finding
from midspan.engine.calls import Anchor, Chat, user
from midspan.engine.endpoint import Endpoint
from midspan.engine.roles import MissingReply, SeededCall
from midspan.engine.server import EndpointConfig
from midspan.errors import MidspanError

_REQUEST = (user("Name one color."),)


def examine_served(spec: str, **fields: Any) -> Iterator[Finding]:
    """Ask a server what it is, and for one answer; findings come as they are made.

    Args:
        spec: See `midspan.served.read_served`.
        **fields: Of `EndpointConfig`.
    """
    try:
        endpoint = Endpoint(EndpointConfig.from_spec(spec, **fields))
        endpoint.contact()
    except MidspanError as error:
        yield Finding("server", "fault", str(error))
        return
    record = endpoint.capabilities
    yield Finding("server", "ok", f"gives {', '.join(record.given)}")
    yield Finding("what it lacks", "note", ", ".join(record.lacking) or "nothing")
    begins = False
    if record.prefix:
        try:
            endpoint.contact({"prefix"})
            begins = True
        except MidspanError as error:
            yield Finding("tokenizer", "fault", str(error))
    answer = _answer(endpoint, ())
    yield answer
    if begins and answer.status == "ok" and (words := answer.detail.split()):
        yield _begun(endpoint, words[-1])


def _begun(endpoint: Endpoint, word: str) -> Finding:
    """An answer that begins with a word which the model is known to have."""
    found = _answer(endpoint, (Anchor(word),))
    if found.status == "ok" and not found.detail.startswith(word):
        reason = f"{found.detail!r} does not begin with {word!r}"
        return Finding("a begun answer", "fault", reason)
    return Finding("a begun answer", found.status, found.detail)


def _answer(endpoint: Endpoint, anchors: tuple[Anchor, ...]) -> Finding:
    """One answer."""
    call = Chat("target", _REQUEST, anchors=anchors, max_tokens=32)
    try:
        ((_, reply),) = endpoint.answer([SeededCall(call, 0)])
    except MidspanError as error:
        return Finding("an answer", "fault", str(error))
    if isinstance(reply, MissingReply):
        return Finding("an answer", "fault", reply.reason)
    return Finding("an answer", "ok", " ".join(str(reply.raw).split())[:60])
