"""The process: sockets, what connections may cost, and the end."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from midspan.errors import MidspanError
from midspan.models import DiffusionLM
from midspan.serve.app import create_app
from midspan.serve.config import ServeConfig, Tokens
from midspan.serve.service import Service

LOG = logging.getLogger("midspan.serve")
_MAX_HEADER = 16 << 10
_IDLE_SECONDS = 30


def limited_protocol(config: ServeConfig) -> type[H11Protocol]:
    """HTTP with an end to headers that do not come and answers that are not read."""

    class Limited(H11Protocol):
        _header: asyncio.TimerHandle | None = None
        _unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._header = self.loop.call_later(config.header_seconds, self._end)

        def data_received(self, data: bytes) -> None:
            before = self.cycle
            super().data_received(data)
            if self.cycle is not before:
                self._header = _cancelled(self._header)
            elif self._header is None and (before is None or before.response_complete):
                self._header = self.loop.call_later(config.header_seconds, self._end)

        def connection_lost(self, exc: Exception | None) -> None:
            self._header, self._unread = _cancelled(self._header), _cancelled(self._unread)
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread = self.loop.call_later(config.write_seconds, self._end)

        def resume_writing(self) -> None:
            self._unread = _cancelled(self._unread)
            super().resume_writing()

        def _end(self) -> None:
            self.transport.abort()

    return Limited


def _cancelled(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


class Server(uvicorn.Server):
    """A server that ends in two steps: it refuses what is new, and finishes what runs.

    Args:
        service: The requests on their way.
        tokens: By which clients are known.
        started: Called with the server's address once it listens.
    """

    def __init__(
        self,
        service: Service,
        tokens: Tokens | None = None,
        started: Callable[[str], None] | None = None,
    ) -> None:
        limits = service.config
        super().__init__(
            uvicorn.Config(
                create_app(service, tokens),
                host=limits.host,
                port=limits.port,
                http=limited_protocol(limits),
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=limits.connections,
                h11_max_incomplete_event_size=_MAX_HEADER,
                timeout_keep_alive=_IDLE_SECONDS,
                timeout_graceful_shutdown=1,
            )
        )
        self._service, self._started = service, started
        self._end: float | None = None
        self._has_said_so = False

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        if self.started and self._started is not None:
            self._started(self.url)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins the end, the second one ends."""
        if self._end is not None:
            self.should_exit = True
            return
        self._end = time.monotonic() + self._service.config.grace
        self._service.drain()

    async def on_tick(self, counter: int) -> bool:
        """See uvicorn."""
        if self._end is not None and not self._has_said_so:  # A signal's handler may not log.
            self._has_said_so = True
            LOG.info("ending: finishing what runs, at most %g s", self._service.config.grace)
        if self._end is not None and (self._service.is_idle or time.monotonic() > self._end):
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn; what still runs is refused before connections are closed."""
        await asyncio.to_thread(self._service.stop)
        await super().shutdown(sockets)


def run(
    models: Mapping[str, DiffusionLM],
    config: ServeConfig,
    tokens: Tokens | None = None,
    started: Callable[[str], None] | None = None,
) -> None:
    """Serve until a signal comes.

    Args:
        models: By the names that clients use.
        config: The limits.
        tokens: By which clients are known.
        started: Called with the server's address once it listens.

    Raises:
        MidspanError: A model is not served here, or the address is not free.
    """
    server = Server(Service(models, config), tokens, started)
    server.run([_socket(config)])


def _socket(config: ServeConfig) -> socket.socket:
    try:
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(*found[:3])
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(found[4])
    except OSError as error:
        raise MidspanError(
            f"cannot listen on {config.host}:{config.port}: {error.strerror}; name another --port"
        ) from error
    return listening
