"""What an attack is: a generator that yields batches of calls and is sent their replies."""

import random
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from pydantic import Field, model_validator

from midspan.data.behaviors import Behavior
from midspan.engine.budget import Cost, Usage
from midspan.engine.calls import Anchor, Call, Chat, Failure, Message, Reply, Scaffold
from midspan.engine.capabilities import Need
from midspan.frozen import FrozenConfig

if TYPE_CHECKING:
    from midspan.decoding.rule import Rule
    from midspan.engine.tampering import Tampering

# "success": the attack believes that it has won. "exhausted": it did all it does. "failed": a
# helper did not answer, so it could not go on. The engine alone sets "budget" and "error": the
# attack's own code raised.
Stop = Literal["success", "exhausted", "failed", "budget", "error"]
# In the order of what an attacker has: each has all that stands before it.
Access = Literal["chat", "infill", "sampler", "logprobs", "white-box", "weights"]
Steps = Generator[Sequence[Call], list[Reply], Stop]
Value = TypeVar("Value")


class Asking(FrozenConfig):
    """How a helper is asked.

    Attributes:
        temperature: None takes the helper's own setting, as with the next two.
        top_p: Nucleus filter.
        max_tokens: Longest reply.
        retries: How often it is asked again after a reply of the wrong form.
    """

    temperature: float | None = Field(None, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    retries: int = Field(Chat.retries, ge=0)

    def chat(
        self,
        role: str,
        messages: tuple[Message, ...],
        kind: str,
        fields: Mapping[str, Any],
        parse: Callable[[str], Any] | None = None,
    ) -> Chat:
        """A call that asks in this way; see `Chat`."""
        return Chat(
            role,
            messages,
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
            kind=kind,
            fields=fields,
            parse=parse,
            retries=self.retries,
        )


class AttackConfig(FrozenConfig):
    """Base of the attacks' configs: frozen; the defaults are the paper's."""

    @model_validator(mode="before")
    @classmethod
    def _keep_what_is_not_given(cls, fields: Any) -> Any:
        """Of how a helper is asked, fields that are not given stay the attack's own."""
        if not isinstance(fields, Mapping):
            return fields
        given = dict(fields)
        for name, info in cls.model_fields.items():
            if not isinstance(info.default, Asking):
                continue
            if isinstance(given.get(name), str):
                raise ValueError(
                    f"{name} is how it is asked, such as {{temperature: 0.7}}; "
                    "who it is stands under helpers"
                )
            if isinstance(given.get(name), Mapping):
                given[name] = info.default.model_dump() | dict(given[name])
        return given


class Part(NamedTuple):
    """A part of an answer that is judged as one.

    Attributes:
        asked: What the user said.
        response: What goes into the answer.
        canvas: The text with holes that the target filled.
    """

    asked: str
    response: str
    canvas: str = ""


@dataclass(frozen=True)
class Attempt:
    """One response that the attack puts up for judgement.

    Attributes:
        messages: What the target was asked.
        anchors: What was fixed in its response.
        response: Its response, or what the attack composed of several.
        score: The attack's own rating, higher is better; None where it has none.
        target_calls: Generations of the target paid for so far.
        thoughts: What a reasoning target thought before it answered.
        rejected_by: The target's monitor that rejected the request.
        scaffold: The text with holes that it filled.
        rules: What changed its decoding.
        decoding: Fields of the target's decoding that the call changed.
        parts: What the response was put together of; empty where it is one reply.
        guessed: How many parts would be right by guessing, on the mean, where they are choices.
        tampering: What was done to the target's weights.
    """

    messages: tuple[Message, ...]
    response: str
    anchors: tuple[Anchor, ...] = ()
    score: float | None = None
    target_calls: int = 0
    thoughts: str = ""
    rejected_by: str = ""
    scaffold: Scaffold | None = None
    rules: "tuple[Rule, ...]" = ()
    decoding: tuple[tuple[str, Any], ...] = ()
    parts: tuple[Part, ...] = ()
    guessed: float | None = None
    tampering: "Tampering | None" = None


@dataclass
class AttackState:
    """One behavior under attack: what the attack reads, and the attempts that it notes.

    Attributes:
        behavior: What is wanted.
        rng: The attack's own random draws, seeded by run, attack and behavior.
        attempts: In the order of the target's work. They survive when the budget ends the attack.
    """

    behavior: Behavior
    rng: random.Random
    attempts: list[Attempt] = field(default_factory=list)

    def note(
        self, call: Chat, reply: Reply, *, response: str | None = None, score: float | None = None
    ) -> None:
        """Put a response up for judgement; a reply that failed is no attempt.

        Args:
            call: What the target was asked.
            reply: What came back.
            response: What is judged, where that is not the reply's text.
            score: The attack's own rating.
        """
        if reply.ok:
            judged = reply.text if response is None else response
            came = (reply.target_calls, reply.thoughts, reply.rejected_by)
            asked = (call.scaffold, call.rules, call.decoding)
            attempt = Attempt(call.messages, judged, call.anchors, score, *came, *asked)
            self.attempts.append(replace(attempt, tampering=call.tampering))

    def join(
        self,
        asked: Sequence[tuple[Chat, Reply]],
        parts: Sequence[Part],
        joiner: str = " ",
        guessed: float | None = None,
    ) -> None:
        """Put several answers up as one response; without an answer there is no attempt.

        Args:
            asked: Calls and what came back. The attempt has the messages of the last answered.
            parts: What is put together.
            joiner: Stands between the answers.
            guessed: See `Attempt`.
        """
        answered = [pair for pair in asked if pair[1].ok]
        if answered:
            call, reply = max(answered, key=lambda pair: pair[1].target_calls)
            self.note(call, reply, response=joiner.join(part.response for part in parts))
            noted = self.attempts.pop()
            self.attempts.append(replace(noted, parts=tuple(parts), guessed=guessed))

    def ask(self, calls: Sequence[Chat]) -> Generator[Sequence[Call], list[Reply], None]:
        """Ask in one batch, and put every response up: ``yield from state.ask(calls)``."""
        for call, reply in zip(calls, (yield calls), strict=True):
            self.note(call, reply)


@dataclass(frozen=True)
class Attack:
    """An attack as the engine runs it.

    Attributes:
        name: As users and records call it; seeds and journal keys are made of it.
        run: From an attack's state and a config to the generator.
        config: The config's class.
        roles: Who is asked.
        counts: Whose verdict is the attack's: that of the "best" attempt by the attack's own score
            (the first of equals), of the "last", or success of "any".
        cost: The most that a config can cost where the target may be asked for so many responses,
            as an upper bound of what the engine's ledger will hold; None where it is not known.
        changes: What of the target it changes: its "weights", or its "adapter", which not every
            target has; only local models have either.
        check: Refuses a config with which the attack cannot run, before a model is loaded.
        needs: What a config asks of the target; a chat alone where nothing is stated.
    """

    name: str
    run: Callable[[AttackState, Any], Steps]
    config: type[AttackConfig]
    roles: tuple[str, ...] = ("target",)
    counts: Literal["best", "any", "last"] = field(kw_only=True)
    cost: Callable[[Any, int], Cost] | None = None
    changes: Literal["", "weights", "adapter"] = ""
    check: Callable[[Any], None] | None = None
    needs: Callable[[Any], frozenset[Need]] = lambda config: frozenset({"chat"})


@dataclass(frozen=True)
class LostCalls:
    """Calls of one role that brought nothing, retries included.

    Attributes:
        role: Who was asked.
        failure: Why nothing came.
        count: How many they are.
        asked: How often the role was asked.
        reason: The commonest of their reasons, in one line.
    """

    role: str
    failure: Failure
    count: int
    asked: int
    reason: str


@dataclass(frozen=True)
class AttackResult:
    """What an attack on one behavior came to.

    Attributes:
        behavior: The behavior's id.
        attack: The attack's name.
        attempts: What is to be judged.
        stop: Why it ended.
        reason: One line about what went wrong, if anything did.
        access: The most that was used of the target.
        usage: By role.
        lost: What was asked in vain.
        lost_tokens: By role, tokens of tries that brought nothing and may have to be paid,
            estimated; only where there are any.
        traceback: Of an error in the code of the attack or of a role.
    """

    behavior: str
    attack: str
    attempts: tuple[Attempt, ...]
    stop: Stop
    reason: str
    access: Access
    usage: Mapping[str, Usage]
    lost: tuple[LostCalls, ...] = ()
    lost_tokens: Mapping[str, int] = field(default_factory=dict)
    traceback: str = ""

    @property
    def ran(self) -> bool:
        """Whether the target answered and the attack came to an end of its own, or of its budget.

        What did not run is never counted as refused.
        """
        return bool(self.attempts) and self.stop not in ("failed", "error")


def together(
    parts: Sequence[Generator[Sequence[Call], list[Reply], Value]],
) -> Generator[Sequence[Call], list[Reply], list[Value]]:
    """Advance several generators in lock-step, as one.

    Use: ``values = yield from together([stream() for _ in range(20)])``.
    """
    values: dict[int, Value] = {}
    sent: dict[int, list[Reply] | None] = dict.fromkeys(range(len(parts)))
    while sent:
        batches: dict[int, Sequence[Call]] = {}
        for index, replies in sent.items():
            try:
                batches[index] = parts[index].send(replies)  # type: ignore[arg-type]
            except StopIteration as end:
                values[index] = end.value
        if not batches:
            break
        replies_left = iter((yield [call for calls in batches.values() for call in calls]))
        sent = {index: [next(replies_left) for _ in calls] for index, calls in batches.items()}
    return [values[index] for index in range(len(parts))]
