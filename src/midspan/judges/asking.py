"""A judge asked about many responses at once: journalled, retried, in full batches."""

from collections.abc import Callable, Sequence

from midspan.data.behaviors import Behavior
from midspan.engine.attack import Attack, AttackConfig, AttackState, Steps
from midspan.engine.calls import Judge, Reply
from midspan.engine.roles import Role
from midspan.engine.scheduler import AttackJob, SchedulerProgress, run_attacks
from midspan.journal.journal import Journal


def verdicts(
    judge: Role,
    cases: Sequence[tuple[Behavior, str]],
    journal: Journal,
    on_verdicts: Callable[[int], None] | None = None,
) -> list[Reply]:
    """What a judge says of each response to a request; what the journal holds is not asked again.

    Args:
        judge: Who is asked.
        cases: Requests and responses.
        journal: Holds every answer before it is used.
        on_verdicts: Told how many more cases are done.

    Returns:
        Replies in the order of the cases; where the judge gave no verdict, with the reason.
    """
    replies: list[Reply] = []

    def ask(state: AttackState, config: AttackConfig) -> Steps:
        replies.extend((yield [Judge(behavior, response) for behavior, response in cases]))
        return "exhausted"

    job = AttackJob(
        Attack("verdicts", ask, AttackConfig, ("judge",), counts="any"),
        AttackConfig(),
        Behavior("cases", ""),
        {"judge": judge},
    )

    def tell(step: SchedulerProgress) -> None:
        if on_verdicts is not None:
            on_verdicts(step.replies)

    run_attacks([job], journal, on_progress=tell)
    return replies
