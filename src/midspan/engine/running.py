"""One attack on one behavior, while it runs: its generator, its ledger, its open calls."""

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

from midspan.data.behaviors import Behavior
from midspan.engine.attack import (
    Access,
    Attack,
    AttackConfig,
    AttackResult,
    AttackState,
    LostCalls,
    Stop,
)
from midspan.engine.budget import Budget, Ledger
from midspan.engine.calls import Call, Chat, Choices, Failure, Judge, Reply, Score
from midspan.engine.roles import MissingReply, RawReply, Role, SeededCall
from midspan.errors import MidspanError, error_fields
from midspan.journal.journal import key_of

_ACCESS: tuple[Access, ...] = get_args(Access)


@dataclass(frozen=True)
class AttackJob:
    """One attack on one behavior with the roles that take part.

    Attributes:
        attack: What runs.
        config: Its settings.
        behavior: What is wanted.
        roles: Who answers, by the role's name.
        budget: What it may spend.
    """

    attack: Attack
    config: AttackConfig
    behavior: Behavior
    roles: Mapping[str, Role]
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        """Refuse what cannot run, before anything does.

        Raises:
            MidspanError: A role is missing, or the config is another attack's.
        """
        missing = [name for name in self.attack.roles if name not in self.roles]
        if missing:
            raise MidspanError(f"attack {self.attack.name}: no {missing[0]} was given; name one")
        if not isinstance(self.config, self.attack.config):
            raise MidspanError(
                f"attack {self.attack.name}: config is {type(self.config).__name__}, "
                f"not {self.attack.config.__name__}"
            )


@dataclass(eq=False)
class PendingCall:
    """A call on its way; `key` names its reply in the journal."""

    attack: "RunningAttack"
    index: int
    call: Call
    role: Role
    target_calls: int
    retry: int = 0

    def __post_init__(self) -> None:
        """Draw the seed and make the key."""
        self.seed = self.attack.seed_of(self.index, self.retry) if self.role.draws(self.call) else 0
        parts = {"retry": self.retry} if self.retry else {}
        self.key = key_of(
            role=self.role.fingerprint,
            call=type(self.call).__name__,
            seed=self.seed,
            **self.role.describe(self.call) | parts,
        )

    @property
    def task(self) -> SeededCall:
        """What the role is given."""
        return SeededCall(self.call, self.seed)

    def settle(self, answer: RawReply | MissingReply) -> "PendingCall | None":
        """Pass the answer on to the attack, or return the call that asks again."""
        reply = self._reply(answer)
        again = self._again() if reply.failure == "unparseable" else None
        if again is None:
            self.attack.receive(self.index, self.call.role, reply)
        return again

    def _reply(self, answer: RawReply | MissingReply) -> Reply:
        self.attack.book_lost(self.call.role, answer)
        if isinstance(answer, MissingReply):
            if answer.error is not None:
                return self.attack.fault(answer.error)
            return Reply(failure=answer.failure, reason=answer.reason)
        self.attack.ledger.book(self.call.role, answer.tokens, answer.forwards)
        text = answer.raw if isinstance(answer.raw, str) else ""
        try:
            value = self.role.read(self.call, answer.raw)
        except ValueError as error:
            return Reply(text, failure="unparseable", reason=str(error))
        except Exception as error:  # one reply that its reader cannot bear costs no other
            return replace(self.attack.fault(error), text=text)
        return Reply(
            text,
            value,
            continuation=answer.continuation,
            target_calls=self.target_calls,
            thoughts=answer.thoughts,
            rejected_by=answer.rejected_by,
            forwards=answer.forwards,
        )

    def _again(self) -> "PendingCall | None":
        if self.retry >= getattr(self.call, "retries", 0):
            return None
        call = self.call
        if isinstance(call, Chat | Judge) and not self.role.draws(call):
            call = replace(call, temperature=1.0)  # Else it would say the same again.
            if not self.role.draws(call):
                return None
        (granted,) = self.attack.ledger.grant([call])
        if granted is None:
            return None
        return PendingCall(self.attack, self.index, call, self.role, granted, self.retry + 1)


class RunningAttack:
    """A job on its way from its first batch of calls to its result.

    Args:
        job: What runs.
        seed: Of the study.
        fail_fast: Let an error in the code of attacks, judges and scripts end the whole run.
    """

    def __init__(self, job: AttackJob, seed: int, fail_fast: bool = False) -> None:
        self.job = job
        self._name = f"{seed}/{job.attack.name}/{job.behavior.id}"
        self._state = AttackState(job.behavior, random.Random(self._name))
        self._steps = job.attack.run(self._state, job.config)
        self._step = 0
        self._access = 0
        self._cut = False
        self._stop: Stop = "exhausted"
        self._error: Exception | None = None
        self._fail_fast = fail_fast
        self._last_failure = ""
        self._lost: dict[tuple[str, Failure], Counter[str]] = defaultdict(Counter)
        self._asked: Counter[str] = Counter()
        self._lost_tokens: Counter[str] = Counter()
        self.ledger = Ledger(job.budget)
        self.replies: list[Reply | None] = []

    @property
    def is_waiting(self) -> bool:
        """Whether a reply is still missing."""
        return None in self.replies

    def receive(self, index: int, role: str, reply: Reply) -> None:
        """Take the reply to a call of the present batch."""
        self.replies[index] = reply
        self._asked[role] += 1
        if reply.failure is not None:
            self._last_failure = f"{role}: {reply.reason}"
            if reply.is_lost(role):
                self._lost[role, reply.failure][reply.reason] += 1

    def fault(self, error: Exception) -> Reply:
        """The reply in place of one at which some code raised.

        Raises:
            Exception: The error itself, where the run is to end with it.
        """
        if self._fail_fast:
            raise error
        self._error = self._error or error
        fields = error_fields(error)
        return Reply(failure="error", reason=fields["error"], traceback=fields["traceback"])

    def book_lost(self, role: str, answer: RawReply | MissingReply) -> None:
        """Count what tries that brought nothing may cost."""
        tokens = answer.lost_prompt_tokens + answer.lost_tokens
        if tokens:
            self._lost_tokens[role] += tokens

    def seed_of(self, index: int, retry: int) -> int:
        """Seed of a call of the present batch."""
        digest = hashlib.sha256(f"{self._name}/{self._step}/{index}/{retry}".encode()).digest()
        return int.from_bytes(digest[:4]) >> 1  # Endpoints take no more than 31 bits.

    def advance(self) -> list[PendingCall]:
        """Send the replies and open the next batch; none when the attack has ended."""
        while True:
            replies = [reply for reply in self.replies if reply is not None]
            try:
                # A generator that has not begun takes None alone.
                calls = self._steps.send(replies) if self._step else next(self._steps)
            except StopIteration as end:
                self._stop = end.value
                return []
            except Exception as error:
                # One attack's fault on one behavior must not cost the study all the others.
                error.add_note(f"raised by the attack {self.job.attack.name} on {self._name}")
                if self._fail_fast:
                    raise
                self._stop, self._error, self.replies = "error", error, []
                return []
            self._step += 1
            granted = self.ledger.grant(calls)
            self._cut |= None in granted
            if calls and not any(count is not None for count in granted):
                self._steps.close()
                return []
            self.replies = [
                Reply(failure="budget", reason="the budget is spent") if count is None else None
                for count in granted
            ]
            if calls:
                return self._open(calls, granted)

    def _open(self, calls: Sequence[Call], granted: Sequence[int | None]) -> list[PendingCall]:
        opened = []
        for index, (call, count) in enumerate(zip(calls, granted, strict=True)):
            if count is not None:
                self._access = max(self._access, _access(call))
                opened.append(PendingCall(self, index, call, self.job.roles[call.role], count))
        return opened

    def result(self) -> AttackResult:
        """What it came to, once it has ended."""
        ended = self._stop in ("success", "error")
        stop: Stop = "budget" if self._cut and not ended else self._stop
        lost = self._lost_calls()
        return AttackResult(
            behavior=self.job.behavior.id,
            attack=self.job.attack.name,
            attempts=tuple(self._state.attempts),
            stop=stop,
            reason=self._reason(stop, lost),
            access=_ACCESS[self._access],
            usage=self.ledger.usage,
            lost=lost,
            lost_tokens=dict(self._lost_tokens),
            traceback=error_fields(self._error)["traceback"] if self._error else "",
        )

    def _lost_calls(self) -> tuple[LostCalls, ...]:
        return tuple(
            LostCalls(
                role, failure, reasons.total(), self._asked[role], reasons.most_common(1)[0][0]
            )
            for (role, failure), reasons in sorted(self._lost.items())
        )

    def _reason(self, stop: Stop, lost: Sequence[LostCalls]) -> str:
        """One line about what went wrong; empty where nothing did."""
        commonest = max(lost, key=lambda calls: calls.count, default=None)
        if self._error is not None:
            reason = error_fields(self._error)["error"]
        elif commonest is not None:
            reason = f"{commonest.role}: {commonest.reason}"
        else:
            reason = self._last_failure if stop == "failed" else ""
        return " ".join(reason.split())


def _access(call: Call) -> int:
    """Index in `_ACCESS` of what a call uses of the target."""
    if call.role != "target":
        return 0
    if isinstance(call, Chat):
        if call.tampering is not None:
            return _ACCESS.index("weights")
        is_sampler = bool(call.rules or call.decoding)
        return 2 if is_sampler else int(bool(call.anchors or call.scaffold))
    return 3 if isinstance(call, Score | Choices) else 4
