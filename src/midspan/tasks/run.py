"""From a task to records: journalled responses and their verdicts. Knows no benchmark."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from midspan.files import Record
from midspan.journal.generation import OnBatch, each_batch
from midspan.journal.journal import Journal
from midspan.tasks.fit import FittedTask, How, work_of
from midspan.tasks.task import Item, Task
from midspan.tasks.verdicts import verdicts_of

if TYPE_CHECKING:
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
    computed: dict[str, Any] = {}
    for done in each_batch(work, journal):
        computed.update(done)
        if on_batch is not None:
            on_batch(len(done))
    task, samples = fitted.task, fitted.task.preset.samples
    items = [item for item in task.items for _ in range(samples)]
    values = [computed[key] for key in work.keys]
    said = [_response(task, item, value) for item, value in zip(items, values, strict=True)]
    responses = [response for response, _ in said]
    cases = list(zip(items, responses, strict=True))
    verdicts = verdicts_of(task, cases, journal, how.fail_fast, on_batch)
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


def estimate_seconds(lm: "DiffusionLM", fitted: FittedTask, how: How) -> float:
    """Seconds for the whole task, from a measured batch: no row stops early in the estimate.

    The batch is the middle one by length. Of a generation two steps a block are taken, and all
    where confidence alone says how many there are; the time of the whole is in proportion to steps
    and rows.
    """
    import dataclasses
    import time

    work = work_of(lm, fitted, how)
    batch = work.batches[len(work.batches) // 2]
    share = 1.0
    if fitted.config is not None:
        short = fitted.config.short
        share = short.steps / fitted.config.steps
        work = work_of(lm, dataclasses.replace(fitted, config=short), how)
        batch = work.batches[len(work.batches) // 2]
    work.compute(batch)  # the first call also loads kernels
    start = time.perf_counter()
    work.compute(batch)
    return (time.perf_counter() - start) / share / len(batch) * len(work.keys)
