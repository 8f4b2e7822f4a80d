"""OpenAI-compatible servers as roles: time limits, back-off, rate and cost limits, concurrency.

The key comes from the environment and goes into the request's header alone: no message, journal or
fingerprint holds it. Written over httpx2, which the hub's client brings along: the vendor's own
package would add its hidden retries to ours and its own reading of broken replies.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice

from midspan.engine.calls import Call, Chat
from midspan.engine.roles import MissingReply, RawReply, Role, SeededCall
from midspan.engine.server import EndpointConfig
from midspan.errors import MidspanError


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
        self.fingerprint = config.identity
        self._paid = 0.0
        self._habits = config.habits()

    @property
    def cost(self) -> float | None:
        """US dollars so far, journalled replies included; None where a price is not known."""
        return None if self.config.dollars(0, 0) is None else self._paid

    def draws(self, call: Call) -> bool:
        """Not at temperature 0, where equal questions share an answer."""
        return getattr(call, "temperature", None) != 0

    def account(self, answer: RawReply) -> None:
        """Add up the cost."""
        self._paid += self._price(answer)

    def contact(self) -> None:
        """Find out, in seconds, whether the server can be asked at all.

        Raises:
            MidspanError: Nobody is there, or the key, address or model is wrong.
        """
        from midspan.engine.transport import Client, for_contact

        with Client(for_contact(self.config), threading.Event(), self._habits) as client:
            client.contact()

    def answer(self, tasks: Sequence[SeededCall]) -> Iterator[tuple[int, RawReply | MissingReply]]:
        """Send all tasks, some at a time, and yield what comes back as it does.

        Raises:
            MidspanError: The cost limit is reached, the server takes no request, or a call is
                not for servers; what is under way is yielded before.
        """
        from midspan.engine.transport import Client

        for call, _ in tasks:
            if not isinstance(call, Chat) or call.needs_decoder:
                raise MidspanError(
                    f"{call.role}: {self.fingerprint} gives chat access alone; anchors, "
                    "scaffolds, rules, likelihoods and gradients need a local diffusion model"
                )
        stop = threading.Event()
        ending = self._over(self._paid)
        cost = self._paid
        waiting = iter(enumerate(tasks))
        flying: dict[Future[RawReply | MissingReply], int] = {}
        with (
            Client(self.config, stop, self._habits) as client,
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
                            stop.set()
                            continue
                        answer = future.result()
                        yield index, answer
                        price = self._price(answer)
                        cost += price
                        if isinstance(answer, MissingReply):
                            self._paid += price  # nobody accounts for what is not used
                        ending = ending or self._over(cost)
            finally:
                stop.set()
        if ending is not None:
            raise ending

    def _price(self, answer: RawReply | MissingReply) -> float:
        prompt, tokens = answer.lost_prompt_tokens, answer.lost_tokens
        if isinstance(answer, RawReply):
            prompt, tokens = prompt + answer.prompt_tokens, tokens + answer.tokens
        return self.config.dollars(prompt, tokens) or 0.0

    def _over(self, cost: float) -> MidspanError | None:
        if self.config.max_cost is None or cost < self.config.max_cost:
            return None
        return MidspanError(
            f"max_cost: {self.fingerprint} has cost ${cost:.2f} of ${self.config.max_cost:.2f}; "
            "raise it and give the same command to go on"
        )
