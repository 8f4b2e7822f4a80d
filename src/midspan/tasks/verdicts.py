"""What a task, or its judge, says of responses: journalled where it is dear, an error noted."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from midspan.errors import MidspanError, error_fields
from midspan.files import Record
from midspan.journal.generation import OnBatch
from midspan.journal.journal import Journal, key_of
from midspan.tasks.task import Item, Judged, Task

if TYPE_CHECKING:
    from midspan.engine.calls import Reply
    from midspan.engine.scheduler import SchedulerProgress

Case = tuple[Item, str]


def verdicts_of(
    task: Task,
    cases: Sequence[Case],
    journal: Journal,
    fail_fast: bool = False,
    on_batch: OnBatch | None = None,
) -> list[Record]:
    """A verdict on each response, or the error that the code of the task or judge raised at it.

    Args:
        task: Scores, or has a judge.
        cases: Items with a response each.
        journal: Holds verdicts that are dear.
        fail_fast: Raise an error.
        on_batch: Told how many verdicts a judge has given.

    Raises:
        MidspanError: The task's judge gave not one verdict, or the journal is damaged.
    """
    if task.judged is None:
        return [_or_error(partial(_verdict, task, *case, journal), fail_fast) for case in cases]
    replies = _asked(task, cases, journal, fail_fast, on_batch)
    return [
        _or_error(partial(_judged_verdict, task.judged, *case, reply), fail_fast)
        for case, reply in zip(cases, replies, strict=True)
    ]


def _or_error(score: Callable[[], Record], fail_fast: bool) -> Record:
    try:
        return score()
    except MidspanError:
        raise
    except Exception as error:
        # One response that its task cannot bear must not cost the run all others.
        if fail_fast:
            raise
        return error_fields(error)


def _asked(
    task: Task,
    cases: Sequence[Case],
    journal: Journal,
    fail_fast: bool,
    on_batch: OnBatch | None,
) -> "list[Reply]":
    from midspan.judges.asking import verdicts

    assert task.judged is not None
    judged = task.judged
    asked = [(judged.request(item), response) for item, response in cases]

    def tell(step: "SchedulerProgress") -> None:
        if on_batch is not None:
            on_batch(step.replies)

    replies = verdicts("verdicts", judged.open(), asked, journal, tell, fail_fast)
    if not any(reply.ok for reply in replies):
        raise MidspanError(
            f"{task.name}: {judged.name} gave not one verdict ({replies[0].reason}); mend it and "
            "give the same command again"
        )
    return replies


def _judged_verdict(judged: Judged, item: Item, response: str, reply: "Reply") -> Record:
    if reply.failure == "error":
        return {"error": reply.reason, "traceback": reply.traceback}
    return judged.score(item, response, reply)


def _verdict(task: Task, item: Item, response: str, journal: Journal) -> Record:
    if not task.costly:
        return task.score(item, response)
    key = key_of(verdict=task.title, item=item.id, fields=dict(item.fields), response=response)
    if key not in journal:
        journal.append({key: task.score(item, response)})
    return journal.read(key, _read_verdict)


def _read_verdict(fields: dict[str, Any]) -> Record:
    if type(fields["success"]) is not bool:
        raise TypeError("success is true or false")
    return fields
