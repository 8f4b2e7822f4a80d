"""Marks are read from the first to the last of the scale that the prompt names, and no further."""

import pytest
from attack_cast import AOS, AVATAR, EPT, SPEAKEASY, TAP, WORDS, Cast

from midspan.attacks import get_attack
from midspan.engine.budget import Budget

BLOCKS = {"target": lambda call, rng: f" step {rng.random()}."}
# The attack, what its roles say, fields that are not its defaults; the scale of each mark.
PLAYS = {
    "tap": (TAP, {"depth": 1}, {"tap.rate": (1, 10)}),
    "speakeasy": (SPEAKEASY, {}, {"speakeasy.rate": (0, 10)}),
    "avatar": (AVATAR, {}, {"avatar.rate": (1, 10)}),
    "crescendo": (WORDS, {"rounds": 1}, {"crescendo.rate": (1, 10)}),
    "aos": (AOS, {"rounds": 1}, {"aos.rate": (0, 100)}),
    "ept": (EPT | BLOCKS, {"max_depth": 1}, {"ept.guard": (0, 10), "ept.rank": (0, 10)}),
}


@pytest.mark.parametrize("name", PLAYS)
def test_the_ends_of_a_scale_are_marks(name, tmp_path):
    answers, fields, scales = PLAYS[name]
    cast, attack = Cast(answers), get_attack(name)
    cast.play(attack, attack.config(**fields), tmp_path / "journal.jsonl", Budget(target=12))
    for kind, (low, high) in scales.items():
        call = cast.of(kind)[0]
        asked = " ".join(message["content"] for message in call.messages)
        assert f"{low}" in asked and f"{high}" in asked
        assert [call.parse(f"[[{mark}]]") for mark in (low, high)] == [low, high]
        for mark in (low - 1, high + 1):
            with pytest.raises(ValueError):
                call.parse(f"[[{mark}]]")
