"""The engine under a made-up clock: arithmetic of the clock, and a run that costs what it must."""

import importlib
import sys
from pathlib import Path

import pytest

from midspan.engine.roles import RawReply


@pytest.fixture
def simulate(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    yield importlib.import_module("simulate")
    for name in ("simulate", "simulate_paper"):
        sys.modules.pop(name, None)


def test_a_batch_takes_its_slowest_rows_forwards(simulate):
    clock = simulate.Clock()
    simulate.computing(simulate.Rates(forward=0.5, row=0.125))(
        clock, [RawReply("a", forwards=4), RawReply("b", forwards=2)]
    )
    assert clock.now == clock.busy == 4 * 0.5 + 6 * 0.125


@pytest.mark.parametrize(
    ("count", "sharing", "seconds"),
    [(32, 1, 2.0), (33, 1, 4.0), (32, 64, 32 * 60 * 64 / 10_000)],
)
def test_a_server_answers_in_rounds_and_within_its_limit(simulate, count, sharing, seconds):
    clock = simulate.Clock()
    simulate.asking(simulate.Server(), sharing)(clock, [RawReply("")] * count)
    assert (clock.now, clock.calls) == (pytest.approx(seconds), count)


def test_a_simulated_run_is_the_engines_own(simulate):
    """Refusals never stop an attack: full budgets, in batches that the scheduler makes."""
    prepared = simulate.small(2)
    clock = simulate.Clock()
    roles = {name: helper.open() for name, helper in prepared.helpers.items()}
    judges = {spec: judge.open() for spec, judge in prepared.judges.items()}
    words = simulate.Replies([("i am sorry , but i cannot help with that .", 16)]).role()
    target = simulate.Timed(words, clock, simulate.computing(simulate.Rates(0.0, 1.0)), 32)
    roles |= {"target": target, "judge": judges["exact"]}
    results = simulate.run(prepared, roles, judges, slice(None))
    asked = [result.usage["target"].calls for result in results]
    assert max(asked) == 12 and clock.now == sum(r.usage["target"].forwards for r in results)


def test_the_longest_tasks_go_first_and_none_is_cut(simulate):
    import simulate_paper

    tasks = [simulate_paper.Task("", seconds, seconds) for seconds in (3, 3, 4, 2, 2, 9)]
    assert simulate_paper.makespan(tasks, 1) == 23
    assert simulate_paper.makespan(tasks, 2) == 12
    assert simulate_paper.makespan(tasks, 64) == 9


def test_each_row_says_what_limits_it_and_each_number_where_it_is_from(simulate):
    import simulate_paper

    assert simulate_paper.limit_of(0.9, 0.5, 0.95) == "the judge's rate limit"
    assert simulate_paper.limit_of(0.9, 0.95, 0.5) == "the longest task"
    assert simulate_paper.limit_of(0.9, 0.5, 0.5) == "computing"
    assert simulate_paper.limit_of(0.2, 0.5, 0.5) == "waiting for the judge and helpers"
    tasks = (simulate_paper.Task("a", 36e3, 27e3), simulate_paper.Task("b", 36e3, 36e3))
    hours = simulate_paper.TRAINING_SECONDS / 3600
    row = simulate_paper.cost_row(2, {"x": simulate_paper.Part(tasks, 60_000)})
    assert row[:5] == ["2", f"{10 + hours:.1f}", "100", "88", "100"]
    assert row[-1] == "the longest task"
    kinds = {line[2] for line in simulate_paper.assumptions(0.01, 4)}
    assert kinds == {"counted", "measured", "published", "assumed"}
    assert "measured" not in {line[2] for line in simulate_paper.assumptions(None, 4)}
