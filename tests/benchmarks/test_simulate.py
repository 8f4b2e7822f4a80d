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
    for name in ("simulate", "simulate_check", "simulate_paper"):
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
    import simulate_check

    prepared = simulate_check.small(2)
    clock = simulate.Clock()
    roles = {name: helper.open() for name, helper in prepared.helpers.items()}
    judges = {spec: judge.open() for spec, judge in prepared.judges.items()}
    words = simulate.Replies([("i am sorry , but i cannot help with that .", 16)]).role()
    target = simulate.Timed(words, clock, simulate.computing(simulate.Rates(0.0, 1.0)), 32)
    roles |= {"target": target, "judge": judges["exact"]}
    results = simulate.run(prepared, roles, judges, slice(None))
    asked = [result.usage["target"].calls for result in results]
    assert max(asked) == 12 and clock.now == sum(r.usage["target"].forwards for r in results)


def test_a_simulation_says_what_was_said_to_the_nearest_prompts(simulate):
    import simulate_check

    from midspan.data.behaviors import Behavior
    from midspan.engine.calls import Chat, Judge, user
    from midspan.engine.roles import Scripted, SeededCall

    target, clock = Scripted(lambda call, rng: "", "a target"), simulate.Clock()
    said = [simulate_check.Said(frozenset({"make", name}), name, 3) for name in ("tea", "ink")]
    replay = simulate_check.Replay(target, said, clock, simulate.Rates(0.5, 0.25))
    replay.candidates = 1
    asked = [SeededCall(Chat("target", (user(f"make {name}"),)), 0) for name in ("ink", "tea")]
    assert [reply.raw for _, reply in replay.answer(asked)] == ["ink", "tea"]
    assert clock.now == 3 * 0.5 + 6 * 0.25
    # The judge thinks of a reply what it thought of it where it was said.
    seen = Scripted(lambda call, rng: call.behavior.id, "a judge")
    then, now = Behavior("then", "a"), Behavior("now", "b")
    judge = simulate_check.Remembering(seen, {"ink": then})
    calls = [SeededCall(Judge(now, text), 0) for text in ("ink", "new")]
    assert [reply.raw for _, reply in judge.answer(calls)] == ["then", "now"]


@pytest.mark.parametrize("rates", [(0.5, 0.25), (0.0, 0.25), (0.5, 0.0)])
def test_rates_are_fitted_to_batches(simulate, rates):
    import simulate_check

    shapes = [(4, 4), (4, 30), (8, 100), (2, 64)]
    batches = [
        simulate_check.Batch(most, rows, rates[0] * most + rates[1] * rows) for most, rows in shapes
    ]
    assert simulate_check.fitted(batches) == pytest.approx(rates)
    one = simulate_check.Batch(4, 8, 2.0)
    assert simulate_check.fitted([one]) == pytest.approx((0.0, 0.25))


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
