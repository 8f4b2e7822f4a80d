"""A role behind rules that act on conversations alone, such as a server's model behind a filter."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from midspan.decoding.rule import Heard, Rule, hear
from midspan.decoding.trace import REJECTION
from midspan.engine.calls import Call, Chat
from midspan.engine.roles import MissingReply, RawReply, Role, SeededCall
from midspan.errors import MidspanError
from midspan.frozen import plain


class GuardedRole(Role):
    """Another role's answers to conversations as the rules leave them.

    Args:
        role: Who answers.
        rules: In the order in which they act; none of them in the decoder.
    """

    def __init__(self, role: Role, rules: Sequence[Rule]) -> None:
        self._role, self._rules = role, tuple(rules)
        self.fingerprint, self.capacity = role.fingerprint, role.capacity

    def describe(self, call: Call) -> dict[str, Any]:
        """With the rules."""
        return self._role.describe(call) | {"guarded": plain(self._rules)}

    def draws(self, call: Call) -> bool:
        """Rules that draw do."""
        return self._role.draws(call) or any(rule.draws for rule in self._rules)

    def account(self, answer: RawReply) -> None:
        """See `Role`."""
        self._role.account(answer)

    def answer(self, tasks: Sequence[SeededCall]) -> Iterator[tuple[int, RawReply | MissingReply]]:
        """What the role says to every version of each conversation, in one batch."""
        heard = [self._hear(call, seed) for call, seed in tasks]
        versions: list[SeededCall] = []
        owners: list[int] = []
        for index, (call, seed) in enumerate(tasks):
            assert isinstance(call, Chat)
            if heard[index].rejected_by:
                yield index, RawReply(REJECTION, rejected_by=heard[index].rejected_by)
                continue
            for number, turns in enumerate(heard[index].copies or (heard[index].messages,)):
                versions.append(SeededCall(replace(call, messages=tuple(turns)), seed + number))
                owners.append(index)
        waiting = Counter(owners)
        answers: dict[int, RawReply | MissingReply] = {}
        for version, answer in self._role.answer(versions):
            answers[version] = answer
            index = owners[version]
            waiting[index] -= 1
            if not waiting[index]:
                own = [answers[one] for one, owner in enumerate(owners) if owner == index]
                yield index, _chosen(heard[index], own, tasks[index].seed)

    def _hear(self, call: Call, seed: int) -> Heard:
        if not isinstance(call, Chat):
            raise MidspanError(f"{call.role}: {self.fingerprint} gives chat access alone")
        return hear(call.messages, self._rules, seed)


def _chosen(
    heard: Heard, answers: Sequence[RawReply | MissingReply], seed: int
) -> RawReply | MissingReply:
    """One of the answers, with what all of them cost; where one is missing, that."""
    given = [answer for answer in answers if isinstance(answer, RawReply)]
    prompt_tokens = sum(one.prompt_tokens for one in given)
    tokens = sum(one.tokens for one in given)
    lost_prompt_tokens = sum(one.lost_prompt_tokens for one in answers)
    lost_tokens = sum(one.lost_tokens for one in answers)
    for answer in answers:
        if isinstance(answer, MissingReply):
            return answer._replace(
                lost_prompt_tokens=lost_prompt_tokens + prompt_tokens,
                lost_tokens=lost_tokens + tokens,
            )
    number = 0 if heard.rule is None else heard.rule.vote([one.raw for one in given], seed)
    return replace(
        given[number],
        tokens=tokens,
        prompt_tokens=prompt_tokens,
        lost_prompt_tokens=lost_prompt_tokens,
        lost_tokens=lost_tokens,
    )
