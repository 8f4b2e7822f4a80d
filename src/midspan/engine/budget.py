"""What an attack may spend on one behavior, what it can cost, and what it has used."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from pydantic import Field

from midspan.engine.calls import Call, Chat
from midspan.frozen import FrozenConfig


@dataclass(frozen=True)
class Usage:
    """Cost of a role: calls, tokens of its responses, rows through its network."""

    calls: int = 0
    tokens: int = 0
    forwards: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.calls + other.calls, self.tokens + other.tokens, self.forwards + other.forwards
        )


class Budget(FrozenConfig):
    """Limits of one attack on one behavior; None is no limit.

    Attributes:
        target: Generations of the target.
        helper: Calls of all other roles together.
        tokens: Tokens of all responses together. A batch that begins below it is made in full.
        forwards: Rows through all local networks together; likewise.
    """

    target: int | None = Field(None, ge=1)
    helper: int | None = Field(None, ge=1)
    tokens: int | None = Field(None, ge=1)
    forwards: int | None = Field(None, ge=1)


@dataclass(frozen=True)
class Calls:
    """Calls of a role.

    Attributes:
        expected: Where every reply parses the first time.
        maximum: Where each is asked for again as often as the attack allows.
    """

    expected: int
    maximum: int

    @classmethod
    def of(cls, expected: int, retries: int = Chat.retries) -> Self:
        """So many calls, each with so many retries."""
        return cls(expected, expected * (1 + retries))

    def __add__(self, other: "Calls") -> "Calls":
        return Calls(self.expected + other.expected, self.maximum + other.maximum)


@dataclass(frozen=True)
class Cost:
    """The most that an attack costs on one behavior.

    Attributes:
        generations: Responses of the target.
        attempts: Of these, or composed of them, what is put up for judgement.
        helpers: Calls of the other roles.
        forward_rows: By role, rows through a local network for likelihoods, losses and gradients.
    """

    generations: int
    attempts: int
    helpers: Mapping[str, Calls] = field(default_factory=dict)
    forward_rows: Mapping[str, int] = field(default_factory=dict)


class Ledger:
    """What one attack has used, by role. A reply from the journal costs what it did at first."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        # Calls, tokens and forwards by role.
        self._counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        self._generations = 0
        self._helper_calls = 0

    @property
    def usage(self) -> dict[str, Usage]:
        """By role."""
        return {role: Usage(*counts) for role, counts in self._counts.items()}

    def grant(self, calls: Sequence[Call]) -> list[int | None]:
        """Count the calls of a batch that may be made, in their order.

        Returns:
            For each call the target's generations so far; None where it may not be made.
        """
        if self._used_up():
            return [None] * len(calls)
        return [self._generations if self._grant(call) else None for call in calls]

    def book(self, role: str, tokens: int, forwards: int) -> None:
        """Add what a granted call turned out to cost."""
        counts = self._counts[role]
        counts[1] += tokens
        counts[2] += forwards

    def _used_up(self) -> bool:
        limits = (self._budget.tokens, self._budget.forwards)
        return any(
            limit is not None and sum(counts[index] for counts in self._counts.values()) >= limit
            for index, limit in enumerate(limits, start=1)
        )

    def _grant(self, call: Call) -> bool:
        if is_generation(call):
            if self._generations == self._budget.target:
                return False
            self._generations += 1
        elif call.role != "target":
            if self._helper_calls == self._budget.helper:
                return False
            self._helper_calls += 1
        self._counts[call.role][0] += 1
        return True


def is_generation(call: Call) -> bool:
    """Whether the target is asked for a response."""
    return isinstance(call, Chat) and call.role == "target"
