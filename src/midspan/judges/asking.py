"""A judge asked about many responses at once: journalled, retried, in full batches."""

from collections.abc import Sequence

from midspan.data.behaviors import Behavior
from midspan.engine.asking import ask_all
from midspan.engine.calls import Judge, Reply
from midspan.engine.roles import Role
from midspan.engine.scheduler import OnProgress
from midspan.journal.journal import Journal


def verdicts(
    purpose: str,
    judge: Role,
    cases: Sequence[tuple[Behavior, str]],
    journal: Journal,
    on_progress: OnProgress | None = None,
    fail_fast: bool = False,
) -> list[Reply]:
    """What a judge says of each response to a request; what the journal holds is not asked again.

    Args:
        purpose: Of the draws of a judge that draws: another one asks anew.
        judge: Who is asked.
        cases: Requests and responses.
        journal: Holds every answer before it is used.
        on_progress: Told of progress.
        fail_fast: Raise an error in the judge's own code; by default its case has no verdict.

    Returns:
        Replies in the order of the cases; where the judge gave no verdict, with the reason.
    """
    calls = [Judge(behavior, response) for behavior, response in cases]
    return ask_all(purpose, judge, calls, journal, on_progress, fail_fast)
