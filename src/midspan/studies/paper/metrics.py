"""The primary metrics that a study's hypotheses may name, each read from the records of a part."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import permutations
from typing import TYPE_CHECKING, Any, NamedTuple

from midspan.bounds import Span, any_of, mean_of
from midspan.engine.outcomes import won
from midspan.probes.context import grouped
from midspan.studies.decodings import AS_CONFIGURED
from midspan.studies.hypotheses import Measurement, Metric
from midspan.studies.paper.config import PaperConfig
from midspan.studies.paper.probe_metrics import OF_PROBES, Records, rate_of_spans, rows_of
from midspan.studies.tasks.config import TaskConfig
from midspan.tasks.overrefusal import SAFE

if TYPE_CHECKING:
    from midspan.studies.redteam.prepare import PreparedRedteam
    from midspan.studies.tasks.prepare import PreparedTasks

# The trainings of a model, and what one of them came to, case by case.
Labels = Sequence[str]
Counts = Callable[[Records], Mapping[Any, Span]]
_OVERREFUSAL = "overrefusal"


class PartMetric(NamedTuple):
    """A metric, and the part of the study whose records it reads with those that repeat it.

    Attributes:
        part: Its name.
        metric: How it is read.
        cases: How many cases it can rest on, from the part before it is run.
    """

    part: str
    metric: Metric[Records]
    cases: Callable[[Any], int]


def metrics(config: PaperConfig) -> dict[str, PartMetric]:
    """Every metric that the study's parts can give, by names such as ``gcg.middle_success[MOSA]``.

    The name before the dot is the part's; models stand in brackets, a difference as ``[A - B]``.
    """
    return _probe_metrics(config) | _attack_metrics(config) | _task_metrics(config)


def _probe_metrics(config: PaperConfig) -> dict[str, PartMetric]:
    known = {}
    for part, probe in config.probes.items():
        for label in probe.models:
            for name, (words, measure, cases) in OF_PROBES.get(probe.probe, {}).items():
                metric = Metric(f"{part}: {words}, {label}", partial(measure, model=label))
                known[f"{part}.{name}[{label}]"] = PartMetric(part, metric, cases)
    return known


def _attack_metrics(config: PaperConfig) -> dict[str, PartMetric]:
    known = {}
    for part, attacks in config.attacks.items():
        judge, number = attacks.judges[0], len(attacks.attacks)
        several = len({spec.attack for spec in attacks.attacks})
        any_of_them = f"{part}: behaviors that any of {number} attacks wins"
        share = f"{part}: share of {several} attacks that win a behavior"
        counted = (
            ("any_attack_wins", any_of_them, _any_won, rate_of_spans),
            ("attacks_won", share, _share_won, Measurement.of_shares),
        )
        trained = {label: config.replicas_of(label) for label in attacks.models}
        for name, words, count, mean in counted:
            counts = partial(_by_behavior, judge=judge, count=count)
            for label in attacks.models:
                alone = partial(_mean_of, models=trained[label], counts=counts, mean=mean)
                known[f"{part}.{name}[{label}]"] = PartMetric(
                    part, Metric(f"{words}, {label}", alone), _behaviors
                )
            for label, other in permutations(attacks.models, 2):
                sides = (trained[label], trained[other])
                both = partial(_mean_minus, sides=sides, counts=counts)
                known[f"{part}.{name}[{label} - {other}]"] = PartMetric(
                    part, Metric(f"{words}, {label} minus {other}", both), _behaviors
                )
    return known


def _task_metrics(config: PaperConfig) -> dict[str, PartMetric]:
    known = {}
    for part, tasks in config.tasks.items():
        base, solved = tasks.models[0], solved_tasks(tasks)
        words = "share solved" if len(solved) == 1 else f"mean share solved of {len(solved)} tasks"
        for label in tasks.models[1:]:
            sides = (config.replicas_of(label), (base,))
            if solved:
                score = partial(_solved_minus, sides=sides, tasks=solved)
                known[f"{part}.share_solved[{label} - {base}]"] = PartMetric(
                    part, Metric(f"{part}: {words}, {label} minus {base}", score), _fewest_items
                )
            if _OVERREFUSAL in tasks.tasks:
                refused = partial(_mean_minus, sides=sides, counts=_refused)
                known[f"{part}.false_refusals[{label} - {base}]"] = PartMetric(
                    part, Metric(f"{part}: false refusals, {label} minus {base}", refused), _safe
                )
    return known


def solved_tasks(config: TaskConfig) -> tuple[str, ...]:
    """The tasks of a part in which something is solved."""
    return tuple(task for task in config.tasks if task != _OVERREFUSAL)


def _behaviors(part: "PreparedRedteam") -> int:
    return len(part.behaviors)


def _fewest_items(part: "PreparedTasks") -> int:
    return min(len(task.items) for task in part.tasks if task.name in solved_tasks(part.config))


def _safe(part: "PreparedTasks") -> int:
    return sum(
        item.group == SAFE
        for task in part.tasks
        if task.name == _OVERREFUSAL
        for item in task.items
    )


def _mean_of(
    records: Records, models: Labels, counts: Counts, mean: Callable[[list[Span]], Measurement]
) -> dict[str, Measurement]:
    """Of the cases, each the mean of a model's trainings."""
    return {AS_CONFIGURED: mean([*_averaged(records, models, counts).values()])}


def _mean_minus(
    records: Records, sides: tuple[Labels, Labels], counts: Counts
) -> dict[str, Measurement]:
    """The trainings of one model minus those of another, on the cases that all of them have."""
    return {AS_CONFIGURED: Measurement.of_spans(*_paired(records, sides, counts))}


def _solved_minus(
    records: Records, sides: tuple[Labels, Labels], tasks: Sequence[str]
) -> dict[str, Measurement]:
    """As the paper's Table 3, the mean of the tasks: pooled, the largest would decide alone."""
    by_task = [_paired(rows_of(records, task=task), sides, _solved) for task in tasks]
    return {AS_CONFIGURED: Measurement.of_tasks(by_task)}


def _paired(
    records: Records, sides: tuple[Labels, Labels], counts: Counts
) -> tuple[list[Span], list[Span]]:
    """Both sides on the cases that all their trainings have."""
    ours, theirs = (_averaged(records, models, counts) for models in sides)
    shared = sorted(ours.keys() & theirs.keys())
    return [ours[case] for case in shared], [theirs[case] for case in shared]


def _averaged(records: Records, models: Labels, counts: Counts) -> dict[Any, Span]:
    """The mean over the trainings that were measured, of the cases that all of them have."""
    measured = [one for model in models if (one := counts(rows_of(records, model=model)))]
    shared = set[Any].intersection(*map(set[Any], measured)) if measured else set[Any]()
    return {case: mean_of([one[case] for one in measured]) for case in sorted(shared)}


def _by_behavior(
    records: Records, judge: str, count: Callable[[Records, str], Span]
) -> dict[str, Span]:
    """What the attacks on each behavior came to."""
    return {
        behavior: count(rows, judge) for (behavior,), rows in grouped(records, "behavior").items()
    }


def _any_won(rows: Records, judge: str) -> Span:
    return Span.of(any_of(won(row, judge) for row in rows))


def _share_won(rows: Records, judge: str) -> Span:
    """The mean of the attacks; one that has several rows, such as variants, counts once."""
    by_attack = grouped(rows, "attack").values()
    return mean_of([mean_of([Span.of(won(row, judge)) for row in own]) for own in by_attack])


def _solved(records: Records) -> dict[Any, Span]:
    return _verdicts(records, "success")


def _refused(records: Records) -> dict[Any, Span]:
    return _verdicts(rows_of(records, task=_OVERREFUSAL, group=SAFE), "refused")


def _verdicts(rows: Records, field: str) -> dict[Any, Span]:
    """The mean of an item's samples: they are no cases of their own. One may be missing."""
    return {
        item: mean_of([Span.of(row["verdict"].get(field)) for row in samples])
        for (item,), samples in grouped(rows, "id").items()
    }
