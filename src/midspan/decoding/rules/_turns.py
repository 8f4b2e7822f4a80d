"""The last request of a conversation, which rules of conversations act on."""

from midspan.decoding.rule import Messages


def last_request(messages: Messages) -> int | None:
    """The index of the last user's turn; None where there is none."""
    users = [index for index, turn in enumerate(messages) if turn["role"] == "user"]
    return users[-1] if users else None


def with_text(messages: Messages, index: int, text: str) -> Messages:
    """The conversation with another text in one turn."""
    changed = {**messages[index], "content": text}
    return [*messages[:index], changed, *messages[index + 1 :]]
