"""SGLang: token ids on ``/generate``, so that an answer can be begun.

A diffusion model there takes the likeliest tokens: neither a temperature nor a seed is sent, and
equal requests have equal answers. Ids keep a user's text text, also where it names a mask token.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import httpx2

from midspan.data.text import whole_text
from midspan.engine.calls import Chat
from midspan.engine.capabilities import Need
from midspan.engine.completion import Unreadable
from midspan.engine.dialects import Dialect, Query
from midspan.engine.roles import RawReply, SeededCall

if TYPE_CHECKING:
    from midspan.models.tokenized import TokenizedModel

_GENERATE = "/generate"
_INFO = "/model_info"


class SglangDialect(Dialect):
    """A diffusion model behind SGLang, such as LLaDA2 or SDAR."""

    by_token: frozenset[Need] = frozenset({"chat", "prefix"})

    def first(self) -> Query:
        """What the server says of its model; nothing is generated."""
        return Query(_INFO, {}, read=_read_info, in_api=False)

    def load(self) -> None:
        """Read the tokenizer, where requests are ids."""
        if self.record.prefix:
            with self.text.using():
                pass

    def queries(self, task: SeededCall) -> list[Query]:
        """Ids of the conversation and of the answer's beginning; text where no tokenizer is known.

        Raises:
            MidspanError: The beginning has words that the vocabulary lacks.
        """
        call = task.call
        assert isinstance(call, Chat)
        if not self.record.prefix:
            return super().queries(task)
        with self.text.using() as text:
            prompt = text.encode_chat(call.messages)
            prefix = text.encode_phrase(call.anchors[0].text) if call.anchors else []
        limit = call.extend
        if limit is None and call.max_tokens is not None:
            limit = max(1, call.max_tokens - len(prefix))
        sampling = {} if limit is None else {"max_new_tokens": limit}
        body = {"input_ids": [*prompt, *prefix], "sampling_params": sampling}

        def read(response: httpx2.Response) -> RawReply:
            with self.text.using() as text:
                return _read(response, text, prompt, prefix)

        asked = len(prompt) + len(prefix)
        return [Query(_GENERATE, body, read, None, False, asked, limit or 0)]


def _read_info(response: httpx2.Response) -> RawReply:
    """The model's path."""
    try:
        return RawReply(str(response.json()["model_path"]), prompt_tokens=1)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise Unreadable("a reply that is not SGLang's; is it another engine?") from error


def _read(
    response: httpx2.Response, text: "TokenizedModel", prompt: Sequence[int], prefix: Sequence[int]
) -> RawReply:
    try:
        reply = response.json()
        said, meta = reply["text"], reply["meta_info"]
        ids = reply.get("output_ids")
        tokens, asked = meta.get("completion_tokens", 0), meta.get("prompt_tokens", 0)
        if not isinstance(said, str) or not all(type(n) is int and n >= 0 for n in (tokens, asked)):
            raise TypeError("text and counts")
        ids = None if ids is None else [int(token) for token in ids]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable("a malformed reply") from error
    if ids is None:
        begun = text.decode_text(prefix)
        rest = whole_text(said) if prefix else ""
        return RawReply(whole_text(begun + said), tokens, asked, continuation=rest)
    whole = text.decode_response([*prefix, *ids], prompt)
    rest = text.decode_response(ids, [*prompt, *prefix]).answer if prefix else ""
    return RawReply(whole.answer, tokens, asked, continuation=rest, thoughts=whole.thoughts)
