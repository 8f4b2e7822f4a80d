"""One request to an OpenAI-compatible server, with its tries. Knows HTTP, not what is asked."""

import logging
import re
import threading
from dataclasses import replace
from typing import Any, Self

import httpx2
import tenacity

from midspan.engine.calls import Chat, user
from midspan.engine.completion import (
    NO_ROOM,
    Passing,
    Spoilt,
    Unreached,
    Unreadable,
    error_line,
    read_completion,
    short_line,
)
from midspan.engine.pace import Pace, retry_after
from midspan.engine.roles import MissingReply, RawReply, SeededCall
from midspan.engine.server import EndpointConfig, ServerHabits
from midspan.errors import MidspanError

# Worth another try, as are all server errors: time-outs, conflicts, too many requests.
_PASSING = frozenset({408, 409, 425, 429})
# Nothing that is asked will be answered; why, and the remedy.
_KEY, _CREDIT = "is the right key in {variable}?", "is there credit left on the account?"
_ADDRESS = "are the address and the model's name right?"
_CONFIGURATION = {
    **dict.fromkeys(range(300, 400), _ADDRESS),
    **{401: _KEY, 402: _CREDIT, 403: _KEY, 404: _ADDRESS, 405: _ADDRESS},
}
# Some servers say so with status 400.
_NO_MODEL = re.compile(
    r"model_not_found|(no such|unknown|invalid)[ _]model|"
    r"model\b[^.]{0,80}\b(not found|not exist|doesn't exist)",
    re.IGNORECASE,
)
# A request that moderation holds back is no wrong key, though its status is the same.
_MODERATION = re.compile(r"moderat|flagged|content.{0,20}(policy|filter)", re.IGNORECASE)
# Such a refusal names the limit of tokens, and would refuse none that fits.
_TOO_LONG = re.compile(r"context.?length|maximum context|too (long|large)", re.IGNORECASE)
_CUT = re.compile(r"output limit was reached|higher max_", re.IGNORECASE)
_LONGEST_WAIT = 300.0
# Seconds that a connection may take; who has answered nothing yet gets so many tries.
_CONNECT_SECONDS = 5.0
_CONTACT_TRIES = 2
# Of the first, short request: longest wait for its reply, and its limit of tokens.
_CONTACT_SECONDS = 20.0
_CONTACT_TOKENS = 16
# Older and newer name of the limit of tokens, each to the other.
_OTHER_LIMIT = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}
_log = logging.getLogger("midspan")


def for_contact(config: EndpointConfig) -> EndpointConfig:
    """A server's config for the first request: nobody waits long for its reply."""
    return config.model_copy(update={"timeout": min(config.timeout, _CONTACT_SECONDS)})


class Client:
    """Connections to one server, for many threads.

    Args:
        config: The server.
        stop: Once set, nothing new is sent and pauses end.
        habits: What is known of the server, and what is learnt of it.
    """

    def __init__(self, config: EndpointConfig, stop: threading.Event, habits: ServerHabits) -> None:
        self._config, self._stop, self._habits = config, stop, habits
        self._key = config.key()
        self._http = httpx2.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx2.Timeout(
                config.timeout, connect=min(config.timeout, _CONNECT_SECONDS), pool=None
            ),
            limits=httpx2.Limits(max_connections=config.concurrency),
            # Without TLS no certificates are read, which takes longer than most replies.
            verify=config.url.startswith("https:"),
        )
        self._pace = Pace(config.requests_per_minute, stop)
        self._backoff = tenacity.wait_random_exponential(multiplier=0.5, max=config.backoff)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()

    def contact(self) -> None:
        """Send one short request, so that a server that cannot be asked is known at once.

        One that is slow, overloaded or refuses this request alone is there.

        Raises:
            MidspanError: Nobody listens, or whoever does takes no request or speaks otherwise.
        """
        call = Chat("contact", (user("Answer with one word: ready"),), max_tokens=_CONTACT_TOKENS)
        for number in range(1, _CONTACT_TRIES + 1):
            try:
                self._try(SeededCall(call, 0))
                return
            except (Unreached, Unreadable) as error:
                if number == _CONTACT_TRIES:
                    raise self._unusable(error) from error
            except Passing as error:
                _log.warning("%s, at first contact: %s; the run goes on", self._config.model, error)
                return

    def complete(self, task: SeededCall) -> RawReply | MissingReply:
        """The answer to a `Chat`, after as many tries as it takes and the config allows.

        Raises:
            MidspanError: The server refuses all requests, such as for a wrong key, or was never
                there.
        """
        spoilt = 0

        def try_once() -> RawReply | MissingReply:
            nonlocal spoilt
            try:
                return self._try(task)
            except Spoilt:
                spoilt += 1
                raise

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
                raise self._unusable(error) from error
            self._habits.is_gone = isinstance(error, Unreached | Unreadable)
            tries = trying.statistics["attempt_number"]
            said = short_line(str(error), self._key)
            answer = MissingReply("failed", f"{self._config.model}: {said} ({tries} tries)")
        return self._with_spoilt(answer, task, spoilt) if spoilt else answer

    def _ends(self, state: tenacity.RetryCallState) -> bool:
        """Whether a request has had its tries; few where nobody was ever there, or was just now."""
        error = state.outcome.exception() if state.outcome else None
        tries = self._config.attempts
        if isinstance(error, Unreached) and not self._habits.is_reached:
            tries = min(tries, _CONTACT_TRIES)
        elif isinstance(error, Unreached | Unreadable) and self._habits.is_gone:
            tries = 1
        return state.attempt_number >= tries or self._stop.is_set()

    def _unusable(self, error: Passing) -> MidspanError:
        asks = str(error).endswith("?")
        remedy = "" if asks else "; is the server running, and is the address its API's, up to /v1?"
        return MidspanError(f"{self._config.model} at {self._config.url}: {error}{remedy}")

    def _with_spoilt(
        self, answer: RawReply | MissingReply, task: SeededCall, tries: int
    ) -> RawReply | MissingReply:
        """An answer with what the tries before it may cost: their prompts, and all they might say.

        Where no limit was set, what they might say is not known and not counted.
        """
        body = self._body(task)
        prompt, longest = tries * _prompt_tokens(body), self._longest(body)
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
        except httpx2.RequestError as error:
            raise self._fault(error) from error
        self._habits.is_reached = True
        if response.status_code in _PASSING or response.status_code >= 500:
            raise Passing(error_line(response, self._key), retry_after(response))
        if response.status_code != 200:
            if response.status_code in (400, 422) and self._leaves_out(body, response.text):
                return self._try(task)
            return self._refused(response)
        try:
            reply = read_completion(response)
        except Passing as error:
            raise type(error)(short_line(str(error), self._key)) from error
        self._habits.is_gone = False
        return self._counted(reply, body)

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

    def _counted(
        self, reply: RawReply | MissingReply, body: dict[str, Any]
    ) -> RawReply | MissingReply:
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
        asked = _prompt_tokens(body)
        if isinstance(reply, MissingReply):
            return reply._replace(lost_prompt_tokens=asked, lost_tokens=self._longest(body))
        written = len(reply.raw) + len(reply.thoughts)
        return replace(reply, tokens=-(-written // 4), prompt_tokens=asked)

    def _longest(self, body: dict[str, Any]) -> int:
        """Tokens that a request lets the server write; 0 where it sets no limit."""
        limit = body.get(self._habits.limit_field)
        return limit if isinstance(limit, int) else 0

    def _leaves_out(self, body: dict[str, Any], message: str) -> bool:
        """Leave out, from now on, a field that the server names in its refusal of a body.

        Other threads' requests may have it still; they are sent again, too.
        """
        if _TOO_LONG.search(message) or _CUT.search(message):
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

    def _refused(self, response: httpx2.Response) -> MissingReply:
        reason, text = error_line(response, self._key), response.text
        remedy = _CONFIGURATION.get(response.status_code)
        if response.status_code in (400, 422) and _NO_MODEL.search(text):
            remedy = _ADDRESS
        if response.status_code == 403 and _MODERATION.search(text):
            remedy = None
        if remedy is not None:
            remedy = remedy.format(variable=self._config.key_variable)
            raise MidspanError(f"{self._config.model} at {self._config.url}: {reason}; {remedy}")
        if _CUT.search(text):
            return MissingReply("failed", NO_ROOM)
        too_long = _TOO_LONG.search(text) is not None
        return MissingReply("too_long" if too_long else "failed", f"{self._config.model}: {reason}")


def _prompt_tokens(body: dict[str, Any]) -> int:
    """Four characters are taken for a token."""
    return -(-sum(len(message["content"]) for message in body["messages"]) // 4)
