"""Roles: who answers calls. Knows how a role is asked, not who it is nor when it is asked."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple, Self

from midspan.engine.calls import (
    Call,
    Chat,
    Choices,
    Failure,
    GCGCandidates,
    Judge,
    Likelihood,
    Score,
    SuffixLosses,
    TokenScore,
)
from midspan.errors import MidspanError
from midspan.frozen import plain

# What a role does not read of a conversation; scripted roles read the kind and its fields.
_ENGINE_FIELDS = frozenset({"role", "parse", "retries", "kind", "fields"})
# Fields of a later version; left out of keys where unused, so that those of earlier replies hold.
_LATER_FIELDS = frozenset({"phrase_tokens", "scaffold", "rules", "decoding", "tampering"})


class SeededCall(NamedTuple):
    """A call with the seed of its draws."""

    call: Call
    seed: int


@dataclass(frozen=True)
class RawReply:
    """What a role said, in JSON's terms, and its cost. It is journalled before it is used.

    Attributes:
        raw: A text, or the numbers of a likelihood or loss; `Role.read` makes the value of it.
        tokens: Tokens of the response.
        prompt_tokens: Tokens of the prompt, where they are paid for.
        forwards: Rows through a local network.
        continuation: See `Reply.continuation`.
        thoughts: See `Reply.thoughts`.
        rejected_by: See `Reply.rejected_by`.
        lost_prompt_tokens: Prompt tokens of tries before it that may have to be paid, estimated.
        lost_tokens: Response tokens of these.
    """

    raw: Any
    tokens: int = 0
    prompt_tokens: int = 0
    forwards: int = 0
    continuation: str = ""
    thoughts: str = ""
    rejected_by: str = ""
    lost_prompt_tokens: int = 0
    lost_tokens: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Fields that differ from their defaults."""
        return {name: value for name, value in vars(self).items() if value or name == "raw"}

    @classmethod
    def from_dict(cls, written: Mapping[str, Any]) -> Self:
        """The answer that `to_dict` wrote.

        Raises:
            TypeError: It did not write these.
        """
        answer = cls(**written)
        for name, default in _DEFAULTS.items():
            value = getattr(answer, name)
            if type(value) is not type(default) or value < default:
                raise TypeError(f"{name} is {value!r:.40}")
        return answer


_DEFAULTS: dict[str, Any] = {
    field.name: field.default for field in fields(RawReply) if field.name != "raw"
}


class MissingReply(NamedTuple):
    """Why there is no answer; it is not journalled, so that the next run asks again.

    Attributes:
        failure: What kind of loss it is.
        reason: One line about it.
        lost_prompt_tokens: Prompt tokens that may have to be paid all the same, estimated.
        lost_tokens: Response tokens likewise.
        error: What the role's own code raised.
    """

    failure: Failure
    reason: str
    lost_prompt_tokens: int = 0
    lost_tokens: int = 0
    error: Exception | None = None


class Role:
    """Somebody who answers calls.

    Attributes:
        fingerprint: Who answers, and in which settings; replies are journalled under it.
        capacity: Rows of a full batch; None where any number goes at once.
    """

    fingerprint: str
    capacity: int | None = None

    def answer(self, tasks: Sequence[SeededCall]) -> Iterator[tuple[int, RawReply | MissingReply]]:
        """Answers, with the index of their task, as they come."""
        raise NotImplementedError

    def describe(self, call: Call) -> dict[str, Any]:
        """What the answer depends on, but for `fingerprint` and seed, in JSON's terms.

        Raises:
            MidspanError: A verdict is asked of somebody who is no judge.
        """
        if isinstance(call, Judge):
            raise MidspanError(f"{call.role}: {self.fingerprint} gives no verdicts; name a judge")
        unused = {name for name in _LATER_FIELDS if not getattr(call, name, None)}
        fields = {
            name: value for name, value in vars(call).items() if name not in _ENGINE_FIELDS | unused
        }
        if "rules" in fields:
            fields["rules"] = plain(fields["rules"])
        if "tampering" in fields:
            fields["tampering"] = fields["tampering"].model_dump(mode="json")
        return fields

    def draws(self, call: Call) -> bool:
        """Whether the answer depends on the seed."""
        return True

    def queue(self, call: Call) -> str:
        """Calls of one queue go into one batch."""
        return ""

    def size(self, call: Call) -> int:
        """By which calls of a queue are sorted, so that batches hold similar lengths."""
        return 0

    def read(self, call: Call, raw: Any) -> Any:
        """The value of a reply.

        Raises:
            ValueError: The answer is not as asked.
        """
        return read_value(call, raw)

    def account(self, answer: RawReply) -> None:
        """Told of every answer used, also of a journalled one."""

    def load(self) -> None:
        """Take the accelerator's memory; called before `answer`, possibly again and again."""

    def unload(self) -> None:
        """Give it back."""


class Scripted(Role):
    """A function as a role.

    Args:
        function: From a call and its own random state to a text (`Chat`), to the value in the
            call's docstring, or to None for "did not answer".
        fingerprint: Name and version of the function; change it when the function changes.
    """

    def __init__(self, function: Callable[[Any, random.Random], Any], fingerprint: str) -> None:
        self._function = function
        self.fingerprint = fingerprint

    def describe(self, call: Call) -> dict[str, Any]:
        """Kind and fields too, by which scripts answer."""
        about = {"kind": call.kind, "fields": call.fields} if isinstance(call, Chat) else {}
        return super().describe(call) | about

    def answer(self, tasks: Sequence[SeededCall]) -> Iterator[tuple[int, RawReply | MissingReply]]:
        """Call the function for each task."""
        for index, (call, seed) in enumerate(tasks):
            value = self._function(call, random.Random(seed))
            if value is None:
                yield index, MissingReply("failed", f"{self.fingerprint} did not answer")
            else:
                tokens = len(value.split()) if isinstance(value, str) else 0
                raw = asdict(value) if isinstance(value, Likelihood) else value
                yield index, RawReply(raw, tokens, forwards=rows_of(call))


def rows_of(call: Call) -> int:
    """Rows through the network that a call of likelihoods or gradients takes."""
    if isinstance(call, SuffixLosses):
        return len(call.suffixes)
    return int(isinstance(call, Score | Choices | GCGCandidates))


def read_value(call: Call, raw: Any) -> Any:
    """The value of a reply, from what was journalled.

    Raises:
        ValueError: A text is not as its `parse` wants it.
    """
    match call:
        case Chat() if not isinstance(raw, str):
            raise TypeError(f"the answer to a chat is a text, not {raw!r:.40}")
        case Chat(parse=None):
            return raw
        case Chat(parse=parse) if parse is not None:
            return parse(raw)
        case Score():
            tokens = (
                TokenScore(token, value, tuple((int(t), v) for t, v in top))
                for token, value, top in raw["tokens"]
            )
            return Likelihood(raw["start"], tuple(tokens))
        case Choices():
            return tuple(tuple(logprobs) for logprobs in raw)
        case GCGCandidates() | SuffixLosses():
            return tuple(raw)
    raise TypeError(f"only judges read answers to {type(call).__name__} calls")
