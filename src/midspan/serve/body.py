"""JSON as clients send it: refused where it is not one clear value."""

import json
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from midspan.serve.errors import ApiError

_DEEPEST = 32
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


def parse_body(body: bytes) -> Any:
    """The value of a request's body.

    Raises:
        ApiError: It is no UTF-8 or no JSON, has a key twice, NaN or an infinity, a number with
            thousands of digits, or is nested too deep.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad(f"not UTF-8 at byte {error.start}") from error
    if _depth(body) > _DEEPEST:
        raise _bad(f"nested deeper than {_DEEPEST} levels")
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise _bad(f"not JSON: {error.msg} at character {error.pos}") from error
    except ValueError as error:  # A number that Python does not convert.
        raise _bad("a number has too many digits") from error


def _bad(what: str) -> ApiError:
    return ApiError(400, f"the body: {what}", "invalid_json")


def _depth(body: bytes) -> int:
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _bad(f"{twice!r} stands twice in one object")
    return fields


def _constant(name: str) -> float:
    raise _bad(f"{name} is no number of JSON")


class _StrictRequest(Request):
    async def json(self) -> Any:
        return parse_body(await self.body())


class StrictRoute(APIRoute):
    """A route whose body is read by `parse_body`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See FastAPI."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(_StrictRequest(request.scope, request.receive))

        return strict


def to_json(value: Any) -> bytes:
    """Compact JSON in ASCII: what clients sent may hold halves of characters."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


class AsciiResponse(JSONResponse):
    """A response that `to_json` writes."""

    def render(self, content: Any) -> bytes:
        """See Starlette."""
        return to_json(content)
