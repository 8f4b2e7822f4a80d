"""A local diffusion model as a role: chats, likelihoods and gradients, in its own batches."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any, cast

from midspan.engine.calls import (
    Call,
    Chat,
    Choices,
    GCGCandidates,
    Judge,
    Score,
    SuffixLosses,
)
from midspan.engine.canvases import Canvases, TooLong, in_user_turn
from midspan.engine.roles import MissingReply, RawReply, Role, SeededCall
from midspan.errors import MidspanError
from midspan.frozen import plain

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig, Generation, Request
    from midspan.engine.tampering import Tamper
    from midspan.models import DiffusionLM


class LocalRole(Role):
    """A `DiffusionLM` that answers calls.

    Args:
        lm: The model. Where `device` is another than its own, it is moved there while it answers
            and back afterwards, so that several large models take turns on one accelerator.
        decoding: How it answers; a call's own temperature and length go before it.
        batch_size: Rows of a full batch.
        device: Where it answers; None for where it is.
        tamper: Changes the weights for calls that ask for it; None where nobody may.
    """

    def __init__(
        self,
        lm: "DiffusionLM",
        decoding: "DecodingConfig",
        batch_size: int = 32,
        device: str | None = None,
        tamper: "Tamper | None" = None,
    ) -> None:
        self.lm = lm
        self._tamper = tamper
        self.decoding = decoding
        self.capacity = batch_size
        self.fingerprint = f"{lm.name}@{lm.fingerprint}"
        self._home, self._device = str(lm.device), device
        self._canvases = Canvases(lm, decoding)

    def describe(self, call: Call) -> dict[str, Any]:
        """The messages, and the settings that the call comes to."""
        if not isinstance(call, Chat):
            rules = plain(self.decoding.rules)
            length = {"length": self._canvases.length(call)}
            return super().describe(call) | length | ({"rules": rules} if rules else {})
        scaffold = {} if call.scaffold is None else {"scaffold": call.scaffold}
        rules = plain(call.rules)
        decoding = self._canvases.config(call).model_dump(mode="json")
        # A call that cannot be decoded must not share the reply of one that can.
        problem = self._canvases.problem(call)
        return {
            "messages": call.messages,
            "anchors": call.anchors,
            "decoding": decoding,
            **scaffold,
            **({"rules": rules} if rules else {}),
            **({"problem": problem} if problem else {}),
            **({"tampering": call.tampering.model_dump(mode="json")} if call.tampering else {}),
        }

    def draws(self, call: Call) -> bool:
        """Substitutions do, and sampling."""
        if not isinstance(call, Chat):
            return isinstance(call, GCGCandidates)
        ruled = any(rule.draws for rule in call.rules)
        canvases = self._canvases
        return canvases.always_draws or ruled or canvases.config(call).is_random

    def queue(self, call: Call) -> str:
        """Canvases of one length, filled in one way by one state of the weights, share a batch."""
        if isinstance(call, Chat):
            tampering = call.tampering.model_dump_json() if call.tampering else ""
            return self._canvases.config(call).model_dump_json() + tampering
        return f"{type(call).__name__} {self._canvases.length(call)}"

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
        try:
            weights = self._tampered(tasks[0].call)  # One state for all of a queue.
        except MidspanError as error:
            missing = MissingReply("failed", str(error))
            yield from ((index, missing) for index in range(len(tasks)))
            return
        with weights:
            yield from self._answers(tasks)

    def _tampered(self, call: Call) -> AbstractContextManager[None]:
        """Within the context the weights are as a call wants them."""
        tampering = getattr(call, "tampering", None)
        if tampering is None:
            return nullcontext()
        if self._tamper is None:
            raise MidspanError(f"{self.lm.name}: as this role its weights cannot be changed")
        return self._tamper(self.lm, tampering)

    def _answers(
        self, tasks: Sequence[SeededCall]
    ) -> Iterator[tuple[int, RawReply | MissingReply]]:
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
        choices = {i: ready[i] for i, call in calls.items() if isinstance(call, Choices)}
        if choices:
            values = whitebox().choose(self.lm, list(choices.values()), self.capacity or 1)
            yield from zip(choices, values, strict=True)
        for index in ready.keys() - chats.keys() - scores.keys() - choices.keys():
            try:
                yield index, ready[index]()
            except MidspanError as error:
                # Such as a suffix that merges with the words beside it.
                yield index, MissingReply("failed", str(error))

    def _generate(
        self, calls: Mapping[int, Call], requests: "Mapping[int, Request]"
    ) -> Iterator[tuple[int, RawReply | MissingReply]]:
        from midspan.decoding import BrokenRowsError, decode

        groups: dict[DecodingConfig, list[int]] = {}
        for index in requests:
            groups.setdefault(self._canvases.config(cast(Chat, calls[index])), []).append(index)
        for config, indices in groups.items():
            rows = [requests[index] for index in indices]
            # A rule may make several rows of one.
            size = max(len(rows), self.capacity or 1)
            generations: Sequence[Generation]
            reason = ""
            try:
                generations = decode(self.lm, rows, config, batch_size=size)
            except BrokenRowsError as error:
                generations, reason = error.generations, str(error)
            for index, generation in zip(indices, generations, strict=True):
                if generation.is_broken:
                    yield index, MissingReply("failed", reason)
                    continue
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
        if not in_user_turn(call) or generation.rejected_by:
            return reply
        text = self.text(call, generation.tokens, generation.text)
        filled = len(generation.tokens) - len(request.anchors)
        return replace(reply, raw=text, tokens=filled, continuation="", thoughts="")

    def decodable(self, call: Chat, seed: int) -> "tuple[Request, DecodingConfig]":
        """What a call comes to, for who decodes it with hooks of their own.

        Raises:
            MidspanError: It cannot be decoded.
        """
        return self._canvases.request(call, seed), self._canvases.config(call)

    def text(self, call: Chat, tokens: Sequence[int], answer: str) -> str:
        """What the reply to a call says, from its canvas and the answer that this holds."""
        return self._canvases.of_user(call).text(self.lm, tokens) if in_user_turn(call) else answer

    def _prepared(self, task: SeededCall) -> Any:
        """A request to decode, a likelihood to read, or a function that makes the answer."""
        call, seed = task
        if isinstance(call, Chat):
            return self._canvases.request(call, seed)
        if self.decoding.rules and not isinstance(call, Judge):
            call = replace(call, messages=self._canvases.guarded(call.messages))
        length = self._canvases.length(call)
        if isinstance(call, Score):
            prompt = self._canvases.prompt(call.messages, length)
            context = self._canvases.phrases(call.context)
            return call, whitebox().readings(self.lm, call, prompt, context, length)
        if isinstance(call, Choices):
            prompt = self._canvases.prompt(call.messages, length)
            return whitebox().slot_reading(self.lm, call, prompt, length)
        if isinstance(call, GCGCandidates | SuffixLosses):
            return self._search(call, length, seed)
        raise TypeError(f"no answer is defined for {type(call).__name__} calls")

    def _search(
        self, call: GCGCandidates | SuffixLosses, length: int, seed: int
    ) -> Callable[[], RawReply]:
        longest = call.suffix if isinstance(call, GCGCandidates) else max(call.suffixes, key=len)
        self._canvases.prompt(whitebox().insert_suffix(call.messages, longest), length)
        if isinstance(call, SuffixLosses):
            return lambda: whitebox().losses(self.lm, call, length, self.capacity or 1)
        return lambda: whitebox().substitute(self.lm, call, length, seed)


def whitebox() -> Any:
    """The module of likelihoods and gradients, which imports torch."""
    from midspan.engine import whitebox

    return whitebox
