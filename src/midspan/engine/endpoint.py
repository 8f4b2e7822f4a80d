"""OpenAI-compatible servers as roles: time limits, back-off, rate and cost limits, concurrency.

The key comes from the environment and goes into the request's header alone: no message, journal or
fingerprint holds it. Written over httpx2, which the hub's client brings along: the vendor's own
package would add its hidden retries to ours and its own reading of broken replies.
"""

import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import Field

from midspan.engine.calls import Call, Chat
from midspan.engine.roles import Answer, NoAnswer, Role, Task
from midspan.errors import MidspanError
from midspan.frozen import FrozenConfig

OPENAI_URL = "https://api.openai.com/v1"


class EndpointConfig(FrozenConfig):
    """A server and what it may cost.

    Attributes:
        url: Base address, up to and including ``/v1``.
        model: The model's name there.
        key_variable: Environment variable that holds the key; unset where none is needed.
        timeout: Seconds that a reply may take.
        attempts: Tries of one request, the first included.
        backoff: Longest pause between two tries, in seconds.
        concurrency: Requests under way at a time.
        requests_per_minute: Pace; None for none.
        max_cost: US dollars that a run may cost, journalled replies included.
        input_price: US dollars a million prompt tokens; 0 where they are free, None where it is not
            known.
        output_price: US dollars a million response tokens; likewise.
    """

    url: str
    model: str
    key_variable: str = "MIDSPAN_API_KEY"
    timeout: float = Field(120, gt=0)
    attempts: int = Field(6, ge=1)
    backoff: float = Field(30, ge=0)
    concurrency: int = Field(8, ge=1)
    requests_per_minute: float | None = Field(None, gt=0)
    max_cost: float | None = Field(None, gt=0)
    input_price: float | None = Field(None, ge=0)
    output_price: float | None = Field(None, ge=0)

    @classmethod
    def from_spec(cls, spec: str, **fields: Any) -> Self:
        """``openai:gpt-4.1`` or ``http://host:port/v1#model``.

        Raises:
            MidspanError: It is neither, or a field is unknown or wrong.
        """
        within = f"servers.{spec}"
        if spec.startswith("openai:") and spec != "openai:":
            named = {"url": OPENAI_URL, "model": spec.removeprefix("openai:")}
            key = {"key_variable": "OPENAI_API_KEY"}
            return cls.model_validate(key | fields | named, within=within)
        url, _, model = spec.partition("#")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not model:
            raise MidspanError(f"{spec.partition('@')[0]!r} is neither openai:MODEL nor URL#MODEL")
        if parts.username or parts.password or parts.query:
            raise MidspanError("the address holds a name or key; put keys in the environment")
        address = {"url": url.rstrip("/"), "model": model}
        return cls.model_validate(fields | address, within=within)

    def dollars(self, prompt_tokens: int, tokens: int, calls: int = 1) -> float | None:
        """What calls of so many tokens each cost; None where a price is not known.

        With bounds of calls and tokens it is a bound: failed tries are not charged.
        """
        if self.input_price is None or self.output_price is None:
            return None
        return calls * (prompt_tokens * self.input_price + tokens * self.output_price) / 1e6


def bill(costs: Iterable[float | None]) -> str:
    """A sum of dollars for people; with one that is not known, neither is the sum."""
    known = list(costs)
    if None in known:
        return "unknown"
    return f"${math.fsum(cost for cost in known if cost is not None):,.2f}"


class Endpoint(Role):
    """A model behind an OpenAI-compatible server; it answers `Chat` calls in threads.

    Raises:
        MidspanError: A cost limit has no prices; the optional packages are missing.
    """

    def __init__(self, config: EndpointConfig) -> None:
        try:
            import httpx2  # noqa: F401
            import tenacity  # noqa: F401
        except ImportError as error:
            raise MidspanError("endpoints: install them with pip install 'midspan[api]'") from error
        if config.max_cost is not None and config.dollars(0, 0) is None:
            raise MidspanError("max_cost: give input_price and output_price too")
        self.config = config
        self.fingerprint = f"{config.model}@{config.url}"
        self._paid = 0.0

    @property
    def cost(self) -> float | None:
        """US dollars so far, journalled replies included; None where a price is not known."""
        return None if self.config.dollars(0, 0) is None else self._paid

    def draws(self, call: Call) -> bool:
        """Not at temperature 0, where equal questions share an answer."""
        return getattr(call, "temperature", None) != 0

    def account(self, answer: Answer) -> None:
        """Add up the cost."""
        self._paid += self._price(answer)

    def answer(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Answer | NoAnswer]]:
        """Send all tasks, some at a time, and yield what comes back as it does.

        Raises:
            MidspanError: The cost limit is reached, the server takes no request, or a call is
                not for servers; what is under way is yielded before.
        """
        from midspan.engine.transport import Client

        for call, _ in tasks:
            if not isinstance(call, Chat) or call.anchors or call.extend is not None:
                raise MidspanError(
                    f"{call.role}: {self.fingerprint} gives chat access alone; "
                    "anchors, likelihoods and gradients need a local diffusion model"
                )
        stop = threading.Event()
        ending = self._over(self._paid)
        cost = self._paid
        waiting = iter(enumerate(tasks))
        flying: dict[Future[Answer | NoAnswer], int] = {}
        with (
            Client(self.config, stop) as client,
            ThreadPoolExecutor(self.config.concurrency) as pool,
        ):
            try:
                while True:
                    free = 0 if ending else self.config.concurrency - len(flying)
                    for index, task in islice(waiting, free):
                        flying[pool.submit(client.complete, task)] = index
                    if not flying:
                        break
                    for future in wait(flying, return_when=FIRST_COMPLETED).done:
                        index, error = flying.pop(future), future.exception()
                        if isinstance(error, MidspanError):
                            ending = ending or error
                            continue
                        answer = future.result()
                        yield index, answer
                        cost += self._price(answer) if isinstance(answer, Answer) else 0
                        ending = ending or self._over(cost)
            finally:
                stop.set()
        if ending is not None:
            raise ending

    def _price(self, answer: Answer) -> float:
        return self.config.dollars(answer.prompt_tokens, answer.tokens) or 0.0

    def _over(self, cost: float) -> MidspanError | None:
        if self.config.max_cost is None or cost < self.config.max_cost:
            return None
        return MidspanError(
            f"max_cost: {self.fingerprint} has cost ${cost:.2f} of ${self.config.max_cost:.2f}; "
            "raise it and give the same command to go on"
        )
