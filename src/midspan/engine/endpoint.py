"""Servers as roles: time limits, back-off, rate and cost limits, concurrency.

The key comes from the environment and goes into the request's header alone: no message, journal or
fingerprint holds it. Written over httpx2, which the hub's client brings along: the vendor's own
package would add its hidden retries to ours and its own reading of broken replies.
"""

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any

from midspan.engine.calls import Call
from midspan.engine.capabilities import Capabilities, Need, lacks, needs_of, refusal
from midspan.engine.roles import MissingReply, RawReply, Role, SeededCall
from midspan.engine.served_text import ServedText
from midspan.engine.server import EndpointConfig
from midspan.errors import MidspanError


class Endpoint(Role):
    """A model behind a server, or behind several; it answers calls in threads.

    What is asked of it beside a text for a text depends on its engine: see `capabilities`.

    Attributes:
        is_met: Whether it was found in contact.

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
        self._paid, self.is_met = 0.0, False
        self._habits = config.habits()
        from midspan.engine.engines import dialect_of

        self._dialect = dialect_of(config, self._habits)

    @property
    def capabilities(self) -> Capabilities:
        """What it can be asked: as its engine and the user say, and as was found at contact."""
        record = self.config.record
        return record.model_copy(update=dict.fromkeys(self._habits.denied, False))

    @property
    def cost(self) -> float | None:
        """US dollars so far, journalled replies included; None where a price is not known."""
        return None if self.config.dollars(0, 0) is None else self._paid

    @property
    def text(self) -> ServedText:
        """The model's tokenizer, read when it is first used."""
        return self._dialect.text

    @property
    def told(self) -> dict[str, Any]:
        """What the server has said of itself at contact, in JSON's terms."""
        habits = self._habits
        said = {"canvas_length": habits.canvas_length, "settings": habits.settings}
        return {name: value for name, value in said.items() if value}

    def recall(self, told: Mapping[str, Any]) -> None:
        """Take what it said at an earlier contact for what it says now.

        Raises:
            LookupError, TypeError, ValueError: `told` had not this form.
        """
        length = told.get("canvas_length")
        self._habits.canvas_length = None if length is None else int(length)
        self._habits.settings = dict(told.get("settings", {}))

    def room(self, asked: int | None) -> int | None:
        """Tokens of the canvas in which an answer's anchors stand; None where it is not known.

        Args:
            asked: The longest answer that is asked for; None leaves it to the server.

        Raises:
            MidspanError: Its engine's canvases have one length, which nobody says.
        """
        return self._dialect.room(asked)

    def draws(self, call: Call) -> bool:
        """Not at temperature 0, where equal questions share an answer."""
        return self._dialect.draws(call)

    def account(self, answer: RawReply) -> None:
        """Add up the cost."""
        self._paid += self._price(answer)

    def contact(self, needs: Collection[Need] = ()) -> None:
        """Find out, in seconds, whether the server can be asked at all, and for what.

        Args:
            needs: What it will be asked for.

        Raises:
            MidspanError: Nobody is there, the key, address or model is wrong, the server lacks one
                of the needs, or the tokenizer that they take is missing.
        """
        from midspan.engine.transport import Client, for_contact

        config = for_contact(self.config)
        with Client(config, threading.Event(), self._habits, self._dialect) as client:
            client.contact()
        self.is_met = True
        if missing := lacks(self.capabilities, needs):
            error = refusal("target", missing, self.config.name, self.capabilities)
            if not self._habits.denied:
                raise error
            denied = ", ".join(f"{name}: false" for name in sorted(self._habits.denied))
            raise MidspanError(f"{error}; say so (servers: capabilities: {{{denied}}})")
        if self._dialect.by_token & set(needs):
            self._dialect.load()

    def answer(self, tasks: Sequence[SeededCall]) -> Iterator[tuple[int, RawReply | MissingReply]]:
        """Send all tasks, some at a time, and yield what comes back as it does.

        Raises:
            MidspanError: The cost limit is reached, the server takes no request, or it cannot be
                asked such a call; what is under way is yielded before.
        """
        from midspan.engine.transport import Client

        for call, _ in tasks:
            if missing := lacks(self.capabilities, needs_of(call)):
                raise refusal(call.role, missing, self.fingerprint, self.capabilities)
        width = self.config.concurrency * len(self.config.urls)
        stop = threading.Event()
        ending = self._over(self._paid)
        cost = self._paid
        waiting = iter(enumerate(tasks))
        flying: dict[Future[RawReply | MissingReply], int] = {}
        with (
            Client(self.config, stop, self._habits, self._dialect) as client,
            ThreadPoolExecutor(width) as pool,
        ):
            try:
                while True:
                    free = 0 if ending else width - len(flying)
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
