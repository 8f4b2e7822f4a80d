"""Who may ask, and how much: what is checked before a route sees a request.

A page of another site must reach nothing here: not by a name of its own for this machine's address
(the host is checked on loopback), not by a form (a body must be JSON), and not by a script (an
origin must be the server's own, and no header lets other origins read).
"""

import asyncio
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from midspan.serve.body import AsciiResponse
from midspan.serve.config import ServeConfig, Tokens, is_loopback
from midspan.serve.errors import ApiError, error_body
from midspan.serve.metrics import Metrics

_OPEN_PATHS = ("/", "/health")
_OPEN_FOLDER = "/assets/"
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}


class Guard:
    """An application behind the checks.

    Attributes:
        config: The limits.
        tokens: By which clients are known.
    """

    def __init__(self, app: ASGIApp, config: ServeConfig, tokens: Tokens, metrics: Metrics) -> None:
        self._app, self.config, self.tokens = app, config, tokens
        self._responses = metrics.responses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                added = [pair for pair in _HEADERS.items() if pair[0] not in given]
                message = {**message, "headers": [*message["headers"], *added]}
                self._responses.labels(str(message["status"])).inc()
            await send(message)

        try:
            self._check_origin(headers)
            scope["midspan.client"] = self._client(scope, headers)
            self._check_body(scope, headers)
        except ApiError as error:
            await refusal(error)(scope, receive, send_safely)
            return
        await self._app(scope, self._limited(receive), send_safely)

    def _check_origin(self, headers: Headers) -> None:
        if len(headers.getlist("host")) != 1:
            raise ApiError(400, "the header Host must be there once", "invalid_host")
        host = headers["host"]
        if self.config.is_loopback and not is_loopback(_host_name(host)):
            raise ApiError(
                403, "the header Host must be localhost, 127.0.0.1 or [::1]", "invalid_host"
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise ApiError(403, "pages of other origins may not ask", "invalid_origin")

    def _client(self, scope: Scope, headers: Headers) -> str:
        """Who asks: the token where there are several, or else the address.

        Raises:
            ApiError: The token is missing or wrong.
        """
        address = str((scope.get("client") or ("unknown",))[0])
        path = scope["path"]
        if not self.tokens or path in _OPEN_PATHS or path.startswith(_OPEN_FOLDER):
            return address
        scheme, _, token = headers.get("authorization", "").partition(" ")
        number = self.tokens.number(token.strip()) if scheme.lower() == "bearer" else None
        if number is None:
            raise ApiError(
                401,
                "the header 'Authorization: Bearer TOKEN' must hold a token of this server",
                "invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return f"token {number}" if len(self.tokens) > 1 else address

    def _check_body(self, scope: Scope, headers: Headers) -> None:
        if scope["method"] != "POST":
            return
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise ApiError(415, "the header Content-Type must be application/json", "not_json")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > self.config.max_body:
            raise self._too_large()

    def _too_large(self) -> ApiError:
        message = f"the body must have at most {self.config.max_body} bytes"
        return ApiError(413, message, "too_large", None, {"Connection": "close"})

    def _limited(self, receive: Receive) -> Receive:
        """A body that must come in time, and is counted while it comes."""
        end = time.monotonic() + self.config.body_seconds
        is_whole, size = False, 0

        async def limited() -> Message:
            nonlocal is_whole, size
            if is_whole:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, end - time.monotonic()))
            except TimeoutError as error:
                wanted = f"the body must come within {self.config.body_seconds:g} s"
                close = {"Connection": "close"}
                raise ApiError(408, wanted, "slow_body", None, close) from error
            if message["type"] == "http.request":
                size += len(message.get("body", b""))
                is_whole = not message.get("more_body", False)
                if size > self.config.max_body:
                    raise self._too_large()
            return message

        return limited


def _host_name(host: str) -> str:
    """A Host header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def refusal(error: ApiError) -> AsciiResponse:
    """The response that an error is."""
    body = error_body(error.status_code, error.detail, error.code, error.param)
    return AsciiResponse(body, error.status_code, error.headers)
