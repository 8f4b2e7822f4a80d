"""Attacks and judges on one sample, by the engine's own rules, without its folder and queues."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any
from weakref import WeakSet

from midspan.data.behaviors import Behavior
from midspan.engine.attack import (
    Attack,
    AttackConfig,
    AttackResult,
    AttackState,
    Attempt,
    LostCalls,
    Steps,
)
from midspan.engine.calls import Judge, Message, Reply
from midspan.engine.records import JudgedResult
from midspan.engine.roles import MissingReply, RawReply, Role
from midspan.engine.running import AttackJob, PendingCall, RunningAttack

Record = dict[str, Any]
# Local models, which the threads of all samples share; their tokenizers are not safe for threads.
_one_at_a_time = Lock()
_loaded = WeakSet[Role]()
# Of an attempt, what judging needs.
_KEPT = ("response", "score", "target_calls", "thoughts", "rejected_by", "guessed")


def run_one(job: AttackJob, seed: int) -> AttackResult:
    """Run an attack on one behavior to its end; what it says is that of `run_attacks`.

    Raises:
        Exception: What the code of the attack, of a judge or of a role raises.
    """
    attack = RunningAttack(job, seed, fail_fast=True)
    while pending := attack.advance():
        while pending:
            pending = [again for call in _answered(pending) if (again := call[0].settle(call[1]))]
    return attack.result()


def _answered(
    pending: Sequence[PendingCall],
) -> list[tuple[PendingCall, RawReply | MissingReply]]:
    """Every call with its answer; equal calls are asked once."""
    answers: dict[str, RawReply | MissingReply] = {}
    by_role: dict[int, dict[str, PendingCall]] = {}
    for call in pending:
        by_role.setdefault(id(call.role), {})[call.key] = call
    for calls in by_role.values():
        keys, role = list(calls), next(iter(calls.values())).role
        with _turn(role):
            for index, answer in role.answer([calls[key].task for key in keys]):
                answers[keys[index]] = answer
    return [(call, answers[call.key]) for call in pending]


@contextmanager
def _turn(role: Role) -> Iterator[None]:
    """Within the context a role of limited capacity is loaded, and no other sample asks one."""
    if role.capacity is None:
        yield
        return
    with _one_at_a_time:
        if role not in _loaded:
            role.load()
            _loaded.add(role)
        yield


def judge_one(job: AttackJob, result: AttackResult, judge: Role, seed: int = 0) -> JudgedResult:
    """What a judge says of every attempt."""
    replies: list[Reply] = []

    def ask(state: AttackState, config: AttackConfig) -> Steps:
        replies.extend(
            (yield [Judge(job.behavior, attempt.response) for attempt in result.attempts])
        )
        return "exhausted"

    attack = Attack(f"{job.attack.name}/judged", ask, AttackConfig, ("judge",), counts="any")
    run_one(AttackJob(attack, AttackConfig(), job.behavior, {"judge": judge}), seed)
    return JudgedResult(job, result, {"judge": tuple(replies)})


def answered(behavior: Behavior, messages: Sequence[Message], response: str) -> AttackResult:
    """A plain answer as an attack of one attempt, for judges."""
    attempt = Attempt(tuple(messages), response, target_calls=1)
    return AttackResult(behavior.id, "direct", (attempt,), "exhausted", "", "chat", {})


def to_record(result: AttackResult, counts: str) -> Record:
    """A result in JSON's terms, for a sample's store."""
    return {
        "attack": result.attack,
        "counts": counts,
        "stop": result.stop,
        "reason": result.reason,
        "access": result.access,
        "usage": {role: vars(usage) for role, usage in sorted(result.usage.items())},
        "lost": [vars(calls) for calls in result.lost],
        "attempts": [
            {"messages": [dict(turn) for turn in attempt.messages]}
            | {name: getattr(attempt, name) for name in _KEPT}
            | {"anchors": [anchor._asdict() for anchor in attempt.anchors]}
            for attempt in result.attempts
        ],
    }


def from_record(record: Record, behavior: Behavior) -> tuple[AttackJob, AttackResult]:
    """What a judge needs of a result in a store, a later midspan's too."""
    attempts = tuple(
        Attempt(
            tuple(attempt["messages"]), **{name: attempt[name] for name in _KEPT if name in attempt}
        )
        for attempt in record["attempts"]
    )
    lost = tuple(LostCalls(**calls) for calls in record["lost"])
    result = AttackResult(
        behavior.id, record["attack"], attempts, record["stop"], record["reason"],
        record["access"], {}, lost,
    )  # fmt: skip
    return _judged_job(record["attack"], record["counts"], behavior), result


def _judged_job(name: str, counts: Any, behavior: Behavior) -> AttackJob:
    def never(state: AttackState, config: AttackConfig) -> Steps:
        yield []
        return "exhausted"

    return AttackJob(
        Attack(name, never, AttackConfig, (), counts=counts), AttackConfig(), behavior, {}
    )


def of_answer(behavior: Behavior) -> AttackJob:
    """The job of `answered`."""
    return _judged_job("direct", "any", behavior)


def behavior_of(sample_id: Any, text: str, metadata: Mapping[str, Any]) -> Behavior:
    """The behavior of a sample: its id and input, and the fields that its metadata have."""
    told = metadata.get("behavior") or {}
    known = {name: told[name] for name in Behavior.__dataclass_fields__ if name in told}
    return Behavior(**{"id": str(sample_id), "text": text, **known})
