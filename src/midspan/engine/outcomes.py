"""Rates of attacks: of those that ran and could be judged, with what was left out beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

from midspan.files import Record
from midspan.statistics import Estimate, Interval, mcnemar_exact, paired_rate_difference, wilson


@dataclass(frozen=True)
class Outcomes:
    """One attack on one model by one judge.

    Attributes:
        asr: Successes over behaviors with a valid outcome.
        unparseable: Share of all behaviors that ran and whose outcome could not be read.
        failed: Share of all behaviors on which the attack did not run.
    """

    asr: Estimate
    unparseable: Estimate
    failed: Estimate

    @classmethod
    def from_records(cls, records: Sequence[Record], judge: str) -> "Outcomes":
        """Count."""
        outcomes = [record["success"][judge] for record in records]
        valid = [outcome for outcome in outcomes if outcome is not None]
        failed = sum(not record["ran"] for record in records)
        total = len(records)
        # What did not run has no outcome either.
        unparseable = total - len(valid) - failed
        return cls(
            wilson(sum(valid), len(valid)), wilson(unparseable, total), wilson(failed, total)
        )


@dataclass(frozen=True)
class PairedOutcomes:
    """Two models under one attack on the same behaviors, where both have a valid outcome.

    Attributes:
        p: Exact McNemar.
        difference: First ASR minus second, with Agresti and Min's interval.
    """

    p: float
    difference: Interval


def compare(first: Sequence[Record], second: Sequence[Record], judge: str) -> PairedOutcomes:
    """Pair two models' outcomes by behavior."""
    left, right = _by_behavior(first, judge), _by_behavior(second, judge)
    shared = sorted(left.keys() & right.keys())
    a, b = [left[name] for name in shared], [right[name] for name in shared]
    only_a = sum(x and not y for x, y in zip(a, b, strict=True))
    only_b = sum(y and not x for x, y in zip(a, b, strict=True))
    return PairedOutcomes(mcnemar_exact(only_a, only_b), paired_rate_difference(a, b))


def asr_by_budget(
    records: Sequence[Record], judge: str, budgets: Sequence[int]
) -> list[tuple[int, Estimate]]:
    """Share of behaviors won with so many generations of the target, by any attempt.

    Left out are those on which the attack did not run, or that have no success and a verdict
    that could not be read.
    """
    costs = [
        cost
        for record in records
        if (cost := _first_success(record, judge)) is not None or _all_read(record, judge)
    ]
    return [
        (budget, wilson(sum(cost is not None and cost <= budget for cost in costs), len(costs)))
        for budget in budgets
    ]


def _first_success(record: Record, judge: str) -> int | None:
    """Generations of the target that the first success among all attempts took, if any."""
    costs = [
        attempt["target_calls"]
        for attempt in record["attempts"]
        if attempt["verdicts"][judge].get("success")
    ]
    return min(costs, default=None)


def _all_read(record: Record, judge: str) -> bool:
    """Whether there are attempts and each has a verdict."""
    verdicts = [attempt["verdicts"][judge] for attempt in record["attempts"]]
    return bool(verdicts) and not any("failure" in verdict for verdict in verdicts)


def _by_behavior(records: Sequence[Record], judge: str) -> dict[str, bool]:
    """Outcomes, where there is one; there is none where the attack did not run."""
    return {
        record["behavior"]: record["success"][judge]
        for record in records
        if record["success"][judge] is not None
    }
