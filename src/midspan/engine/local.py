"""A local diffusion model as a role: chats, likelihoods and gradients, in its own batches."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any, cast

from midspan.engine.calls import (
    Anchor,
    Call,
    Chat,
    GCGCandidates,
    Message,
    Scaffold,
    Score,
    SuffixLosses,
)
from midspan.engine.decodings import one_by_one, resized, swept
from midspan.engine.roles import MissingReply, RawReply, Role, SeededCall
from midspan.errors import MidspanError
from midspan.frozen import plain

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig, Generation, Request, Rule, UserCanvas
    from midspan.models import DiffusionLM


class LocalRole(Role):
    """A `DiffusionLM` that answers calls.

    Args:
        lm: The model. Where `device` is another than its own, it is moved there while it answers
            and back afterwards, so that several large models take turns on one accelerator.
        decoding: How it answers; a call's own temperature and length go before it.
        batch_size: Rows of a full batch.
        device: Where it answers; None for where it is.
    """

    def __init__(
        self,
        lm: "DiffusionLM",
        decoding: "DecodingConfig",
        batch_size: int = 32,
        device: str | None = None,
    ) -> None:
        self.lm = lm
        self.decoding = decoding
        self.capacity = batch_size
        self.fingerprint = f"{lm.name}@{lm.fingerprint}"
        self._home, self._device = str(lm.device), device
        # It always draws, at temperatures of its own.
        self._has_own_sampler = lm.family.noise == "uniform"
        self._configs: dict[tuple[object, ...], DecodingConfig] = {}
        self._refused: dict[tuple[object, ...], str] = {}

    def describe(self, call: Call) -> dict[str, Any]:
        """The messages, and the settings that the call comes to."""
        if not isinstance(call, Chat):
            rules = plain(self.decoding.rules)
            length = {"length": self._length(call)}
            return super().describe(call) | length | ({"rules": rules} if rules else {})
        scaffold = {} if call.scaffold is None else {"scaffold": call.scaffold}
        rules = plain(call.rules)
        decoding = self._config(call).model_dump(mode="json")
        # A call that cannot be decoded must not share the reply of one that can.
        problem = self._refused.get(self._settings(call))
        return {
            "messages": call.messages,
            "anchors": call.anchors,
            "decoding": decoding,
            **scaffold,
            **({"rules": rules} if rules else {}),
            **({"problem": problem} if problem else {}),
        }

    def draws(self, call: Call) -> bool:
        """Substitutions do, and sampling."""
        if not isinstance(call, Chat):
            return isinstance(call, GCGCandidates)
        ruled = any(rule.draws for rule in call.rules)
        return self._has_own_sampler or ruled or self._config(call).is_random

    def queue(self, call: Call) -> str:
        """Canvases of one length, filled in one way, share a batch."""
        if isinstance(call, Chat):
            return self._config(call).model_dump_json()
        return f"{type(call).__name__} {self._length(call)}"

    def size(self, call: Call) -> int:
        """Characters of the conversation, near enough to its tokens."""
        return sum(len(message["content"]) for message in getattr(call, "messages", ()))

    def load(self) -> None:
        """Move to the accelerator.

        Raises:
            MidspanError: The model is spread over several devices.
        """
        if self._device is not None:
            from midspan.models.placement import is_spread

            if is_spread(self.lm.base):
                raise MidspanError(
                    f"device: {self.lm.name} is spread by device_map, and is not moved to "
                    f"{self._device}; leave device out"
                )
            self.lm.model.to(self._device)

    def unload(self) -> None:
        """Move back and free the accelerator's memory."""
        if self._device is not None:
            import torch

            self.lm.model.to(self._home)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def answer(self, tasks: Sequence[SeededCall]) -> Iterator[tuple[int, RawReply | MissingReply]]:
        """Chats of one queue in one batch, likelihoods too, the others one by one."""
        ready: dict[int, Any] = {}
        for index, task in enumerate(tasks):
            try:
                ready[index] = self._prepared(task)
            except TooLong as error:
                yield index, MissingReply("too_long", str(error))
            except MidspanError as error:
                # Such as a phrase with words that the vocabulary lacks: this call's fault alone.
                yield index, MissingReply("failed", str(error))
        calls = {index: tasks[index].call for index in ready}
        chats = {i: ready[i] for i, call in calls.items() if isinstance(call, Chat)}
        scores = {i: ready[i] for i, call in calls.items() if isinstance(call, Score)}
        yield from self._generate(calls, chats)
        if scores:
            values = whitebox().score(self.lm, list(scores.values()), self.capacity or 1)
            yield from zip(scores, values, strict=True)
        for index in ready.keys() - chats.keys() - scores.keys():
            try:
                yield index, ready[index]()
            except MidspanError as error:
                # Such as a suffix that merges with the words beside it.
                yield index, MissingReply("failed", str(error))

    def _generate(
        self, calls: Mapping[int, Call], requests: "Mapping[int, Request]"
    ) -> Iterator[tuple[int, RawReply]]:
        from midspan.decoding import decode

        groups: dict[DecodingConfig, list[int]] = {}
        for index in requests:
            groups.setdefault(self._config(cast(Chat, calls[index])), []).append(index)
        for config, indices in groups.items():
            rows = [requests[index] for index in indices]
            generations = decode(self.lm, rows, config, batch_size=len(rows))
            for index, generation in zip(indices, generations, strict=True):
                call = cast(Chat, calls[index])
                yield index, self._answer(call, requests[index], generation)

    def _answer(self, call: Chat, request: "Request", generation: "Generation") -> RawReply:
        text_ids = list(
            takewhile(lambda token: token not in self.lm.tokens.stop, generation.tokens)
        )
        end = max(request.anchors, default=-1) + 1
        before = (*request.prompt_ids, *text_ids[:end])
        reply = RawReply(
            generation.text,
            tokens=len(text_ids),
            prompt_tokens=len(request.prompt_ids),
            forwards=generation.forwards,
            continuation=self.lm.decode_response(text_ids[end:], before).answer if end else "",
            thoughts=generation.thoughts,
            rejected_by=generation.rejected_by,
        )
        if not _in_user_turn(call) or generation.rejected_by:
            return reply
        text = self.text(call, generation.tokens, generation.text)
        filled = len(generation.tokens) - len(request.anchors)
        return replace(reply, raw=text, tokens=filled, continuation="", thoughts="")

    def decodable(self, call: Chat, seed: int) -> "tuple[Request, DecodingConfig]":
        """What a call comes to, for who decodes it with hooks of their own.

        Raises:
            MidspanError: It cannot be decoded.
        """
        return self._request(call, seed), self._config(call)

    def text(self, call: Chat, tokens: Sequence[int], answer: str) -> str:
        """What the reply to a call says, from its canvas and the answer that this holds."""
        return self._user_canvas(call).text(self.lm, tokens) if _in_user_turn(call) else answer

    def _prepared(self, task: SeededCall) -> Any:
        """A request to decode, a likelihood to read, or a function that makes the answer."""
        call, seed = task
        if isinstance(call, Chat):
            return self._request(call, seed)
        if self.decoding.rules and isinstance(call, Score | GCGCandidates | SuffixLosses):
            call = replace(call, messages=self._guarded(call.messages))
        length = self._length(call)
        if isinstance(call, Score):
            prompt, context = self._prompt(call.messages, length), self._phrases(call.context)
            return call, whitebox().readings(self.lm, call, prompt, context, length)
        if isinstance(call, GCGCandidates | SuffixLosses):
            return self._search(call, length, seed)
        raise TypeError(f"no answer is defined for {type(call).__name__} calls")

    def _search(
        self, call: GCGCandidates | SuffixLosses, length: int, seed: int
    ) -> Callable[[], RawReply]:
        longest = call.suffix if isinstance(call, GCGCandidates) else max(call.suffixes, key=len)
        self._prompt(whitebox().insert_suffix(call.messages, longest), length)
        if isinstance(call, SuffixLosses):
            return lambda: whitebox().losses(self.lm, call, length, self.capacity or 1)
        return lambda: whitebox().substitute(self.lm, call, length, seed)

    def _request(self, call: Chat, seed: int) -> "Request":
        from midspan.decoding import Request

        length = self._config(call).length
        if problem := self._refused.get(self._settings(call)):
            raise MidspanError(problem)
        if _in_user_turn(call):
            canvas = self._user_canvas(call)
            self._check_room(len(canvas.prompt_ids), canvas.length)
            return Request(canvas.prompt_ids, canvas.anchors, seed, call.rules)
        anchors = self._anchors(call)
        if max(anchors, default=-1) >= length:
            raise TooLong(f"an anchor ends behind the canvas of {length} tokens")
        prompt = self._prompt(self._guarded(call.messages, call.rules), length)
        return Request(tuple(prompt), anchors, seed, call.rules)

    def _anchors(self, call: Chat) -> dict[int, int]:
        """What is fixed in the response: phrases and the scaffold's words."""
        from midspan.decoding import merge_anchors, scaffold_anchors

        anchors = self._phrases(call.anchors)
        if call.scaffold is None:
            return anchors
        return merge_anchors(scaffold_anchors(self.lm, call.scaffold.text)[0], anchors)

    def _user_canvas(self, call: Chat) -> "UserCanvas":
        from midspan.decoding import user_canvas

        assert call.scaffold is not None
        messages = self._guarded(call.messages, call.rules)
        return user_canvas(self.lm, messages, call.scaffold.text, call.scaffold.extend)

    def _guarded(
        self, messages: Sequence[Message], own_rules: "tuple[Rule, ...]" = ()
    ) -> tuple[Message, ...]:
        """The conversation as the rules leave it."""
        from midspan.decoding import guarded

        return guarded(messages, (*self.decoding.rules, *own_rules))

    def _phrases(self, anchors: Sequence[Anchor]) -> dict[int, int]:
        """Canvas position to token."""
        from midspan.decoding import anchor_phrases

        return anchor_phrases(self.lm, anchors)

    def _prompt(self, messages: Sequence[Message], length: int) -> list[int]:
        ids = self.lm.encode_chat(messages)
        self._check_room(len(ids), length)
        return ids

    def _check_room(self, prompt: int, length: int) -> None:
        if prompt + length > self.lm.max_length:
            raise TooLong(
                f"a prompt of {prompt} tokens and a canvas of {length} exceed "
                f"{self.lm.name}'s {self.lm.max_length}"
            )

    def _settings(self, call: Chat) -> tuple[object, ...]:
        """What of a call decides how it is decoded; few calls differ in it."""
        anchors = call.anchors if call.extend is not None else ()
        settings: tuple[object, ...] = (call.temperature, call.top_p, call.max_tokens)
        settings += (call.extend, anchors, call.decoding)
        if call.scaffold is not None:
            asked = tuple(tuple(turn.items()) for turn in call.messages)
            settings += (call.scaffold, asked if _in_user_turn(call) else ())
        return settings

    def _config(self, call: Chat) -> "DecodingConfig":
        """The role's decoding under the call's own settings."""
        settings = self._settings(call)
        if settings not in self._configs:
            try:
                self._configs[settings] = self._changed(call)
            except MidspanError as error:
                # This call's fault alone; `_request` says so.
                self._configs[settings], self._refused[settings] = self.decoding, str(error)
        return self._configs[settings]

    def _changed(self, call: Chat) -> "DecodingConfig":
        changes: dict[str, Any] = {}
        if call.temperature is not None and not self._has_own_sampler:
            changes["temperature"] = call.temperature
        has_nucleus = self.decoding.sampler != "llada" and not self._has_own_sampler
        if call.top_p is not None and has_nucleus:
            changes["top_p"] = call.top_p
        length = call.max_tokens
        if _in_user_turn(call):
            return one_by_one(self.decoding, self._user_canvas(call).length, changes)
        if call.extend is not None:
            ends = [start + len(self.lm.encode_at(text, start)) for text, start in call.anchors]
            if call.scaffold is not None:
                ends.append(self._scaffold_length(call.scaffold))
            length = max(ends, default=0) + call.extend
        return swept(resized(self.decoding.model_copy(update=changes), length), call.decoding)

    def _scaffold_length(self, scaffold: Scaffold) -> int:
        from midspan.decoding import scaffold_anchors

        return scaffold_anchors(self.lm, scaffold.text)[1]

    def _length(self, call: Call) -> int:
        length = getattr(call, "max_tokens", None)
        return self.decoding.length if length is None else length


class TooLong(MidspanError):
    """A prompt or canvas that the model does not take."""


def _in_user_turn(call: Chat) -> bool:
    return call.scaffold is not None and call.scaffold.turn == "user"


def whitebox() -> Any:
    """The module of likelihoods and gradients, which imports torch."""
    from midspan.engine import whitebox

    return whitebox
