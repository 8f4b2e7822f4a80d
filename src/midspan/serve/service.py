"""What stands between routes and the worker: who waits, who has left, and what is counted."""

import asyncio
import logging
import math
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, TypeVar

from midspan.errors import MidspanError
from midspan.models import DiffusionLM
from midspan.serve.config import ServeConfig
from midspan.serve.errors import ApiError, busy, ending
from midspan.serve.jobs import Began, Done, Event, Failed, Job
from midspan.serve.metrics import Metrics
from midspan.serve.wire import ChatRequest, CompletionRequest
from midspan.serve.worker import Worker

LOG = logging.getLogger("midspan.serve")
_LONGEST_WAIT = 120
_CANCELLED = "cancelled"

Asked = ChatRequest | CompletionRequest
Result = TypeVar("Result")


class Service:
    """The models, and the requests that are on their way.

    Args:
        models: By the names that clients use.
        config: The limits.

    Attributes:
        models: As given.
        config: As given.
        metrics: What is counted.
        started: When it began, in seconds since 1970.
    """

    def __init__(self, models: Mapping[str, DiffusionLM], config: ServeConfig) -> None:
        for name, lm in models.items():
            if lm.family.noise == "uniform":
                raise MidspanError(
                    f"{name}: family {lm.family.name} is not served here; vLLM serves it"
                )
        self.models, self.config = dict(models), config
        self.metrics = Metrics()
        self.started = int(time.time())
        self._worker = Worker(config.batch_size, config.rules, self.metrics)
        self._open: set[Ticket] = set()
        self._waiting: Counter[str] = Counter()
        self.is_draining = False

    def start(self) -> None:
        """Begin to decode."""
        self._worker.start()

    def drain(self) -> None:
        """Take nothing new; refuse what waits; finish what runs."""
        self.is_draining = True
        self._worker.drain()

    def stop(self) -> None:
        """End; what runs is refused."""
        self._worker.stop()

    @property
    def is_idle(self) -> bool:
        """Whether no request is on its way."""
        return not self._open

    def model(self, name: str) -> DiffusionLM:
        """A model by its name.

        Raises:
            ApiError: There is none.
        """
        if name not in self.models:
            message = f"model: must be one of {', '.join(self.models)}; got {name!r}"
            raise ApiError(404, message, "model_not_found", "model")
        return self.models[name]

    async def in_worker(self, work: Callable[[], Result]) -> Result:
        """What a function returns in the thread that owns tokenizers and models."""
        return await asyncio.wrap_future(self._worker.call(work))

    def ask(self, client: str, route: str, asked: Asked) -> "Ticket":
        """Let a request in; close what is returned.

        Raises:
            ApiError: There is no such model, the queue is full, or the server ends.
        """
        try:
            lm = self.model(asked.model)
            if self.is_draining:
                raise ending()
            self._check_queue(client, asked)
        except ApiError as error:
            self.metrics.requests.labels(route, str(error.status_code)).inc()
            raise
        ticket = Ticket(self, client, route, asked)
        self._open.add(ticket)
        self._waiting[client] += ticket.rows
        self._worker.submit(ticket.job(lm))
        return ticket

    def _check_queue(self, client: str, asked: Asked) -> None:
        rows, queue = _rows(asked), self.config.queue
        own, everybody = self._waiting.get(client, 0), self._waiting.total()
        is_full = everybody + rows > max(queue, rows)
        if is_full or (own and own + rows > queue // 2):
            whose = "the queue is full" if is_full else "your requests fill their half of the queue"
            waves = 1 + everybody / self.config.batch_size
            seconds = math.ceil(waves * self.metrics.usual_seconds)
            raise busy(f"{whose}; come back later", min(max(seconds, 1), _LONGEST_WAIT))

    def began(self, ticket: "Ticket") -> None:
        """A request waits no longer."""
        self._waiting[ticket.client] -= ticket.rows
        if not self._waiting[ticket.client]:
            del self._waiting[ticket.client]

    def closed(self, ticket: "Ticket", outcome: str) -> None:
        """A request is no longer on its way."""
        self._open.discard(ticket)
        if outcome == _CANCELLED:
            self._worker.cancel(ticket.id)
        self.metrics.requests.labels(ticket.route, outcome).inc()


def _rows(asked: Asked) -> int:
    prompts = len(asked.prompts) if isinstance(asked, CompletionRequest) else 1
    return prompts * (asked.n or 1)


class Ticket:
    """One request on its way; a context that frees its places when it is left.

    Attributes:
        id: Its id.
        client: Who asks.
        route: Which route was asked, for the metrics.
        rows: Canvases that it asks for.
    """

    def __init__(self, service: Service, client: str, route: str, asked: Asked) -> None:
        self._service, self._asked = service, asked
        self.id = uuid.uuid4().hex
        self.client, self.route, self.rows = client, route, _rows(asked)
        self._arrived = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._outcome = _CANCELLED
        self._waits = True

    def job(self, lm: DiffusionLM) -> Job:
        """What the worker is given."""
        deadline = self._arrived + self._service.config.timeout
        return Job(self.id, self.client, self._asked, lm, deadline, self._tell, self._arrived)

    def _tell(self, event: Event) -> None:
        try:
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)
        except RuntimeError:  # The loop has ended before the worker.
            LOG.debug("%s: nobody listens any more", self.id)

    async def next(self) -> Event:
        """The next event.

        Raises:
            ApiError: There will be no answer.
        """
        event = await self._events.get()
        if self._waits and isinstance(event, Began | Failed):
            self._waits = False
            self._service.began(self)
        if isinstance(event, Failed):
            self._outcome = str(event.error.status_code)
            raise event.error
        if isinstance(event, Done):
            self._finish(event)
        return event

    def _finish(self, done: Done) -> None:
        self._outcome = "ok"
        seconds = time.monotonic() - self._arrived
        metrics = self._service.metrics
        metrics.answered(seconds)
        metrics.tokens.labels("prompt").inc(done.prompt_tokens)
        metrics.tokens.labels("completion").inc(sum(one.tokens for one in done.choices))
        if self._service.config.log_prompts:
            prompt = (
                self._asked.turns if isinstance(self._asked, ChatRequest) else self._asked.prompt
            )
            LOG.info("%s: %r -> %r", self.id, prompt, [one.text for one in done.choices])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free its places, where it has any left."""
        if self._waits:
            self._waits = False
            self._service.began(self)
        self._service.closed(self, self._outcome)
        LOG.info(
            "%s: %s %s of %s: %s, %.2f s",
            self.id, self.route, self._asked.model, self.client, self._outcome,
            time.monotonic() - self._arrived,
        )  # fmt: skip
