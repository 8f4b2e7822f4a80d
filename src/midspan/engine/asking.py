"""One role asked many things at once: journalled, retried, in full batches."""

from collections.abc import Sequence

from midspan.data.behaviors import Behavior
from midspan.engine.attack import Attack, AttackConfig, AttackState, Steps
from midspan.engine.calls import Call, Reply
from midspan.engine.roles import Role
from midspan.engine.scheduler import AttackJob, OnProgress, run_attacks
from midspan.journal.journal import Journal


def ask_all(
    purpose: str,
    role: Role,
    calls: Sequence[Call],
    journal: Journal,
    on_progress: OnProgress | None = None,
    fail_fast: bool = False,
) -> list[Reply]:
    """A role's replies to calls; what the journal holds is not asked again.

    Args:
        purpose: Of the draws of a role that draws: another one asks anew.
        role: Who is asked.
        calls: All of one role's name.
        journal: Holds every answer before it is used.
        on_progress: Told of progress.
        fail_fast: Raise an error in the role's own code; by default its call has no answer.

    Returns:
        Replies in the order of the calls; where none came, with the reason.
    """
    if not calls:
        return []
    replies: list[Reply] = []

    def ask(state: AttackState, config: AttackConfig) -> Steps:
        replies.extend((yield calls))
        return "exhausted"

    name = calls[0].role
    attack = Attack(purpose, ask, AttackConfig, (name,), counts="any")
    job = AttackJob(attack, AttackConfig(), Behavior("items", ""), {name: role})
    run_attacks([job], journal, on_progress=on_progress, fail_fast=fail_fast)
    return replies
