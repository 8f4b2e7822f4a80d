"""How engines are asked: from a call to the requests that it takes, and from replies to an answer.

Here is OpenAI's own dialect; that of an engine, with what it adds, is a file beside this one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from midspan.engine.calls import Chat, user
from midspan.engine.capabilities import Need
from midspan.engine.completion import read_completion
from midspan.engine.roles import MissingReply, RawReply, SeededCall
from midspan.engine.served_text import ServedText
from midspan.engine.server import EndpointConfig, ServerHabits

# Of the first, short request.
CONTACT_TOKENS = 16
CHAT = "/chat/completions"


@dataclass(frozen=True)
class Query:
    """One request.

    Attributes:
        path: Of its route.
        body: What is posted; nothing for a GET. "max_tokens" is sent under the server's name of it.
        read: The reply in a response with status 200.
        refused: The reply in a refusal, where that is one; None where it is not.
        in_api: Whether the route stands under ``/v1``.
        prompt_tokens: What the prompt has, at an estimate.
        limit: Tokens that the server may write; 0 where it sets no limit.
    """

    path: str
    body: dict[str, Any]
    read: Callable[[httpx2.Response], RawReply | MissingReply] = read_completion
    refused: Callable[[httpx2.Response], RawReply | MissingReply | None] | None = None
    in_api: bool = True
    prompt_tokens: int = 0
    limit: int = 0


class Dialect:
    """OpenAI's chat completions: a text for a conversation.

    Args:
        config: The server.
        habits: What is known of it, and what is learnt.

    Attributes:
        text: The model's tokenizer, read when it is first used.
    """

    # Needs that take the model's tokenizer.
    by_token: frozenset[Need] = frozenset()

    def __init__(self, config: EndpointConfig, habits: ServerHabits) -> None:
        self.config, self.habits = config, habits
        self.record = config.record
        self.text = ServedText(config)

    def first(self) -> Query:
        """A short request, whose reply says whether the server can be asked."""
        messages = (user("Answer with one word: ready"),)
        return self.chat(Chat("contact", messages, max_tokens=CONTACT_TOKENS), 0)

    def queries(self, task: SeededCall) -> list[Query]:
        """The requests that a call takes, in their order.

        Raises:
            MidspanError: It cannot be asked; that is this call's fault alone.
        """
        assert isinstance(task.call, Chat)
        return [self.chat(task.call, task.seed)]

    def joined(self, task: SeededCall, replies: Sequence[RawReply]) -> RawReply:
        """The answer to a call, of the replies to its requests."""
        return replies[0]

    def draws(self, call: Any) -> bool:
        """Whether an equal call may have another answer; not at temperature 0, if it is taken."""
        at_zero = self.record.temperature and getattr(call, "temperature", None) == 0
        return self.record.draws and not at_zero

    def load(self) -> None:
        """Read the tokenizer, where tokens are placed.

        Raises:
            MidspanError: There is none.
        """

    def room(self, asked: int | None) -> int | None:
        """Tokens of the canvas in which an answer's anchors stand; None where it is not known.

        Args:
            asked: The longest answer that is asked for; None leaves it to the server.
        """
        return asked

    def chat(self, call: Chat, seed: int, **more: Any) -> Query:
        """A conversation as a request.

        Args:
            call: The call.
            seed: Its seed.
            more: Further fields, of which those that are None are not sent.
        """
        limit = call.max_tokens if call.extend is None else call.extend
        limit = more.pop("max_tokens", limit)
        if limit is not None and self.config.min_tokens is not None:
            limit = max(limit, self.config.min_tokens)
        fields = {
            "model": self.config.model,
            "messages": list(call.messages),
            "temperature": call.temperature if self.record.temperature else None,
            "top_p": call.top_p,
            "seed": seed if self.record.seed else None,
            "max_tokens": limit,
            **more,
        }
        body = {name: value for name, value in fields.items() if value is not None}
        return Query(CHAT, body, prompt_tokens=prompt_tokens(call), limit=limit or 0)


def prompt_tokens(call: Any) -> int:
    """Four characters of a conversation are taken for a token."""
    return -(-sum(len(message["content"]) for message in call.messages) // 4)


def with_costs(missing: MissingReply, replies: Sequence[RawReply]) -> MissingReply:
    """A reply that is missing, with what the requests before it cost."""
    prompts = (one.prompt_tokens + one.lost_prompt_tokens for one in replies)
    tokens = (one.tokens + one.lost_tokens for one in replies)
    return missing._replace(
        lost_prompt_tokens=missing.lost_prompt_tokens + sum(prompts),
        lost_tokens=missing.lost_tokens + sum(tokens),
    )
