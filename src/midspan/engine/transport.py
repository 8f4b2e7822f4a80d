"""Requests to a server, with their tries, over its replicas. Knows HTTP, not what is asked."""

import logging
import re
import threading
from dataclasses import replace
from typing import Any, Self

import httpx2
import tenacity

from midspan.engine.canvases import TooLong
from midspan.engine.completion import (
    Limited,
    Passing,
    Spoilt,
    Unreached,
    Unreadable,
    error_line,
    short_line,
)
from midspan.engine.dialects import Dialect, Query, with_costs
from midspan.engine.engines import dialect_of
from midspan.engine.pace import Pace, retry_after
from midspan.engine.refusals import is_about_length, is_passing, read_refusal
from midspan.engine.replicas import Replicas
from midspan.engine.roles import MissingReply, RawReply, SeededCall
from midspan.engine.server import EndpointConfig, ServerHabits
from midspan.errors import MidspanError
from midspan.served import root_of

_LONGEST_WAIT = 300.0
# A limit of the rate is waited for so many longest pauses in all.
_PATIENCE = 10
# Seconds that a connection may take; who has answered nothing yet gets so many tries.
_CONNECT_SECONDS = 5.0
_CONTACT_TRIES = 2
# Longest wait for the reply to the first, short request.
_CONTACT_SECONDS = 20.0
# Older and newer name of the limit of tokens, each to the other.
_OTHER_LIMIT = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}
_log = logging.getLogger("midspan")


def for_contact(config: EndpointConfig) -> EndpointConfig:
    """A server's config for the first request: nobody waits long for its reply."""
    return config.model_copy(update={"timeout": min(config.timeout, _CONTACT_SECONDS)})


class Unusable(MidspanError):
    """A server that is not there or speaks otherwise."""


class Client:
    """Connections to one server, or to all its replicas, for many threads.

    Args:
        config: The server.
        stop: Once set, nothing new is sent and pauses end.
        habits: What is known of the server, and what is learnt of it.
        dialect: How it is asked; by default its engine's.
    """

    def __init__(
        self,
        config: EndpointConfig,
        stop: threading.Event,
        habits: ServerHabits,
        dialect: Dialect | None = None,
    ) -> None:
        self._config, self._stop, self._habits = config, stop, habits
        self._dialect = dialect or dialect_of(config, habits)
        self._key = config.key()
        self._http = httpx2.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx2.Timeout(
                config.timeout, connect=min(config.timeout, _CONNECT_SECONDS), pool=None
            ),
            limits=httpx2.Limits(max_connections=config.concurrency * len(config.urls)),
            # Without TLS no certificates are read, which takes longer than most replies.
            verify=any(url.startswith("https:") for url in config.urls),
        )
        self._replicas = Replicas(config.urls)
        self._pace = Pace(config.requests_per_minute, stop)
        self._backoff = tenacity.wait_random_exponential(multiplier=0.5, max=config.backoff)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()

    def contact(self) -> None:
        """Ask every replica for something short, so that one that cannot be asked is known at once.

        One that is slow, overloaded or refuses this request alone is there. Of several that are
        gone all but the last are left out, and that is said.

        Raises:
            MidspanError: Nobody listens, or whoever does takes no request or speaks otherwise.
        """
        gone: list[MidspanError] = []
        for url in self._config.urls:
            try:
                self._contact(url)
            except Unusable as error:
                gone.append(error)
        if len(gone) == len(self._config.urls):
            raise gone[0]
        for absent in gone:
            _log.warning("%s; the run goes on with the other replicas", absent)

    def _contact(self, url: str) -> None:
        query = self._dialect.first()
        for number in range(1, _CONTACT_TRIES + 1):
            try:
                self._try(query, url)
                return
            except (Unreached, Unreadable) as error:
                if number == _CONTACT_TRIES:
                    raise self._unusable(error, url) from error
            except Passing as error:
                _log.warning("%s, at first contact: %s; the run goes on", self._config.model, error)
                return

    def complete(self, task: SeededCall) -> RawReply | MissingReply:
        """The answer to a call, after as many requests and tries as it takes and the config allows.

        Raises:
            MidspanError: The server refuses all requests, such as for a wrong key, or was never
                there.
        """
        replies: list[RawReply] = []
        try:
            queries = self._dialect.queries(task)
        except TooLong as error:
            return MissingReply("too_long", str(error))
        except MidspanError as error:
            # Such as a phrase with words that the vocabulary lacks: this call's fault alone.
            return MissingReply("failed", str(error))
        for query in queries:
            reply = self._ask(query)
            if isinstance(reply, MissingReply):
                return with_costs(reply, replies)
            replies.append(reply)
        return self._dialect.joined(task, replies)

    def _ask(self, query: Query) -> RawReply | MissingReply:
        """The reply to one request, after all its tries."""
        spoilt = 0
        last: str | None = None

        def try_once() -> RawReply | MissingReply:
            nonlocal spoilt, last
            with self._replicas.lease(last) as url:
                last = url
                try:
                    reply = self._try(query, url)
                except Spoilt:
                    spoilt += 1
                    raise
            return reply

        trying = tenacity.Retrying(
            stop=self._ends,
            wait=self._wait,
            retry=tenacity.retry_if_exception_type(Passing),
            sleep=tenacity.sleep_using_event(self._stop),
            reraise=True,
        )
        try:
            answer = trying(try_once)
        except Passing as error:
            if isinstance(error, Unreached) and not self._habits.is_reached:
                raise self._unusable(error, self._config.url) from error
            self._habits.is_gone = isinstance(error, Unreached | Unreadable)
            self._habits.is_held = isinstance(error, Limited)
            tries = trying.statistics["attempt_number"]
            said = short_line(str(error), self._key)
            answer = MissingReply("failed", f"{self._config.model}: {said} ({tries} tries)")
        return self._with_spoilt(answer, query, spoilt) if spoilt else answer

    def _ends(self, state: tenacity.RetryCallState) -> bool:
        """Whether a request has had its tries; few where nobody was ever there, or was just now.

        One that a limit of the rate holds back has them and time as well, unless another one has
        just waited in vain.
        """
        error = state.outcome.exception() if state.outcome else None
        tries = self._config.attempts
        if isinstance(error, Unreached) and not self._habits.is_reached:
            tries = min(tries, _CONTACT_TRIES)
        elif isinstance(error, Unreached | Unreadable) and self._habits.is_gone:
            tries = 1
        is_waiting = isinstance(error, Limited) and tries > 1 and not self._habits.is_held
        patience = _PATIENCE * self._config.backoff if is_waiting else 0.0
        is_over = state.attempt_number >= tries and state.idle_for >= patience
        return is_over or self._stop.is_set()

    def _unusable(self, error: Passing, url: str) -> "Unusable":
        asks = str(error).endswith("?")
        remedy = "" if asks else "; is the server running, and is the address its API's, up to /v1?"
        return Unusable(f"{self._config.model} at {url}: {error}{remedy}")

    def _with_spoilt(
        self, answer: RawReply | MissingReply, query: Query, tries: int
    ) -> RawReply | MissingReply:
        """An answer with what the tries before it may cost: their prompts, and all they might say.

        Where no limit was set, what they might say is not known and not counted.
        """
        prompt, longest = tries * query.prompt_tokens, query.limit
        with self._habits.lock:
            is_first, self._habits.is_estimated = not self._habits.is_estimated, True
        if is_first:
            _log.warning(
                "%s: late and unreadable replies may have to be paid; they count at an estimate",
                self._config.model,
            )
        if isinstance(answer, RawReply):
            return replace(answer, lost_prompt_tokens=prompt, lost_tokens=tries * longest)
        return answer._replace(
            lost_prompt_tokens=answer.lost_prompt_tokens + prompt,
            lost_tokens=answer.lost_tokens + tries * longest,
        )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Unreached) and self._replicas.has_another:
            return 0.0
        requested = error.wait if isinstance(error, Passing) else 0.0
        return max(float(self._backoff(state)), min(requested, _LONGEST_WAIT))

    def _body(self, query: Query) -> dict[str, Any]:
        """A request as this server takes it."""
        body = {}
        for name, value in query.body.items():
            sent = self._habits.limit_field if name == "max_tokens" else name
            if sent not in self._habits.omitted:
                body[sent] = value
        for name, value in self._config.extra_body.items():
            ours = body.get(name)
            body[name] = (
                {**ours, **value} if isinstance(ours, dict) and isinstance(value, dict) else value
            )
        return body

    def _try(self, query: Query, url: str) -> RawReply | MissingReply:
        self._pace.wait()
        body = self._body(query)
        address = (url if query.in_api else root_of(url)) + query.path
        try:
            if query.body:
                response = self._http.post(address, json=body)
            else:
                response = self._http.get(address)
        except httpx2.RequestError as error:
            raise self._lost(error, url) from error
        self._habits.is_reached = True
        self._replicas.is_back(url)
        if is_passing(response, self._config):
            fault = Limited if response.status_code == 429 else Passing
            raise fault(error_line(response, self._key), retry_after(response))
        if response.status_code != 200:
            if response.status_code in (400, 422) and self._leaves_out(body, response.text):
                return self._try(query, url)
            if query.refused is not None and (reply := query.refused(response)) is not None:
                return reply
            return read_refusal(response, self._config, url, self._key)
        try:
            reply = query.read(response)
        except Passing as error:
            raise type(error)(short_line(str(error), self._key)) from error
        self._habits.is_gone = self._habits.is_held = False
        return self._counted(reply, query)

    def _lost(self, error: httpx2.RequestError, url: str) -> Passing:
        """What became of a request to which no status came; its replica is left alone for a while.

        One that is late may only be slow.
        """
        fault = self._fault(error)
        if not isinstance(error, httpx2.ReadTimeout | httpx2.WriteTimeout):
            self._replicas.is_gone(url)
        return fault

    def _fault(self, error: httpx2.RequestError) -> Passing:
        """What became of a request to which no status came."""
        words = short_line(f"{type(error).__name__}: {error}".rstrip(": "), self._key)
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
            return Unreached(f"no connection ({words})")
        if isinstance(error, httpx2.LocalProtocolError | httpx2.UnsupportedProtocol):
            return Passing(words)
        if isinstance(error, httpx2.TimeoutException):
            return Spoilt(f"no reply within {self._config.timeout:g} s ({words})")
        return Spoilt(f"the connection broke ({words})")

    def _counted(self, reply: RawReply | MissingReply, query: Query) -> RawReply | MissingReply:
        """A reply with its tokens: of a server that reports none, a quarter of its characters."""
        if isinstance(reply, MissingReply):
            known = reply.lost_tokens or reply.lost_prompt_tokens
        else:
            known = reply.tokens or reply.prompt_tokens
        if known:
            return reply
        with self._habits.lock:
            if self._habits.reports_usage:
                _log.warning(
                    "%s reports no usage: four characters count as a token", self._config.model
                )
            self._habits.reports_usage = False
        asked = query.prompt_tokens
        if isinstance(reply, MissingReply):
            return reply._replace(lost_prompt_tokens=asked, lost_tokens=query.limit)
        written = len(str(reply.raw)) + len(reply.thoughts)
        return replace(reply, tokens=-(-written // 4), prompt_tokens=asked)

    def _leaves_out(self, body: dict[str, Any], message: str) -> bool:
        """Leave out, from now on, a field that the server names in its refusal of a body.

        Other threads' requests may have it still; they are sent again, too.
        """
        if is_about_length(message):
            return False
        for name in ("temperature", "top_p", "seed", *_OTHER_LIMIT):
            is_ours = name in body and name not in self._config.extra_body
            if is_ours and re.search(rf"\b{name}\b", message):
                self._learn_refused(name)
                return True
        return False

    def _learn_refused(self, name: str) -> None:
        """Note a field that the server does not take, and say so once."""
        with self._habits.lock:
            if name in self._habits.omitted:
                return
            self._habits.omitted.add(name)
            other, instead = _OTHER_LIMIT.get(name), ""
            if other is not None and other not in self._habits.omitted:
                self._habits.limit_field, instead = other, f"; {other} goes in its place"
        _log.warning(
            "%s refuses %s: it is left out%s (servers: omit)", self._config.model, name, instead
        )
