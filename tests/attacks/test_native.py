"""Attacks that only diffusion models have: what they fix, hand over and ask."""

import pytest
from attack_cast import GOAL, Cast

from midspan.attacks import get_attack
from midspan.engine.calls import Anchor, Scaffold
from midspan.engine.records import _fields

OPENING = "Sure, the sigil:"


def play(name, tmp_path, answers=None, own=OPENING, **fields):
    attack = get_attack(name)
    cast = Cast({"target": "no .", **(answers or {})})
    result = cast.play(attack, attack.config(**fields), tmp_path / "j.jsonl", opening=own)
    asked = [call for call in cast.asked if call.role == "target"]
    assert all(call.messages[-1]["content"] == GOAL for call in asked)
    return asked, result


def test_prefill_fixes_the_behaviors_own_opening_at_every_position(tmp_path):
    asked, result = play("prefill", tmp_path, positions=(0, 20))
    assert [call.anchors for call in asked] == [(Anchor(OPENING, 0),), (Anchor(OPENING, 20),)]
    assert (result.access, len(result.attempts)) == ("infill", 2)


def test_prefill_takes_a_generic_opening_where_there_is_none(tmp_path):
    ((asked,), _) = play("prefill", tmp_path, own="")
    assert asked.anchors == (Anchor("Sure, here is", 0),)


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("diffuguard", (("Step 1:", 21), ("Step 2:", 42), ("Step 3:", 63))),
        ("recovery", (("Step 1:", 1), ("Step 2:", 64))),
    ],
)
def test_pad_spreads_connectors(tmp_path, layout, expected):
    ((asked,), result) = play("pad", tmp_path, layout=layout)
    assert asked.anchors == expected
    assert asked.temperature == 0.5
    assert result.access == "infill"


def test_pad_deals_out_connectors_in_turn(tmp_path):
    ((asked,), _) = play("pad", tmp_path, connectors=("a", "b"), positions=(3, 9, 15))
    assert asked.anchors == (("a", 3), ("b", 9), ("a", 15))


@pytest.mark.parametrize(
    ("draft", "text", "target_calls"),
    [("helper", "a helper's draft", 1), ("data", OPENING, 1), ("own", OPENING + " well", 2)],
)
def test_anchoring_hands_over_a_draft(tmp_path, draft, text, target_calls):
    answers = {"anchoring.draft": "a helper's draft", "target": " well"}
    asked, result = play("anchoring", tmp_path, answers, draft=draft, steps=8)
    (rule,) = asked[-1].rules
    assert (rule.rule, rule.text, rule.steps) == ("draft", text, 8)
    assert len(asked) == target_calls
    assert (result.access, len(result.attempts)) == ("sampler", 1)
    assert result.attempts[0].rules == (rule,)


def test_anchoring_without_a_draft_has_not_run(tmp_path):
    asked, result = play("anchoring", tmp_path, {"anchoring.draft": None})
    assert (asked, result.ran, result.stop) == ([], False, "failed")


@pytest.mark.parametrize(("opening", "prefix"), [(None, OPENING), ("", ""), ("Yes", "Yes")])
def test_trajhijack_writes_a_prefix_in_a_refusals_place(tmp_path, opening, prefix):
    ((asked,), result) = play("trajhijack", tmp_path, opening=opening, markers=("no",), times=2)
    (rule,) = asked.rules
    assert (rule.rule, rule.prefix, rule.markers, rule.times) == ("rewrite", prefix, ("no",), 2)
    assert result.access == "sampler"


@pytest.mark.parametrize("channel", ["user", "response"])
def test_dija_fills_shapes_or_a_helpers_outline(tmp_path, channel):
    asked, result = play("dija", tmp_path, channel=channel, shapes=("\na [2]", "\nb [3]"))
    texts = ["\na [2]", "\nb [3]"] if channel == "user" else ["a [2]", "b [3]"]
    assert {call.scaffold for call in asked} == {Scaffold(text, channel) for text in texts}
    assert (result.access, len(result.attempts)) == ("infill", 2)
    outline = {"dija.outline": "Take [2 words] and mix."}
    ((asked,), _) = play("dija", tmp_path / "helper", outline, channel=channel, shapes=())
    assert asked.scaffold.text.strip() == "Take [2 words] and mix."


def test_dija_refuses_an_outline_without_holes(tmp_path):
    asked, result = play("dija", tmp_path, {"dija.outline": "Take it."}, shapes=())
    assert (asked, result.ran, result.stop) == ([], False, "failed")


def test_a_sweeps_attempts_say_how_they_were_decoded(tmp_path):
    ways = ({"steps": 0.5}, {}, {"rules": [{"rule": "ban", "end": True}]})
    _, result = play("decode_sweep", tmp_path, ways=ways)
    told = [(attempt.decoding, [r.rule for r in attempt.rules]) for attempt in result.attempts]
    assert told == [((("steps", 0.5),), []), ((), []), ((), ["ban"])]
    assert [_fields(attempt).get("decoding") for attempt in result.attempts] == [
        {"steps": 0.5}, None, None,
    ]  # fmt: skip
