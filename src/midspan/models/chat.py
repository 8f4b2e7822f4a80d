"""Chat formats that several families share, as pieces of special tokens and plain text."""

from collections.abc import Sequence

from midspan.models.family import Message, Piece, Special

_ROLES = {"system": "SYSTEM", "user": "HUMAN", "assistant": "ASSISTANT"}


def chatml(messages: Sequence[Message]) -> list[Piece]:
    """Qwen's ChatML up to and including the assistant's header, without a default system turn."""
    pieces: list[Piece] = []
    for message in messages:
        pieces += [Special("<|im_start|>"), f"{message['role']}\n{message['content']}"]
        pieces += [Special("<|im_end|>"), "\n"]
    return [*pieces, Special("<|im_start|>"), "assistant\n"]


def role_tags(messages: Sequence[Message]) -> list[Piece]:
    """The format of LLaDA-MoE and LLaDA2, up to and including the assistant's header."""

    def header(role: str) -> list[Piece]:
        return [Special("<role>"), _ROLES.get(role, role.upper()), Special("</role>")]

    pieces: list[Piece] = []
    for message in messages:
        pieces += [*header(message["role"]), message["content"], Special("<|role_end|>")]
    return [*pieces, *header("assistant")]
