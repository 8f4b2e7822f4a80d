"""The routes of completions: an answer whole, or as server-sent events."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from midspan.serve.answers import Choice
from midspan.serve.body import AsciiResponse, StrictRoute, to_json
from midspan.serve.errors import ApiError
from midspan.serve.jobs import Began, Done, Finished, Piece
from midspan.serve.service import Service, Ticket
from midspan.serve.shapes import Kind, Shape
from midspan.serve.wire import ChatRequest, CompletionRequest

Result = TypeVar("Result")
_CLIENT_LEFT = 499
_DONE = b"data: [DONE]\n\n"


class _ClientLeft(Exception):
    """Nobody waits for the answer any more."""


def completions(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter(route_class=StrictRoute)

    @router.post("/v1/chat/completions")
    async def chat_completions(body: ChatRequest, request: Request) -> Response:
        """The answer to a conversation."""
        return await _answer(service, "chat", body, request)

    @router.post("/v1/completions")
    async def text_completions(body: CompletionRequest, request: Request) -> Response:
        """The answer to raw text or token ids."""
        return await _answer(service, "text", body, request)

    return router


async def _answer(
    service: Service, kind: Kind, asked: ChatRequest | CompletionRequest, request: Request
) -> Response:
    ticket = service.ask(request.scope["midspan.client"], kind, asked)
    shape = Shape(kind, ticket.id, asked, service.models[asked.model])
    is_handed_on = False
    try:
        if not asked.stream:
            done = await _unless_left(request, _whole(ticket))
            return AsciiResponse(shape.whole(done))
        # With the first place, so that what cannot be decoded is no stream yet.
        await _unless_left(request, ticket.next())
        is_handed_on = True
        return _Stream(ticket, shape)
    except _ClientLeft:
        return Response(status_code=_CLIENT_LEFT)
    finally:
        if not is_handed_on:
            ticket.close()


async def _whole(ticket: Ticket) -> Done:
    while True:
        event = await ticket.next()
        if isinstance(event, Done):
            return event


async def _unless_left(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """What the work comes to.

    Raises:
        _ClientLeft: The client left before.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise _ClientLeft
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Stream(StreamingResponse):
    """The events of an answer; a client that leaves frees its places."""

    def __init__(self, ticket: Ticket, shape: Shape) -> None:
        headers = {"X-Accel-Buffering": "no"}
        events = _events(ticket, shape)
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._ticket = ticket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See Starlette."""
        with self._ticket:
            await super().__call__(scope, receive, send)


async def _events(ticket: Ticket, shape: Shape) -> AsyncIterator[bytes]:
    try:
        async for event in _objects(ticket, shape):
            yield b"data: " + to_json(event) + b"\n\n"
        yield _DONE
    except ApiError as error:
        yield b"data: " + to_json(error.body) + b"\n\n"


async def _objects(ticket: Ticket, shape: Shape) -> AsyncIterator[dict[str, Any]]:
    told: set[int] = set()
    ended: tuple[int, Choice] | None = None
    while True:
        event = await ticket.next()
        if isinstance(event, Done):
            assert ended is not None
            yield shape.last(*ended, event)
            options = shape.asked.stream_options
            if options is not None and options.include_usage:
                yield shape.total(event)
            return
        if isinstance(event, Began):
            continue
        assert isinstance(event, Piece | Finished)
        if event.choice not in told and shape.kind == "chat":
            yield shape.first(event.choice)
        told.add(event.choice)
        frame = event.frame if isinstance(event, Piece) else None
        if event.text or frame:
            yield shape.piece(event.choice, event.text, frame)
        if isinstance(event, Finished):
            if ended is not None:
                yield shape.last(*ended, None)
            ended = event.choice, event.answer
