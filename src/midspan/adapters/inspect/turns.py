"""Conversations as inspect has them."""

from collections.abc import Mapping, Sequence

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
)

_TURNS = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}


def turns(messages: Sequence[Mapping[str, str]]) -> list[ChatMessage]:
    """A conversation of text."""
    return [_TURNS[message["role"]](content=message["content"]) for message in messages]
