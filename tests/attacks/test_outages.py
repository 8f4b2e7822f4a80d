"""A role that stops to answer, at any call of any attack, never makes a target look safe unseen."""

import zlib

import pytest
from attack_cast import GOAL, Cast, Infilling
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_resume import PLAYS

from midspan.attacks import get_attack
from midspan.data.behaviors import Behavior
from midspan.engine.outcomes import Outcome, Outcomes, silent_roles
from midspan.engine.records import judge_results
from midspan.engine.roles import MissingReply
from midspan.engine.scheduler import AttackJob, run_attacks
from midspan.journal.journal import Journal
from midspan.judges import ExactJudge, Verdict

HEALTHY = {}  # records where everybody answers, by play


def coin(behavior, response):
    """A judge to whom half of all responses are successes, whatever the attack's own ratings."""
    won = zlib.crc32(response.encode()) % 2 == 0
    return Verdict(5 if won else 1, not won, 5, 5, True, "coin")


class FailingRole(Infilling):
    """A role that gives no answer from its `first` call on, `count` times."""

    def __init__(self, answers, fingerprint, first, count):
        super().__init__(answers, fingerprint)
        self._calls, self._dead = 0, range(first, first + count)

    def answer(self, tasks):
        for index, answer in super().answer(tasks):
            is_dead = self._calls in self._dead
            self._calls += 1
            yield index, MissingReply("failed", "out of order") if is_dead else answer


def record(play, journal, dead=None, first=0, count=0):
    answers, config = PLAYS[play]
    attack = get_attack(play.partition("-")[0])
    cast = Cast(answers)
    roles = {
        name: FailingRole(cast, f"{name}-v1", first, count if name == dead else 0)
        for name in attack.roles
    }
    job = AttackJob(attack, config, Behavior(GOAL, GOAL), roles)
    with Journal(journal) as kept:
        results = run_attacks([job], kept, seed=7)
        judges = {"coin": ExactJudge(coin, "coin")}
        (item,) = judge_results([job], results, judges, kept, seed=7)
    return item.record()


@pytest.mark.parametrize("play", PLAYS)
def test_nothing_is_lost_where_everybody_answers(play, tmp_path):
    found = record(play, tmp_path / "j")
    assert found["lost"] == [] and found["reason"] == ""
    assert (
        Outcomes.from_records([found], "coin").least == Outcomes.from_records([found], "coin").most
    )


@pytest.mark.parametrize("play", PLAYS)
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_loss_under_an_outage_is_told(play, tmp_path_factory, data):
    roles = get_attack(play.partition("-")[0]).roles
    dead = data.draw(st.sampled_from(roles))
    first = data.draw(st.integers(0, 20))
    count = data.draw(st.sampled_from((1, 3, 10**9)))
    folder = tmp_path_factory.mktemp("outage")
    if play not in HEALTHY:
        HEALTHY[play] = record(play, folder / "healthy")
    healthy = HEALTHY[play]
    struck = record(play, folder / "struck", dead, first, count)
    rates = Outcomes.from_records([struck], "coin")
    if struck == healthy:
        return  # the role was not asked so often
    assert rates.most.rate >= (healthy["outcome"]["coin"] == Outcome.WON)
    assert rates.least.rate <= (struck["outcome"]["coin"] == Outcome.WON)
    if struck["outcome"]["coin"] == Outcome.LOST:
        assert struck["ran"] and struck["lost"] and "out of order" in struck["reason"]


@pytest.mark.parametrize("play", PLAYS)
def test_a_role_that_never_answers_is_named(play, tmp_path):
    attack = get_attack(play.partition("-")[0])
    asked = set(record(play, tmp_path / "healthy")["usage"])
    for role in asked & set(attack.roles):
        found = record(play, tmp_path / role, role, 0, 10**9)
        assert silent_roles([found])[role] == "out of order"
        assert found["outcome"]["coin"] != Outcome.LOST or found["lost"]
