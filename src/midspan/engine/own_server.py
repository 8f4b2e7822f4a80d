"""``midspan serve``: anchors, text with holes, rules and settings under one field of a request."""

import re
from collections.abc import Mapping
from typing import Any

import httpx2

from midspan.engine.calls import Chat
from midspan.engine.completion import Unreadable, read_completion
from midspan.engine.dialects import CHAT, Dialect, Query
from midspan.engine.roles import MissingReply, RawReply, SeededCall
from midspan.frozen import plain

_FIELD = "midspan"


class OwnDialect(Dialect):
    """A model behind ``midspan serve``, which places text by itself."""

    def first(self) -> Query:
        """What the server says of its model; nothing is generated."""
        return Query(f"/models/{self.config.model}", {}, read=self._read_model)

    def _read_model(self, response: httpx2.Response) -> RawReply:
        """The model's name; how it is decoded is learnt."""
        try:
            told = response.json()
            name, settings = str(told["id"]), dict(told.get(_FIELD, {}).get("settings", {}))
            length = settings.get("length")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise Unreadable("a reply that is not midspan's; is it another engine?") from error
        self.habits.settings = settings
        self.habits.canvas_length = length if isinstance(length, int) else None
        return RawReply(name, prompt_tokens=1)

    def room(self, asked: int | None) -> int | None:
        """Tokens of the canvas: as many as are asked for, else as the server has said."""
        return asked or self.habits.canvas_length

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

        with self.text.using() as text:
            ends = [start + len(text.encode_at(phrase, start)) for phrase, start in call.anchors]
            if call.scaffold is not None:
                ends.append(scaffold_anchors(text, call.scaffold.text)[1])
        return max(ends, default=0) + call.extend


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
    """What of a text follows the last words that were fixed in it, wherever white space stands."""
    fixed = ""
    if call.anchors:
        fixed = max(call.anchors, key=lambda anchor: anchor.start).text
    elif call.scaffold is not None:
        fixed = next((part for part in reversed(_texts(call.scaffold.text)) if part.strip()), "")
    if not fixed.strip():
        return ""
    found = re.search(r"\s*".join(map(re.escape, fixed.split())), text)
    return text[found.end() :].strip() if found else ""


def _texts(scaffold: str) -> list[str]:
    """What of a scaffold is no hole."""
    return re.split(r"\[\d+(?: words?)?\]", scaffold)
