"""One request to an OpenAI-compatible server, with its tries. Knows HTTP, not what is asked."""

import os
import threading
import time
from typing import Any, Self

import httpx2
import tenacity

from midspan.engine.calls import Chat
from midspan.engine.roles import MissingReply, RawReply, SeededCall
from midspan.engine.server import OPENAI_URL, EndpointConfig
from midspan.errors import MidspanError

# Worth another try, as are all server errors: time-outs, conflicts, too many requests.
_PASSING = frozenset({408, 409, 425, 429})
# Nothing that is asked will be answered.
_CONFIGURATION = frozenset({401, 403, 404, 405})
_LONGEST_WAIT = 300.0


class Passing(Exception):
    """A fault that may have gone at the next try.

    Attributes:
        wait: Seconds that the server asks for.
    """

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Client:
    """Connections to one server, for many threads.

    Args:
        config: The server.
        stop: Once set, nothing new is sent and pauses end.
    """

    def __init__(self, config: EndpointConfig, stop: threading.Event) -> None:
        self._config, self._stop = config, stop
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
            return trying(self._try, self._body(task))
        except Passing as error:
            tries = self._config.attempts
            return MissingReply("failed", f"{self._config.model}: {error} ({tries} tries)")

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        requested = error.wait if isinstance(error, Passing) else 0.0
        return max(float(self._backoff(state)), min(requested, _LONGEST_WAIT))

    def _body(self, task: SeededCall) -> dict[str, Any]:
        call = task.call
        assert isinstance(call, Chat)
        # OpenAI's newer models refuse the older name, other servers know no other.
        longest = "max_completion_tokens" if self._config.url == OPENAI_URL else "max_tokens"
        optional = {
            "temperature": call.temperature,
            "top_p": call.top_p,
            longest: call.max_tokens,
        }
        given = {name: value for name, value in optional.items() if value is not None}
        messages = list(call.messages)
        return {"model": self._config.model, "messages": messages, "seed": task.seed, **given}

    def _try(self, body: dict[str, Any]) -> RawReply | MissingReply:
        self._pace.wait()
        try:
            response = self._http.post(f"{self._config.url}/chat/completions", json=body)
        except httpx2.TransportError as error:
            raise Passing(type(error).__name__) from error
        if response.status_code in _PASSING or response.status_code >= 500:
            raise Passing(f"HTTP {response.status_code}", _retry_after(response))
        if response.status_code != 200:
            return self._refused(response)
        return _read(response)

    def _refused(self, response: httpx2.Response) -> MissingReply:
        reason = f"HTTP {response.status_code} {_message(response)}".strip()
        if self._key:
            reason = reason.replace(self._key, "[key]")
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


def _read(response: httpx2.Response) -> RawReply | MissingReply:
    """The text of a reply; one that is not whole is worth another try."""
    try:
        reply = response.json()
        choice = reply["choices"][0]
        text = choice["message"].get("content") or choice["message"].get("refusal")
        usage = reply.get("usage") or {}
        tokens = int(usage.get("completion_tokens", 0)), int(usage.get("prompt_tokens", 0))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Passing("a malformed reply") from error
    if text is None and choice.get("finish_reason") == "content_filter":
        return MissingReply("failed", "the server's content filter held the reply back")
    if text is not None and not isinstance(text, str):
        raise Passing("a malformed reply")
    return RawReply(text or "", *tokens)


def _message(response: httpx2.Response) -> str:
    """The server's own words, in one short line."""
    try:
        message = str(response.json()["error"]["message"])
    except (ValueError, LookupError, TypeError):
        message = response.reason_phrase
    return " ".join(message.split())[:200]


def _retry_after(response: httpx2.Response) -> float:
    seconds = response.headers.get("retry-after", "")
    return float(seconds) if seconds.replace(".", "", 1).isdecimal() else 0.0
