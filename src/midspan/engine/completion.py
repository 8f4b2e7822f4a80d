"""What an OpenAI-compatible server sends back, read for what it is."""

import re
from typing import Any

import httpx2

from midspan.data.text import whole_text
from midspan.engine.roles import MissingReply, RawReply

_LONGEST_MESSAGE = 200
# More than any reply has: such a count is no count.
_MOST_TOKENS = 10**9
_FILTERED = "the server's content filter held the reply back"
NO_ROOM = (
    "no answer came before the limit of tokens; reasoning models need more (servers: min_tokens)"
)
# Where servers put what a reasoning model thought.
_THOUGHTS = ("reasoning_content", "reasoning")
_TAGGED = re.compile(r"\s*<think>(.*?)(?:</think>|\Z)", re.DOTALL)


class Passing(Exception):
    """A fault that may have gone at the next try.

    Attributes:
        wait: Seconds that the server asks for.
    """

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Limited(Passing):
    """Too many requests: the server is there, and may be asked later."""


class Unreached(Passing):
    """No connection came about: nothing was sent."""


class Spoilt(Passing):
    """The server took the request, and its reply was late, broken or unreadable: it may be paid."""


class Unreadable(Spoilt):
    """What came is no reply of this protocol."""


def read_completion(response: httpx2.Response) -> RawReply | MissingReply:
    """The text of a reply, its thoughts apart.

    Raises:
        Unreadable: It is none.
        Spoilt: The server speaks of an error.
    """
    try:
        reply = response.json()
        failed = isinstance(reply, dict) and reply.get("error") and not reply.get("choices")
        words = message_of(reply) if failed else ""
    except (ValueError, RecursionError) as error:
        raise Unreadable(_no_json(response)) from error
    if failed:
        raise Spoilt(f"HTTP {response.status_code} with an error: {words}")
    try:
        choice = reply["choices"][0]
        message = choice["message"]
        text = _text(message.get("content")) or _text(message.get("refusal"))
        thoughts = next(filter(None, (_text(message.get(name)) for name in _THOUGHTS)), "")
    except (LookupError, TypeError, AttributeError) as error:
        raise Unreadable("a malformed reply") from error
    if not thoughts and (tagged := _TAGGED.match(text)):
        thoughts, text = tagged[1].strip(), text[tagged.end() :].strip()
    usage = reply.get("usage")
    tokens, prompt_tokens = (_count(usage, name) for name in ("completion_tokens", "prompt_tokens"))
    ending = choice.get("finish_reason")
    if not text and (ending in ("content_filter", "length") or thoughts):
        reason = _FILTERED if ending == "content_filter" else NO_ROOM
        return MissingReply("failed", reason, prompt_tokens, tokens)
    return RawReply(text, tokens, prompt_tokens, thoughts=thoughts)


def message_of(body: Any) -> str:
    """The server's own words in an error's body; empty where there are none.

    They stand under `error.message`, `message` or `detail`, as a text or as a list of faults.
    """
    if isinstance(body, str):
        return body
    if isinstance(body, list):
        return "; ".join(filter(None, map(message_of, body)))
    if not isinstance(body, dict):
        return ""
    place = body.get("loc")
    where = ".".join(map(str, place)) + ": " if isinstance(place, list) else ""
    for name in ("error", "message", "detail", "msg"):
        if words := message_of(body.get(name)):
            return where + words
    return ""


def error_line(response: httpx2.Response, key: str) -> str:
    """An error's status and words in one short line, without the key."""
    try:
        words = message_of(response.json())
    except (ValueError, RecursionError):
        words = ""
    return short_line(f"HTTP {response.status_code} {words or response.reason_phrase}", key)


def short_line(text: str, key: str) -> str:
    """A text in one short line, without the key."""
    if key:  # before the cut, which might go through it
        text = text.replace(key, "[key]")
    return whole_text(" ".join(text.split())[:_LONGEST_MESSAGE])


def _text(content: Any) -> str:
    """A text, or the parts of a list that are text; None is none."""
    if content is None:
        return ""
    if isinstance(content, str):
        return whole_text(content)
    return whole_text("".join(part["text"] for part in content if part.get("type") == "text"))


def _count(usage: Any, name: str) -> int:
    """Tokens that the server reports; bookkeeping never decides whether an answer counts."""
    value = usage.get(name) if isinstance(usage, dict) else None
    if not isinstance(value, int) or isinstance(value, bool):
        return 0
    return value if 0 < value < _MOST_TOKENS else 0


def _no_json(response: httpx2.Response) -> str:
    start = response.text.lstrip()[:20].lower()
    if start.startswith(("data:", "event:", ":")):
        return "a stream of events; the server streams although it was not asked to"
    if start.startswith("<"):
        return "a page, not JSON; is the address that of the API, up to /v1?"
    return "a malformed reply"
