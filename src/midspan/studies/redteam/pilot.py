"""A few behaviors attacked for a forecast: how early attacks stop cannot be computed."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from midspan.engine.records import judge_results
from midspan.engine.scheduler import run_attacks
from midspan.journal.journal import Journal
from midspan.studies.redteam.prepare import PreparedRedteam, Target

Item = TypeVar("Item")


class Pilot(NamedTuple):
    """What attacks took of one model, a behavior.

    Attributes:
        responses: Of the target.
        forwards: Rows through its network.
        seconds: Judges and local helpers included.
    """

    responses: float
    forwards: float
    seconds: float


def pilot(prepared: PreparedRedteam, target: Target, count: int) -> Pilot:
    """Attack some behaviors of a study, spread over all of them; replies are not kept.

    Args:
        prepared: The study.
        target: One of its targets.
        count: Behaviors, at most as many as there are.
    """
    behaviors = spread(prepared.behaviors.behaviors, count)
    judges = {spec: judge.open() for spec, judge in prepared.judges.items()}
    helpers = {name: helper.open() for name, helper in prepared.helpers.items()}
    leading = judges[prepared.config.judges[0]]
    with prepared.given.merged():
        roles = {**helpers, "judge": leading, **target.open()}
        jobs = prepared.jobs(behaviors, roles)
        seed = prepared.config.seed
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder, Journal(Path(folder, "journal")) as journal:
            results = run_attacks(jobs, journal, seed)
            judge_results(jobs, results, judges, journal, seed)
        seconds = time.perf_counter() - started
    usage = [result.usage["target"] for result in results if "target" in result.usage]
    calls, forwards = sum(one.calls for one in usage), sum(one.forwards for one in usage)
    return Pilot(*(total / len(behaviors) for total in (calls, forwards, seconds)))


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """So many items at equal distances, since files often hold theirs by category."""
    count = min(count, len(items))
    return [items[(2 * index + 1) * len(items) // (2 * count)] for index in range(count)]
