"""One request to an OpenAI-compatible server, with its tries. Knows HTTP, not what is asked."""

import logging
import os
import re
import threading
import time
from dataclasses import replace
from typing import Any, Self

import httpx2
import tenacity

from midspan.engine.calls import Chat
from midspan.engine.completion import Passing, error_line, read_completion, short_line
from midspan.engine.roles import MissingReply, RawReply, SeededCall
from midspan.engine.server import OPENAI_URL, EndpointConfig, ServerHabits
from midspan.errors import MidspanError

# Worth another try, as are all server errors: time-outs, conflicts, too many requests.
_PASSING = frozenset({408, 409, 425, 429})
# Nothing that is asked will be answered.
_CONFIGURATION = frozenset({401, 403, 404, 405})
_LONGEST_WAIT = 300.0
# Older and newer name of the limit of tokens, each to the other.
_OTHER_LIMIT = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}
_log = logging.getLogger("midspan")


class Client:
    """Connections to one server, for many threads.

    Args:
        config: The server.
        stop: Once set, nothing new is sent and pauses end.
        habits: What is known of the server, and what is learnt of it.
    """

    def __init__(self, config: EndpointConfig, stop: threading.Event, habits: ServerHabits) -> None:
        self._config, self._stop, self._habits = config, stop, habits
        self._key = os.environ.get(config.key_variable, "")
        if config.url == OPENAI_URL and not self._key:
            raise MidspanError(f"{config.model}: set {config.key_variable} to your key")
        self._http = httpx2.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=config.timeout,
            limits=httpx2.Limits(max_connections=config.concurrency),
        )
        self._pace = _Pace(config.requests_per_minute, stop)
        self._backoff = tenacity.wait_random_exponential(multiplier=0.5, max=config.backoff)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()

    def complete(self, task: SeededCall) -> RawReply | MissingReply:
        """The answer to a `Chat`, after as many tries as it takes and the config allows.

        Raises:
            MidspanError: The server refuses all requests, such as for a wrong key.
        """
        trying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self._config.attempts)
            | tenacity.stop_when_event_set(self._stop),
            wait=self._wait,
            retry=tenacity.retry_if_exception_type(Passing),
            sleep=tenacity.sleep_using_event(self._stop),
            reraise=True,
        )
        try:
            return trying(self._try, task)
        except Passing as error:
            tries = self._config.attempts
            reason = short_line(str(error), self._key)
            return MissingReply("failed", f"{self._config.model}: {reason} ({tries} tries)")

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        requested = error.wait if isinstance(error, Passing) else 0.0
        return max(float(self._backoff(state)), min(requested, _LONGEST_WAIT))

    def _body(self, task: SeededCall) -> dict[str, Any]:
        call = task.call
        assert isinstance(call, Chat)
        longest = call.max_tokens
        if longest is not None and self._config.min_tokens is not None:
            longest = max(longest, self._config.min_tokens)
        optional = {
            "temperature": call.temperature,
            "top_p": call.top_p,
            "seed": task.seed,
            self._habits.limit_field: longest,
        }
        given = {
            name: value
            for name, value in optional.items()
            if value is not None and name not in self._habits.omitted
        }
        messages = list(call.messages)
        named = {"model": self._config.model, "messages": messages}
        return {**named, **given, **self._config.extra_body}

    def _try(self, task: SeededCall) -> RawReply | MissingReply:
        self._pace.wait()
        body = self._body(task)
        try:
            response = self._http.post(f"{self._config.url}/chat/completions", json=body)
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise Passing(type(error).__name__) from error
        if response.status_code in _PASSING or response.status_code >= 500:
            raise Passing(f"HTTP {response.status_code}", _retry_after(response))
        if response.status_code != 200:
            if response.status_code in (400, 422) and self._leaves_out(body, response.text):
                return self._try(task)
            return self._refused(response)
        reply = read_completion(response)
        if isinstance(reply, RawReply) and not (reply.tokens or reply.prompt_tokens):
            return self._counted(reply, body)
        return reply

    def _counted(self, reply: RawReply, body: dict[str, Any]) -> RawReply:
        """A reply of a server that reports no usage: four characters are taken for a token."""
        with self._habits.lock:
            if self._habits.reports_usage:
                _log.warning(
                    "%s reports no usage: four characters count as a token", self._config.model
                )
            self._habits.reports_usage = False
        asked = sum(len(message["content"]) for message in body["messages"])
        written = len(reply.raw) + len(reply.thoughts)
        return replace(reply, tokens=-(-written // 4), prompt_tokens=-(-asked // 4))

    def _leaves_out(self, body: dict[str, Any], message: str) -> bool:
        """Leave out, from now on, a field that the server names in its refusal of a body.

        Other threads' requests may have it still; they are sent again, too.
        """
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

    def _refused(self, response: httpx2.Response) -> MissingReply:
        reason = error_line(response, self._key)
        if response.status_code in _CONFIGURATION:
            raise MidspanError(f"{self._config.model} at {self._config.url}: {reason}")
        too_long = "context_length" in response.text or "maximum context" in response.text
        return MissingReply("too_long" if too_long else "failed", f"{self._config.model}: {reason}")


class _Pace:
    """Requests of all threads at even distances."""

    def __init__(self, per_minute: float | None, stop: threading.Event) -> None:
        self._distance = 60 / per_minute if per_minute else 0.0
        self._stop = stop
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self) -> None:
        """Return when this thread's turn has come."""
        if not self._distance:
            return
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._distance
        self._stop.wait(turn - now)


def _retry_after(response: httpx2.Response) -> float:
    seconds = response.headers.get("retry-after", "")
    return float(seconds) if seconds.replace(".", "", 1).isdecimal() else 0.0
