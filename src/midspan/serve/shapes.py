"""OpenAI's objects of the two kinds of completion, whole and in pieces."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from midspan.models import DiffusionLM
from midspan.serve.answers import Choice, summary, traced, usage
from midspan.serve.jobs import Done
from midspan.serve.wire import ChatRequest, CompletionRequest

Kind = Literal["chat", "text"]
_OBJECTS = {
    ("chat", False): "chat.completion",
    ("chat", True): "chat.completion.chunk",
    ("text", False): "text_completion",
    ("text", True): "text_completion",
}


@dataclass(frozen=True)
class Shape:
    """The objects of one response.

    Attributes:
        kind: Of completion.
        id: The request's.
        asked: The request.
        lm: The model.
        created: When, in seconds since 1970.
    """

    kind: Kind
    id: str
    asked: ChatRequest | CompletionRequest
    lm: DiffusionLM
    created: int = field(default_factory=lambda: int(time.time()))

    def _object(self, choices: list[dict[str, Any]], is_piece: bool, **more: Any) -> dict[str, Any]:
        return {
            "id": f"{'chatcmpl' if self.kind == 'chat' else 'cmpl'}-{self.id}",
            "object": _OBJECTS[self.kind, is_piece],
            "created": self.created,
            "model": self.asked.model,
            "system_fingerprint": self.lm.fingerprint,
            "choices": choices,
            **more,
        }

    def _own(self, choice: Choice) -> dict[str, Any]:
        return {"midspan": traced(self.lm, choice)} if self.asked.midspan.trace else {}

    def whole(self, done: Done) -> dict[str, Any]:
        """A response."""
        choices = []
        for index, choice in enumerate(done.choices):
            said: dict[str, Any] = {"text": choice.text}
            if self.kind == "chat":
                message = {"role": "assistant", "content": choice.text, "refusal": None}
                said = {"message": message}
            end = {"finish_reason": choice.finish, "logprobs": None}
            choices.append({"index": index, **said, **end, **self._own(choice)})
        own = {"usage": self.usage(done), "midspan": summary(done.choices, done.prepared.config)}
        return self._object(choices, is_piece=False, **own)

    def usage(self, done: Done) -> dict[str, Any]:
        """OpenAI's usage of a response."""
        return usage(done.prompt_tokens, done.choices)

    def first(self, index: int) -> dict[str, Any]:
        """The piece with which a choice of a conversation begins."""
        delta = {"role": "assistant", "content": ""}
        return self._piece(index, {"delta": delta})

    def piece(self, index: int, text: str, frame: dict[str, Any] | None = None) -> dict[str, Any]:
        """A piece of a choice's text, and what a step did."""
        own = {} if frame is None else {"midspan": {"frame": frame}}
        return self._piece(index, self._said(text), **own)

    def last(self, index: int, choice: Choice, done: Done | None) -> dict[str, Any]:
        """The piece that ends a choice; `done` with the last of all."""
        own = {}
        if done is not None:
            own = {"midspan": summary(done.choices, done.prepared.config)}
        said = {**self._said(""), "finish_reason": choice.finish, **self._own(choice)}
        return self._piece(index, said, **own)

    def total(self, done: Done) -> dict[str, Any]:
        """The event with the usage."""
        return self._object([], is_piece=True, usage=self.usage(done))

    def _said(self, text: str) -> dict[str, Any]:
        if self.kind == "text":
            return {"text": text}
        return {"delta": {"content": text} if text else {}}

    def _piece(self, index: int, said: dict[str, Any], **more: Any) -> dict[str, Any]:
        choice = {"index": index, "finish_reason": None, "logprobs": None, **said}
        return self._object([choice], is_piece=True, **more)


def list_of(objects: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """OpenAI's list."""
    return {"object": "list", "data": list(objects)}
