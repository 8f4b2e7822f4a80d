"""From calls to what a local model decodes: canvases, anchors, and the settings of each call."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from midspan.engine.calls import Anchor, Call, Chat, Message, Scaffold
from midspan.engine.decodings import one_by_one, resized, swept
from midspan.errors import MidspanError

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig, Request, Rule, UserCanvas
    from midspan.models import DiffusionLM


class TooLong(MidspanError):
    """A prompt or canvas that the model does not take."""


def in_user_turn(call: Chat) -> bool:
    """Whether the holes that a call fills stand in the user's turn."""
    return call.scaffold is not None and call.scaffold.turn == "user"


class Canvases:
    """The canvases of a model's calls.

    Args:
        lm: The model.
        decoding: How it answers; a call's own settings go before it.

    Attributes:
        always_draws: Whether its sampler draws at temperatures of its own.
    """

    def __init__(self, lm: "DiffusionLM", decoding: "DecodingConfig") -> None:
        self._lm, self._decoding = lm, decoding
        self.always_draws = lm.family.noise == "uniform"
        self._configs: dict[tuple[object, ...], DecodingConfig] = {}
        self._refused: dict[tuple[object, ...], str] = {}

    def problem(self, call: Chat) -> str | None:
        """Why a call cannot be decoded; None where it can."""
        self.config(call)
        return self._refused.get(self._settings(call))

    def request(self, call: Chat, seed: int) -> "Request":
        """What a call asks to decode.

        Raises:
            TooLong: It does not fit the model.
            MidspanError: It cannot be decoded.
        """
        from midspan.decoding import chat_request

        config = self.config(call)
        length = config.length
        if problem := self.problem(call):
            raise MidspanError(problem)
        if in_user_turn(call):
            return self._filled_by_user(call, seed)
        anchors = self._anchors(call)
        if max(anchors, default=-1) >= length:
            raise TooLong(f"an anchor ends behind the canvas of {length} tokens")
        request = chat_request(self._lm, call.messages, config, anchors, seed, call.rules)
        copies = () if request.copies is None else request.copies.prompts
        self._check_room(max(map(len, (request.prompt_ids, *copies))), length)
        return request

    def _filled_by_user(self, call: Chat, seed: int) -> "Request":
        """A request whose holes stand in the user's turn."""
        from midspan.decoding import Request

        for rule in (*self._decoding.rules, *call.rules):
            if rule.screens_prompts:
                raise MidspanError(
                    f"rules.{rule.rule}: reads whole prompts, and the user's turn has holes"
                )
        canvas = self.of_user(call)
        self._check_room(len(canvas.prompt_ids), canvas.length)
        return Request(canvas.prompt_ids, canvas.anchors, seed, call.rules)

    def _anchors(self, call: Chat) -> dict[int, int]:
        """What is fixed in the response: phrases and the scaffold's words."""
        from midspan.decoding import merge_anchors, scaffold_anchors

        anchors = self.phrases(call.anchors)
        if call.scaffold is None:
            return anchors
        return merge_anchors(scaffold_anchors(self._lm, call.scaffold.text)[0], anchors)

    def of_user(self, call: Chat) -> "UserCanvas":
        """The canvas of a call whose holes stand in the user's turn."""
        from midspan.decoding import user_canvas

        assert call.scaffold is not None
        messages = self.guarded(call.messages, call.rules)
        return user_canvas(self._lm, messages, call.scaffold.text, call.scaffold.extend)

    def guarded(
        self, messages: Sequence[Message], own_rules: "tuple[Rule, ...]" = ()
    ) -> tuple[Message, ...]:
        """The conversation as the rules leave it."""
        from midspan.decoding import guarded

        return guarded(messages, (*self._decoding.rules, *own_rules))

    def phrases(self, anchors: Sequence[Anchor]) -> dict[int, int]:
        """Canvas position to token."""
        from midspan.decoding import anchor_phrases

        return anchor_phrases(self._lm, anchors)

    def prompt(self, messages: Sequence[Message], length: int) -> list[int]:
        """Ids of a conversation that leaves room for a canvas.

        Raises:
            TooLong: It leaves none.
        """
        ids = self._lm.encode_chat(messages)
        self._check_room(len(ids), length)
        return ids

    def _check_room(self, prompt: int, length: int) -> None:
        if prompt + length > self._lm.max_length:
            raise TooLong(
                f"a prompt of {prompt} tokens and a canvas of {length} exceed "
                f"{self._lm.name}'s {self._lm.max_length}"
            )

    def _settings(self, call: Chat) -> tuple[object, ...]:
        """What of a call decides how it is decoded; few calls differ in it."""
        anchors = call.anchors if call.extend is not None else ()
        settings: tuple[object, ...] = (call.temperature, call.top_p, call.max_tokens)
        settings += (call.extend, anchors, call.decoding)
        if call.scaffold is not None:
            asked = tuple(tuple(turn.items()) for turn in call.messages)
            settings += (call.scaffold, asked if in_user_turn(call) else ())
        return settings

    def config(self, call: Chat) -> "DecodingConfig":
        """The role's decoding under the call's own settings."""
        settings = self._settings(call)
        if settings not in self._configs:
            try:
                self._configs[settings] = self._changed(call)
            except MidspanError as error:
                # This call's fault alone; `_request` says so.
                self._configs[settings], self._refused[settings] = self._decoding, str(error)
        return self._configs[settings]

    def _changed(self, call: Chat) -> "DecodingConfig":
        changes: dict[str, Any] = {}
        if call.temperature is not None and not self.always_draws:
            changes["temperature"] = call.temperature
        has_nucleus = self._decoding.sampler != "llada" and not self.always_draws
        if call.top_p is not None and has_nucleus:
            changes["top_p"] = call.top_p
        length = call.max_tokens
        if in_user_turn(call):
            return one_by_one(self._decoding, self.of_user(call).length, changes)
        if call.extend is not None:
            ends = [start + len(self._lm.encode_at(text, start)) for text, start in call.anchors]
            if call.scaffold is not None:
                ends.append(self._scaffold_length(call.scaffold))
            length = max(ends, default=0) + call.extend
        return swept(resized(self._decoding.model_copy(update=changes), length), call.decoding)

    def _scaffold_length(self, scaffold: Scaffold) -> int:
        from midspan.decoding import scaffold_anchors

        return scaffold_anchors(self._lm, scaffold.text)[1]

    def length(self, call: Call) -> int:
        """Of the canvas of a call of likelihoods or gradients."""
        length = getattr(call, "max_tokens", None)
        return self._decoding.length if length is None else length
