"""vLLM's DiffusionGemma: the canvas that a request brings, its pinned positions, and reads of it.

A request may bring the canvas that decoding starts from, as exactly so many ids as the server's
canvas has, and positions of it that stay as they are. With one step, read only, the reply has the
log-probabilities of given tokens at every position. Noise stands where nothing is fixed: random ids
of the whole vocabulary, drawn by the call's seed. Temperature and seed are refused there.
"""

import random
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import httpx2

from midspan.engine.calls import Chat, Choices, Score
from midspan.engine.canvas_reads import CanvasRead, choice_reads, choices_of, score_of, score_reads
from midspan.engine.canvases import TooLong
from midspan.engine.capabilities import Need
from midspan.engine.completion import Unreadable, read_completion
from midspan.engine.dialects import CHAT, Dialect, Query, prompt_tokens
from midspan.engine.roles import MissingReply, RawReply, SeededCall
from midspan.errors import MidspanError

if TYPE_CHECKING:
    from midspan.models.tokenized import TokenizedModel

# What a request of a canvas of another length is told.
_LENGTH = re.compile(r"diffusion_seed_canvas must hold exactly (\d+) ids")


class VllmDialect(Dialect):
    """A diffusion model over uniform noise behind vLLM."""

    by_token: frozenset[Need] = frozenset({"prefix", "anchors", "log-probs"})

    def first(self) -> Query:
        """A canvas of no ids: a diffusion model refuses it with the length of its own.

        Nothing is generated then. Another model takes no notice and answers.
        """
        query = super().first()
        body = {**query.body, "vllm_xargs": {"diffusion_seed_canvas": []}}
        return Query(CHAT, body, self._no_canvas, self._learn, limit=query.limit)

    def _no_canvas(self, response: httpx2.Response) -> RawReply | MissingReply:
        self.habits.denied |= {"prefix", "anchors", "logprobs"}
        return read_completion(response)

    def _learn(self, response: httpx2.Response) -> RawReply | None:
        """The length of the canvas, of a refusal that states it."""
        found = _LENGTH.search(response.text)
        if found is None:
            return None
        self.habits.canvas_length = int(found[1])
        return RawReply(found[1], prompt_tokens=1)

    def load(self) -> None:
        """Read the tokenizer.

        Raises:
            MidspanError: There is none, or its model is another than the server's.
        """
        with self.text.using() as text:
            stated = text.canvas_length
        if stated is None and self.habits.canvas_length is None:
            raise MidspanError(
                f"{self.config.text_source}: has no canvas_length in config.json, and the server "
                "does not say its own; name the served model's tokenizer (servers: tokenizer)"
            )

    @property
    def canvas_length(self) -> int:
        """Tokens of the canvas: what the server says goes before config.json."""
        if self.habits.canvas_length is not None:
            return self.habits.canvas_length
        self.load()
        with self.text.using() as text:
            assert text.canvas_length is not None
            return text.canvas_length

    def room(self, asked: int | None) -> int:
        """Tokens of the canvas, of which a shorter answer leaves the rest."""
        return min(asked or self.canvas_length, self.canvas_length)

    def draws(self, call: Any) -> bool:
        """A reply is drawn, a likelihood is read."""
        return isinstance(call, Chat)

    def queries(self, task: SeededCall) -> list[Query]:
        """One request, or as many reads as a likelihood takes.

        Raises:
            MidspanError: What is fixed does not fit the canvas, or has words that the vocabulary
                lacks.
        """
        call, seed = task
        if isinstance(call, Chat) and not call.anchors and call.scaffold is None:
            return [self.chat(call, seed)]
        with self.text.using() as text:
            if isinstance(call, Chat):
                return [self._anchored(text, call, seed)]
            if isinstance(call, Score):
                reads = score_reads(text, call, self.canvas_length)
            else:
                assert isinstance(call, Choices)
                reads = choice_reads(text, call, self.canvas_length)
            return [self._read(text, call, read, seed) for read in reads]

    def joined(self, task: SeededCall, replies: Sequence[RawReply]) -> RawReply:
        """A text, or the numbers of a likelihood from what its reads brought."""
        call = task.call
        if isinstance(call, Chat):
            return replies[0]
        found: list[dict[int, dict[int, float]]] = [
            {int(at): {int(t): v for t, v in row} for at, row in one.raw} for one in replies
        ]
        with self.text.using() as text:
            if isinstance(call, Score):
                raw: Any = score_of(text, call, self.canvas_length, found)
            else:
                assert isinstance(call, Choices)
                raw = choices_of(text, call, self.canvas_length, found)
        prompts = sum(one.prompt_tokens for one in replies)
        tokens = sum(one.tokens for one in replies)
        return RawReply(raw, tokens, prompts, forwards=len(replies))

    def _anchored(self, text: "TokenizedModel", call: Chat, seed: int) -> Query:
        from midspan.decoding import anchor_phrases, merge_anchors, scaffold_anchors

        anchors, end = anchor_phrases(text, call.anchors), 0
        if call.scaffold is not None:
            words, end = scaffold_anchors(text, call.scaffold.text)
            anchors = merge_anchors(words, anchors)
        fixed_end = max(anchors) + 1
        end = max(end, fixed_end)
        limit = call.max_tokens if call.extend is None else end + call.extend
        if limit is not None and end > limit:
            raise TooLong(f"an anchor ends behind the answer's {limit} tokens")
        xargs = {
            "diffusion_seed_canvas": self._canvas(text, anchors, seed),
            "diffusion_pinned": sorted(anchors),
        }
        fields = {"max_tokens": limit, "vllm_xargs": xargs, "return_token_ids": True}
        query = self.chat(call, seed, **fields)

        def read(response: httpx2.Response) -> RawReply | MissingReply:
            reply = read_completion(response)
            return (
                reply
                if isinstance(reply, MissingReply)
                else self._whole(reply, response, fixed_end)
            )

        return Query(CHAT, query.body, read, prompt_tokens=query.prompt_tokens, limit=limit or 0)

    def _whole(self, reply: RawReply, response: httpx2.Response, end: int) -> RawReply:
        """The reply with what follows the last anchor."""
        try:
            ids = [int(token) for token in response.json()["choices"][0]["token_ids"]]
        except (LookupError, TypeError, ValueError) as error:
            raise Unreadable("a reply without the token ids that were asked for") from error
        with self.text.using() as text:
            rest = text.decode_response(ids[end:]).answer
        return RawReply(
            reply.raw, reply.tokens, reply.prompt_tokens, continuation=rest, thoughts=reply.thoughts
        )

    def _canvas(self, text: "TokenizedModel", fixed: Mapping[int, int], seed: int) -> list[int]:
        """Noise with what is fixed in it.

        Raises:
            MidspanError: A position is outside the canvas.
        """
        length, rows = self.canvas_length, text.num_rows
        if max(fixed, default=0) >= length:
            raise TooLong(f"an anchor ends behind the server's canvas of {length} tokens")
        rng = random.Random(f"{seed}/canvas")
        noise = [rng.randrange(rows) for _ in range(length)]
        return [fixed.get(place, token) for place, token in enumerate(noise)]

    def _read(
        self, text: "TokenizedModel", call: Score | Choices, read: CanvasRead, seed: int
    ) -> Query:
        body = {
            "model": self.config.model,
            "messages": list(call.messages),
            "max_tokens": self.canvas_length,
            "logprobs": True,
            "return_tokens_as_token_ids": True,
            "vllm_xargs": {
                "diffusion_seed_canvas": self._canvas(text, read.fixed, seed),
                "diffusion_max_steps": 1,
                # vLLM's field takes numbers alone.
                "diffusion_read_only": 1,
            },
            **({"logprob_token_ids": list(read.ids)} if read.ids else {"top_logprobs": read.top_k}),
        }

        def numbers(response: httpx2.Response) -> RawReply:
            return _numbers(response, read.places)

        asked = prompt_tokens(call)
        return Query(CHAT, body, numbers, prompt_tokens=asked, limit=self.canvas_length)


def _numbers(response: httpx2.Response, places: range) -> RawReply:
    """Log-probabilities by place and token."""
    try:
        reply = response.json()
        rows = reply["choices"][0]["logprobs"]["content"]
        if len(rows) < places.stop:
            raise LookupError("too few positions")
        found = [
            [
                place,
                [[_id(one["token"]), float(one["logprob"])] for one in rows[place]["top_logprobs"]],
            ]
            for place in places
        ]
        usage = reply.get("usage") or {}
        tokens, asked = (int(usage.get(f"{part}_tokens") or 0) for part in ("completion", "prompt"))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable("a reply without the log-probabilities that were asked for") from error
    return RawReply(found, tokens, asked)


def _id(name: str) -> int:
    return int(name.removeprefix("token_id:"))
