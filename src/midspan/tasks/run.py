"""From a task to records: journalled responses and their verdicts. Knows no benchmark."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from midspan.errors import MidspanError, error_fields
from midspan.files import Record
from midspan.journal.generation import OnBatch, each_batch
from midspan.journal.journal import Journal, key_of
from midspan.tasks.fit import FittedTask, How, work_of
from midspan.tasks.task import Item, Judged, Task

if TYPE_CHECKING:
    from midspan.engine.scheduler import SchedulerProgress
    from midspan.models import DiffusionLM


def run_task(
    lm: "DiffusionLM",
    fitted: FittedTask,
    journal: Journal,
    how: How,
    on_batch: OnBatch | None = None,
) -> list[Record]:
    """Everything the journal lacks, then one record an item and sample, in the items' order.

    Raises:
        MidspanError: The task's judge gave not one verdict.
    """
    work = work_of(lm, fitted, how)
    for done in each_batch(work, journal):
        if on_batch is not None:
            on_batch(len(done))
    task, samples = fitted.task, fitted.task.preset.samples
    items = [item for item in task.items for _ in range(samples)]
    values = [journal[key] for key in work.keys]
    said = [_response(task, item, value) for item, value in zip(items, values, strict=True)]
    responses = [response for response, _ in said]
    cases = list(zip(items, responses, strict=True))
    if task.judged is None:
        verdicts = [_verdict_or_error(task, *case, journal, how.fail_fast) for case in cases]
    else:
        verdicts = _judged_verdicts(task.judged, task.name, cases, journal, on_batch)
    return [
        {
            "model": lm.name,
            "task": task.name,
            "preset": task.preset.name,
            "id": item.id,
            "group": item.group,
            "sample": position % samples,
            "shots": fitted.shots[position // samples],
            "response": response,
            "verdict": verdict,
            "forwards": value["forwards"],
            **extra,
        }
        for position, (item, value, (response, extra), verdict) in enumerate(
            zip(items, values, said, verdicts, strict=True)
        )
    ]


def _response(task: Task, item: Item, value: Mapping[str, Any]) -> tuple[str, Record]:
    if task.options is None:
        return value["text"], {k: value[k] for k in ("thoughts", "rejected_by") if k in value}
    values = value["values"]
    best = task.options(item)[values.index(max(values))].strip()
    return best, {"likelihoods": values, "errors": value["errors"]}


def _verdict_or_error(
    task: Task, item: Item, response: str, journal: Journal, fail_fast: bool
) -> Record:
    try:
        return _verdict(task, item, response, journal)
    except MidspanError:
        raise
    except Exception as error:
        # One response that its task cannot bear must not cost the run all others.
        if fail_fast:
            raise
        return error_fields(error)


def _judged_verdicts(
    judged: Judged,
    name: str,
    cases: Sequence[tuple[Item, str]],
    journal: Journal,
    on_batch: OnBatch | None,
) -> list[Record]:
    from midspan.judges.asking import verdicts

    asked = [(judged.request(item), response) for item, response in cases]

    def tell(step: "SchedulerProgress") -> None:
        if on_batch is not None:
            on_batch(step.replies)

    replies = verdicts("verdicts", judged.open(), asked, journal, tell)
    if not any(reply.ok for reply in replies):
        raise MidspanError(
            f"{name}: {judged.name} gave not one verdict ({replies[0].reason}); mend it and "
            "give the same command again"
        )
    return [
        judged.score(item, response, reply)
        for (item, response), reply in zip(cases, replies, strict=True)
    ]


def _verdict(task: Task, item: Item, response: str, journal: Journal) -> Record:
    if not task.costly:
        return task.score(item, response)
    key = key_of(verdict=task.title, item=item.id, fields=dict(item.fields), response=response)
    if key not in journal:
        journal.append({key: task.score(item, response)})
    verdict: Record = journal[key]
    return verdict


def estimate_seconds(lm: "DiffusionLM", fitted: FittedTask, how: How) -> float:
    """Seconds for the whole task, from a measured batch: no row stops early in the estimate.

    The batch is the middle one by length. Of a generation two steps a block are taken; the time
    of the whole is in proportion to steps and rows.
    """
    import dataclasses
    import time

    work = work_of(lm, fitted, how)
    batch = work.batches[len(work.batches) // 2]
    share = 1.0
    if fitted.config is not None:
        config = fitted.config
        steps = min(config.steps, 2 * config.num_blocks)
        share = steps / config.steps
        changes = {"steps": steps, "early_stop": False}
        short = config.model_copy(update=changes)
        work = work_of(lm, dataclasses.replace(fitted, config=short), how)
        batch = work.batches[len(work.batches) // 2]
    work.compute(batch)  # the first call also loads kernels
    start = time.perf_counter()
    work.compute(batch)
    return (time.perf_counter() - start) / share / len(batch) * len(work.keys)
