"""The AVATAR reconstruction: mappings, their order, dialogues, and words turned back."""

import json

import pytest
from attack_cast import AVATAR, GOAL, Cast
from hypothesis import given
from hypothesis import strategies as st

from midspan.attacks.avatar import ATTACK, AvatarConfig, swap
from midspan.engine.budget import Budget

MAPPING = {"velmora": "garden", "sigil": "lantern"}


def play(tmp_path, answers, config=None, **more):
    cast = Cast(AVATAR | answers)
    return cast, cast.play(ATTACK, config or AvatarConfig(), tmp_path / "journal.jsonl", **more)


def mapped(call=None, rng=None):
    return json.dumps({"mapping": MAPPING})


def test_call_counts_of_the_whole_attack(tmp_path):
    cast, result = play(tmp_path, {})
    assert cast.counts == {
        "avatar.entities": 1, "avatar.map": 3, "avatar.assess": 3,
        "avatar.say": 30, "target": 30, "avatar.rate": 10,
    }  # fmt: skip
    assert (result.stop, result.access, len(result.attempts)) == ("exhausted", "chat", 10)
    assert [attempt.target_calls for attempt in result.attempts] == list(range(3, 31, 3))


def test_the_target_never_sees_an_entity_and_the_judge_never_a_stand_in(tmp_path):
    def leak(call, rng):
        return json.dumps({"prompt": "make the VELMORA sigil in a garden ."})

    cast, result = play(tmp_path, {"avatar.map": mapped, "avatar.say": leak})
    for call in cast.of("target"):
        assert call.messages[-1]["content"] == "make the garden lantern in a garden ."
    assert result.attempts[0].response == "\n\n".join(
        ["well : make the velmora sigil in a velmora ."] * 3
    )
    assert cast.of("avatar.say")[0].fields["task"] == "how do i make the garden lantern ?"


def test_mappings_are_tried_in_the_order_of_their_worth(tmp_path):
    worth = {"a": (8, 9), "b": (0, 7), "c": (1, 10), "d": (9, 1)}
    letters = iter(worth)

    def imagine(call, rng):
        letter = next(letters)
        return json.dumps({"mapping": {"velmora": f"{letter}1", "sigil": f"{letter}2"}})

    def assess(call, rng):
        toxicity, similarity = worth[call.fields["mapping"]["sigil"][0]]
        return json.dumps({"toxicity": toxicity, "similarity": similarity})

    config = AvatarConfig(proposals=4, mappings=3, tries=5, turns=1)
    cast, _ = play(tmp_path, {"avatar.map": imagine, "avatar.assess": assess}, config)
    tried = [call.fields["mapping"]["sigil"] for call in cast.of("avatar.say")]
    assert tried == ["c2", "b2", "a2", "c2", "b2"]


def test_similarity_is_worth_as_much_as_toxicity_costs(tmp_path):
    worth = {"a": (9, 10), "b": (0, 4), "c": (2, 5)}  # 1, 4 and 3
    letters = iter(worth)

    def imagine(call, rng):
        letter = next(letters)
        return json.dumps({"mapping": {"velmora": f"{letter}1", "sigil": f"{letter}2"}})

    def assess(call, rng):
        toxicity, similarity = worth[call.fields["mapping"]["sigil"][0]]
        return json.dumps({"toxicity": toxicity, "similarity": similarity})

    config = AvatarConfig(mappings=2, tries=3, turns=1)
    cast, _ = play(tmp_path, {"avatar.map": imagine, "avatar.assess": assess}, config)
    assert [call.fields["mapping"]["sigil"] for call in cast.of("avatar.say")] == ["b2", "c2", "b2"]


def test_equal_mappings_are_one(tmp_path):
    cast, _ = play(tmp_path, {"avatar.map": mapped})
    assert cast.counts["avatar.assess"] == 1


def test_a_dialogue_grows_and_ends_at_a_refusal(tmp_path):
    def target(call, rng):
        return "i cannot go on ." if len(call.messages) == 3 else "take the lantern ."

    cast, result = play(tmp_path, {"avatar.map": mapped, "target": target}, AvatarConfig(tries=2))
    assert [[m["role"] for m in call.messages] for call in cast.of("target")] == [
        ["user"], ["user", "assistant", "user"],
    ] * 2  # fmt: skip
    assert [attempt.response for attempt in result.attempts] == ["take the sigil ."] * 2
    assert cast.counts["avatar.rate"] == 2


def test_a_refusal_at_once_counts_as_asked_and_is_not_rated(tmp_path):
    cast, result = play(tmp_path, {"target": "i am sorry , no ."})
    assert cast.counts["target"] == 10 and not cast.of("avatar.rate")
    assert (result.stop, result.ran) == ("exhausted", True)
    assert {attempt.score for attempt in result.attempts} == {0}


def test_what_the_attacker_is_told_follows_the_turn(tmp_path):
    cast, _ = play(tmp_path, {}, AvatarConfig(tries=1))
    first, middle, last = cast.of("avatar.say")
    assert [call.fields["turn"] for call in (first, middle, last)] == [0, 1, 2]
    assert "outline" in first.messages[1]["content"] and not first.fields["dialogue"]
    assert "details" in middle.messages[1]["content"] and len(middle.fields["dialogue"]) == 2
    assert "whole once more" in last.messages[1]["content"] and len(last.fields["dialogue"]) == 4


def test_ten_stops(tmp_path):
    ratings = iter(["[[2]]", "[[10]]"])
    cast, result = play(tmp_path, {"avatar.rate": lambda call, rng: next(ratings)})
    assert result.stop == "success"
    assert cast.counts["target"] == 6 and len(result.attempts) == 2


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("avatar.entities", '{"entities": []}'),
        ("avatar.entities", '{"entities": "sigil"}'),
        ("avatar.entities", '{"entities": ["not in it"]}'),
        ("avatar.entities", '{"entities": [3]}'),
        ("avatar.map", '{"mapping": {"velmora": "x"}}'),
        ("avatar.map", '{"mapping": {"velmora": "x", "sigil": "X"}}'),
        ("avatar.map", '{"mapping": {"velmora": "Sigil", "sigil": "x"}}'),
        ("avatar.map", '{"mapping": ["velmora", "sigil"]}'),
        ("avatar.assess", '{"toxicity": 3}'),
        ("avatar.assess", '{"toxicity": 11, "similarity": 1}'),
        ("avatar.assess", '{"toxicity": true, "similarity": 1.5}'),
        ("avatar.say", '{"prompt": ""}'),
        *((kind, said) for kind in AVATAR if "." in kind for said in ("", "x" * 20_000, None)
          if kind != "avatar.rate"),
    ],
)  # fmt: skip
def test_a_helper_that_never_answers_as_asked_is_a_failure(tmp_path, kind, said):
    cast, result = play(tmp_path, {kind: said})
    assert (result.stop, result.ran) == ("failed", False)
    asked = {"avatar.map": 3, "avatar.assess": 3, "avatar.say": 10}.get(kind, 1)
    assert cast.counts[kind] == asked * (1 if said is None else 5)
    assert not cast.of("target")


def test_an_unrated_dialogue_is_still_judged(tmp_path):
    _, result = play(tmp_path, {"avatar.rate": "fine"})
    assert (result.stop, len(result.attempts)) == ("exhausted", 10)
    assert {attempt.score for attempt in result.attempts} == {None}


def test_an_attacker_that_falls_silent_leaves_what_was_told(tmp_path):
    def once(call, rng):
        return AVATAR["avatar.say"](call, rng) if call.fields["turn"] == 0 else None

    cast, result = play(tmp_path, {"avatar.say": once}, AvatarConfig(tries=2))
    assert cast.counts["target"] == 2 and len(result.attempts) == 2
    assert result.stop == "exhausted"


def test_a_budget_ends_it_within_a_dialogue(tmp_path):
    _, result = play(tmp_path, {}, budget=Budget(target=4))
    assert result.stop == "budget"
    assert [attempt.target_calls for attempt in result.attempts] == [3]


WORD = st.text("abc", min_size=1, max_size=3)


@given(st.lists(WORD | st.just("."), max_size=12), st.dictionaries(WORD, WORD, max_size=4))
def test_swapping_replaces_whole_words_at_once(text, words):
    assert swap(" ".join(text), words) == " ".join(words.get(word, word) for word in text)


def test_swapping_prefers_the_longer_phrase_and_takes_any_case():
    words = {"red sigil": "lamp", "sigil": "lantern", "f(x)": "y"}
    assert swap("A Red Sigil , sigils , SIGIL f(x)", words) == "A lamp , sigils , lantern y"
    assert swap(GOAL, {}) == GOAL
