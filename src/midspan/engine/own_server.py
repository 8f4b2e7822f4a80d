"""``midspan serve``: anchors, text with holes, rules and settings under one field of a request."""

import re
from collections.abc import Mapping
from typing import Any

import httpx2

from midspan.engine.calls import Chat
from midspan.engine.completion import Unreadable, read_completion
from midspan.engine.dialects import CHAT, Dialect, Query
from midspan.engine.roles import MissingReply, RawReply, SeededCall
from midspan.engine.served_text import ServedText
from midspan.frozen import plain

_FIELD = "midspan"


class OwnDialect(Dialect):
    """A model behind ``midspan serve``, which places text by itself."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._text = ServedText(self.config)

    def first(self) -> Query:
        """What the server says of its model; nothing is generated."""
        return Query(f"/models/{self.config.model}", {}, read=_read_model)

    def queries(self, task: SeededCall) -> list[Query]:
        """A conversation with what is fixed in its answer.

        Raises:
            MidspanError: The length of the canvas takes the tokenizer, which is not known.
        """
        call, seed = task
        assert isinstance(call, Chat)
        own: dict[str, Any] = {}
        if call.anchors:
            own["anchors"] = [{"position": at, "text": text} for text, at in call.anchors]
        if call.scaffold is not None:
            own["canvas"] = call.scaffold.text
        if call.rules:
            own["rules"] = plain(call.rules)
        fields: dict[str, Any] = {"max_tokens": self._length(call)}
        if own:
            fields[_FIELD] = own
        query = self.chat(call, seed, **fields)

        def read(response: httpx2.Response) -> RawReply | MissingReply:
            return _read(response, call)

        return [Query(CHAT, query.body, read, prompt_tokens=query.prompt_tokens, limit=query.limit)]

    def _length(self, call: Chat) -> int | None:
        """Tokens of the canvas; None where the server knows them."""
        if call.extend is None:
            return call.max_tokens
        if call.scaffold is not None and not call.anchors and not call.extend:
            return None
        from midspan.decoding import scaffold_anchors

        with self._text.using() as text:
            ends = [start + len(text.encode_at(phrase, start)) for phrase, start in call.anchors]
            if call.scaffold is not None:
                ends.append(scaffold_anchors(text, call.scaffold.text)[1])
        return max(ends, default=0) + call.extend


def _read_model(response: httpx2.Response) -> RawReply:
    try:
        return RawReply(str(response.json()["id"]), prompt_tokens=1)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise Unreadable("a reply that is not midspan's; is it another engine?") from error


def _read(response: httpx2.Response, call: Chat) -> RawReply | MissingReply:
    """A reply with its forwards, and what follows the last anchor."""
    reply = read_completion(response)
    if isinstance(reply, MissingReply):
        return reply
    try:
        own: Mapping[str, Any] = response.json()[_FIELD]
        forwards, rejected_by = int(own["forwards"]), str(own.get("rejected_by") or "")
    except (LookupError, TypeError, ValueError) as error:
        raise Unreadable("a reply that is not midspan's; is it another engine?") from error
    return RawReply(
        reply.raw,
        reply.tokens,
        reply.prompt_tokens,
        forwards,
        _behind_anchors(reply.raw, call),
        str(own.get("thoughts") or reply.thoughts),
        rejected_by,
    )


def _behind_anchors(text: str, call: Chat) -> str:
    """What of a text follows the last phrase that was fixed in it, wherever white space stands."""
    if not call.anchors:
        return ""
    last = max(call.anchors, key=lambda anchor: anchor.start)
    phrase = r"\s*".join(map(re.escape, last.text.split()))
    found = re.search(phrase, text)
    return text[found.end() :].strip() if found else ""
