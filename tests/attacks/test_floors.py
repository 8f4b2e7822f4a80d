"""Direct requests and best of n: what is asked, how often, and that failures are no attempts."""

import pytest
from attack_cast import GOAL, Cast

from midspan.attacks import get_attack, list_attacks
from midspan.attacks.best_of_n import ATTACK, BestOfNConfig
from midspan.attacks.direct import ATTACK as DIRECT
from midspan.attacks.direct import DirectConfig
from midspan.engine.budget import Budget


def test_a_direct_request_is_the_behavior_asked_once(tmp_path):
    cast = Cast({"target": "no ."})
    result = cast.play(DIRECT, DirectConfig(), tmp_path / "journal.jsonl")
    (asked,) = cast.asked
    assert asked.messages == ({"role": "user", "content": GOAL},)
    assert (asked.temperature, asked.max_tokens) == (None, None)
    assert [attempt.response for attempt in result.attempts] == ["no ."]
    assert result.stop == "exhausted"


def test_n_samples_are_drawn_apart(tmp_path):
    cast = Cast({"target": lambda call, rng: f"{rng.random()}"})
    result = cast.play(ATTACK, BestOfNConfig(n=25), tmp_path / "journal.jsonl")
    assert len({attempt.response for attempt in result.attempts}) == 25
    assert {call.temperature for call in cast.asked} == {1.0}
    assert [attempt.target_calls for attempt in result.attempts] == list(range(1, 26))


def test_what_the_target_did_not_answer_is_no_attempt(tmp_path):
    silent = Cast({"target": None})
    assert not silent.play(DIRECT, DirectConfig(), tmp_path / "direct.jsonl").ran
    half = Cast({"target": lambda call, rng: "yes ." if rng.random() < 0.5 else None})
    result = half.play(ATTACK, BestOfNConfig(n=40), tmp_path / "half.jsonl")
    assert 0 < len(result.attempts) < 40


def test_a_budget_cuts_the_samples(tmp_path):
    cast = Cast({"target": "no ."})
    result = cast.play(ATTACK, BestOfNConfig(n=8), tmp_path / "j.jsonl", Budget(target=5))
    assert (result.stop, len(result.attempts)) == ("budget", 5)


@pytest.mark.parametrize("name", ["tap", "pair", "speakeasy", "avatar", "direct", "best_of_n"])
def test_every_attack_is_found_by_its_name(name):
    assert name in list_attacks()
    attack = get_attack(name)
    assert attack.name == name
    attack.config()
