"""Attacks in words and suffixes: what they ask, in which order, and what of it is judged."""

import base64
import json
import random
import re

import pytest
from attack_cast import GOAL, PAL, WORDS, Cast

from midspan.attacks import get_attack
from midspan.attacks._codes import CODES, plain_reading
from midspan.attacks._persuasion import TECHNIQUES, TOP_FIVE
from midspan.attacks.bon import BonConfig, augmented
from midspan.attacks.post_context import LONG, SHORT, without_end
from midspan.attacks.renellm import WAYS
from midspan.attacks.replay import Replayed
from midspan.engine.budget import Budget
from midspan.engine.calls import Anchor, Scaffold, assistant, user
from midspan.engine.records import _fields
from midspan.errors import MidspanError

REFUSED = "I cannot help with that."
ANSWER = "Sure. First of all, take the two of them, and then put it on for an hour."


def play(name, tmp_path, answers=None, own="Sure, the sigil:", **fields):
    attack = get_attack(name)
    cast = Cast(WORDS | (answers or {}))
    result = cast.play(attack, attack.config(**fields), tmp_path / "j.jsonl", opening=own)
    return cast, result


def said(result):
    """What the target was asked, in the order of the attempts."""
    return [attempt.messages[-1]["content"] for attempt in result.attempts]


def test_nested_requests_stand_in_their_structure_and_its_outline_in_the_response(tmp_path):
    fields = {"contexts": ("a {request} {b}", "{request}!"), "outlines": ("x [3]", "[2 words]")}
    cast, result = play("context_nesting", tmp_path / "chat", **fields)
    assert said(result) == [f"a {GOAL} {{b}}", f"{GOAL}!"]
    assert result.access == "chat"
    cast, result = play("context_nesting", tmp_path / "response", channel="response", **fields)
    assert said(result) == [f"a {GOAL} {{b}}", f"{GOAL}!"]
    outlines = [attempt.scaffold for attempt in result.attempts]
    assert outlines == [Scaffold("x [3]"), Scaffold("[2 words]")]
    assert result.access == "infill"


def test_a_structure_needs_its_slot_and_an_outline_each():
    config = get_attack("context_nesting").config
    with pytest.raises(MidspanError, match=r"contexts.*slot \{request\}"):
        config(contexts=("no slot",))
    with pytest.raises(MidspanError, match="outlines must have one"):
        config(channel="response", outlines=("[3]",))
    for attack in ("renellm", "templates"):
        field = {"renellm": "scenarios", "templates": "templates"}[attack]
        with pytest.raises(MidspanError, match=field):
            get_attack(attack).config(**{field: ("no slot",)})


@pytest.mark.parametrize("prefix", [True, False])
def test_what_follows_the_masks_is_given_and_not_judged(tmp_path, prefix):
    def fill(call, rng):
        return call.scaffold.text.replace("[8]", "take two")

    cast, result = play("post_context", tmp_path, {"target": fill}, masks=8, prefix=prefix)
    before = "Sure, the sigil: " if prefix else ""
    assert [attempt.scaffold.text for attempt in result.attempts][:2] == [
        f"{before}[8] {SHORT}",
        f"{before}[8] {LONG}",
    ]
    assert all(call.extend == 0 for call in cast.of("target"))
    assert [attempt.response for attempt in result.attempts] == [f"{before}take two"] * 3
    assert result.access == "infill"


@pytest.mark.parametrize(
    ("text", "end", "left"),
    [
        ("so it is . Done !", "it is. done!", "so"),
        ("so it is", "it is not", "so it is"),
        ("it is", "so it is", "it is"),
        ("that", "", "that"),
    ],
)
def test_the_end_is_cut_off_by_its_words(text, end, left):
    assert without_end(text, end) == left


def test_gcg_moves_to_the_best_and_answers_the_best_so_far(tmp_path):
    """Against the printed loop: losses by hand, responses every second step."""
    losses = iter([[0.9, 0.5], [0.7, 0.8], [0.2, 0.3]])
    answers = PAL | {
        "GCGCandidates": lambda call, rng: (f"{call.suffix}a", f"{call.suffix}b"),
        "SuffixLosses": lambda call, rng: tuple(next(losses)),
        "target": "no .",
    }
    cast, result = play("first_step_gcg", tmp_path, answers, suffix="x", steps=3, check_every=2)
    candidates, scored = cast.of("GCGCandidates"), cast.of("SuffixLosses")
    assert [call.suffix for call in candidates] == ["x", "xb", "xba"]
    assert {call.phrase for call in candidates + scored} == {"Sure, the sigil:"}
    assert {(call.start, call.count, call.top_k) for call in candidates} == {(0, 512, 256)}
    assert said(result) == [f"{GOAL} xb", f"{GOAL} xbaa"]
    assert [attempt.score for attempt in result.attempts] == [-0.5, -0.2]
    assert (result.access, result.stop) == ("white-box", "exhausted")


def test_gcg_without_gradients_has_not_run(tmp_path):
    _, result = play("first_step_gcg", tmp_path, PAL | {"GCGCandidates": None})
    assert (result.ran, result.stop) == (False, "failed")


def test_persuasion_takes_harmbenchs_five_of_forty(tmp_path):
    assert (len(TECHNIQUES), len(set(TOP_FIVE) & set(TECHNIQUES))) == (40, 5)
    cast, result = play("pap", tmp_path)
    asked = cast.of("pap.persuade")
    assert {call.fields["technique"] for call in asked} == set(TOP_FIVE)
    for call in asked:
        shown = call.messages[-1]["content"]
        assert TECHNIQUES[call.fields["technique"]] in shown and GOAL in shown
    assert len(result.attempts) == 5
    with pytest.raises(MidspanError, match=r"techniques\.?.*must be one of"):
        get_attack("pap").config(techniques=("Bribery",))


def test_a_dialogue_takes_refused_questions_back(tmp_path):
    replies = iter([ANSWER, REFUSED, REFUSED, "well , half of it", "all of it"])
    ratings = iter(["[[2]]", "[[5]]", "[[8]]"])
    answers = {
        "crescendo.ask": lambda call, rng: json.dumps({"question": f"q{next(number)}"}),
        "crescendo.rate": lambda call, rng: next(ratings),
        "target": lambda call, rng: next(replies),
    }
    number = iter(range(9))
    cast, result = play("crescendo", tmp_path, answers)
    dialogues = [call.messages for call in cast.of("target")]
    first = (user("q0"), assistant(ANSWER))
    assert dialogues == [
        (user("q0"),),
        (*first, user("q1")),
        (*first, user("q2")),
        (*first, user("q3")),
        (*first, user("q3"), assistant("well , half of it"), user("q4")),
    ]
    fields = [call.fields for call in cast.of("crescendo.ask")]
    assert [(f["turn"], f["refused"], f["score"]) for f in fields] == [
        (1, "", None), (2, "", 2), (2, "q1", None), (2, "q2", None), (3, "", 5),
    ]  # fmt: skip
    assert [attempt.score for attempt in result.attempts] == [2, 0, 0, 5, 8]
    assert result.stop == "success"


def test_a_dialogue_that_is_always_refused_ends_after_turns_and_backtracks(tmp_path):
    answers = {"target": REFUSED, "crescendo.rate": "[[1]]"}
    cast, result = play("crescendo", tmp_path, answers, rounds=3, backtracks=2)
    assert (cast.counts["target"], cast.counts["crescendo.rate"]) == (5, 3)
    assert len(cast.of("target")[-1].messages) == 5
    assert result.stop == "exhausted"


def test_a_request_is_rewritten_in_drawn_ways_then_nested(tmp_path):
    cast, result = play("renellm", tmp_path, rounds=6, scenarios=("<{request}>",))
    rounds = [re.findall(r"\w+", text.removeprefix(f"<{GOAL} ")) for text in said(result)]
    assert len(rounds) == len(result.attempts) == 6
    for ways in rounds:
        assert set(ways) <= set(WAYS) and len(set(ways)) == len(ways) >= 1
    assert len({tuple(ways) for ways in rounds}) > 3
    told = {call.fields["way"]: call.messages[-1]["content"] for call in cast.of("renellm.rewrite")}
    assert all(WAYS[way] in shown for way, shown in told.items())


def test_a_rewriting_that_asks_for_something_else_is_thrown_away(tmp_path):
    checks = iter(["[[NO]]", "[[NO]]", "[[YES]]", "[[NO]]", "[[NO]]", "[[NO]]"])
    answers = {"renellm.check": lambda call, rng: next(checks)}
    cast, result = play("renellm", tmp_path, answers, rounds=2, rewrites=3, ways=("style",))
    assert cast.counts["renellm.check"] == cast.counts["renellm.rewrite"] == 6
    assert (cast.counts["target"], result.stop) == (1, "exhausted")


def test_the_first_fulfilled_request_ends_rewriting_and_refusals_are_not_judged(tmp_path):
    replies = iter([REFUSED, "hm", "all"])
    verdicts = iter(["[[NO]]", "[[YES]]"])
    answers = {
        "target": lambda call, rng: next(replies),
        "renellm.judge": lambda call, rng: next(verdicts),
    }
    _, result = play("renellm", tmp_path, answers)
    assert [attempt.score for attempt in result.attempts] == [0.0, 0.0, 1.0]
    assert result.stop == "success"


@pytest.mark.parametrize("name", [name for name in CODES if CODES[name].decode])
def test_an_answer_in_a_code_is_read_back_and_a_plain_one_is_left(name):
    code = CODES[name]
    coded = code.encode(ANSWER)
    assert coded != ANSWER
    same = ANSWER.lower() if name == "leetspeak" else ANSWER
    read = plain_reading(code, coded)
    assert (read.lower() if name == "leetspeak" else read) == same
    assert plain_reading(code, ANSWER) == ANSWER
    assert plain_reading(code, REFUSED) == REFUSED


@pytest.mark.parametrize("name", ["base64", "hex"])
def test_an_answer_in_a_code_that_is_cut_off_is_read_up_to_there(name):
    code, answer = CODES[name], f"{ANSWER} caf\N{LATIN SMALL LETTER E WITH ACUTE}"
    coded = code.encode(answer).rstrip("=")
    for missing in range(1, 13):
        read = plain_reading(code, coded[:-missing])
        assert answer.startswith(read) and len(read) > len(answer) - 12


def test_codes_are_the_usual_ones():
    text = "Attack at dawn"
    coded = {name: code.encode(text) for name, code in CODES.items()}
    assert coded == {
        "base64": base64.b64encode(text.encode()).decode(),
        "rot13": "Nggnpx ng qnja",
        "caesar": "Dwwdfn dw gdzq",
        "leetspeak": "4774ck 47 d4wn",
        "reversed": "nwad ta kcattA",
        "words_reversed": "dawn at Attack",
        "hex": "41747461636b206174206461776e",
        "no_vowels": "ttck t dwn",
    }


def test_a_request_is_asked_in_code_and_its_answer_decoded(tmp_path):
    coded = CODES["rot13"].encode(ANSWER)
    fields = {"codes": ("rot13", "no_vowels"), "ask": "{name}|{how}|{text}", "in_code": "too"}
    cast, result = play("encodings", tmp_path / "in", {"target": coded}, **fields)
    assert said(result) == [
        f"ROT13|too|{CODES['rot13'].encode(GOAL)}",
        f"words without vowels||{CODES['no_vowels'].encode(GOAL)}",
    ]
    assert [attempt.response for attempt in result.attempts] == [ANSWER, coded]
    _, result = play("encodings", tmp_path / "plain", {"target": coded}, **fields | {"in_code": ""})
    assert {attempt.response for attempt in result.attempts} == {coded}


def test_augmented_letters_are_those_of_the_published_steps():
    """Each step alone against its definition, and its share over a long text."""
    text = " ".join(f"word{n} of mixed LETTERS" for n in range(400))
    alone = {"scrambled": 0, "capitals": 0, "noise": 0}
    one = BonConfig(**alone | {"scrambled": 0.6})
    words = augmented(text, random.Random(1), one).split(" ")
    for before, after in zip(text.split(" "), words, strict=True):
        assert sorted(before) == sorted(after) and before[0] == after[0] and before[-1] == after[-1]
    assert all(after == "of" for before, after in zip(text.split(), words, strict=True)
               if before == "of")  # fmt: skip
    capitals = augmented(text, random.Random(1), BonConfig(**alone | {"capitals": 0.6}))
    assert capitals.lower() == text.lower()
    letters = [(a, b) for a, b in zip(text, capitals, strict=True) if a.isalpha()]
    assert 0.55 < sum(a != b for a, b in letters) / len(letters) < 0.65
    noisy = augmented(text, random.Random(1), BonConfig(**alone | {"noise": 0.06}))
    moves = [ord(b) - ord(a) for a, b in zip(text, noisy, strict=True)]
    # A space has a neighbor on one side alone.
    assert set(moves) == {-1, 0, 1}
    assert 0.05 < sum(map(abs, moves)) / len(moves) < 0.07
    assert augmented(text, random.Random(1), BonConfig(**alone)) == text


def test_tries_end_with_the_batch_that_has_a_fulfilled_one(tmp_path):
    verdicts = iter(["[[NO]]"] * 5 + ["[[YES]]"] + ["[[NO]]"] * 99)
    answers = {"bon.judge": lambda call, rng: next(verdicts)}
    cast, result = play("bon", tmp_path, answers, n=20, batch=4)
    assert (cast.counts["target"], result.stop) == (8, "success")
    assert {call.temperature for call in cast.of("target")} == {1.0}
    assert sorted(attempt.score for attempt in result.attempts) == [0.0] * 7 + [1.0]
    assert len(set(said(result))) == 8


def test_templates_are_drawn_for_each_behavior_and_read_from_a_file(tmp_path):
    file = tmp_path / "own.txt"
    file.write_text(
        "\ufeffone {request}\nof two lines\n---\ntwo {request} {x}\n---\n\n--- \nthree{request}"
    )
    _, result = play("templates", tmp_path, file=str(file), count=2)
    own = {f"one {GOAL}\nof two lines", f"two {GOAL} {{x}}", f"three{GOAL}"}
    assert len(set(said(result)) & own) == 2
    with pytest.raises(MidspanError, match="cannot be read"):
        get_attack("templates").config(file=str(tmp_path / "none"))
    file.write_text("---\n")
    with pytest.raises(MidspanError, match="no template"):
        get_attack("templates").config(file=str(file))
    file.write_text("no slot")
    with pytest.raises(MidspanError, match="slot"):
        get_attack("templates").config(file=str(file))


def test_an_attempt_is_replayed_from_its_record(tmp_path):
    """What a record holds of an attempt comes back as the call that made it."""
    way = [{"steps": 0.5, "rules": [{"rule": "ban", "end": True}]}]
    plays = {
        "pad": {"temperature": None},
        "dija": {"channel": "user", "extend": 4},
        "decode_sweep": {"ways": way},
        "context_nesting": {"channel": "response"},
    }
    for name, fields in plays.items():
        cast, result = play(name, tmp_path / name, **fields)
        asked = cast.of("target")
        assert len(asked) == len(result.attempts) > 0
        for attempt in result.attempts:
            record = json.loads(json.dumps(_fields(attempt)))
            kept = {name: record[name] for name in Replayed.model_fields if name in record}
            assert Replayed(**kept).call in asked
    anchored = Replayed(messages=({"role": "user", "content": "?"},), anchors=(("so", 3),))
    cases = {GOAL: (anchored, anchored)}
    cast, result = play("replay", tmp_path / "again", cases=cases)
    assert [call.anchors for call in cast.of("target")] == [(Anchor("so", 3),)]
    _, result = play("replay", tmp_path / "none", cases={"another": (anchored,)})
    assert (result.ran, result.stop) == (False, "failed")


@pytest.mark.parametrize("name", ["crescendo", "renellm", "pap", "bon"])
def test_a_budget_ends_it_with_what_it_has(tmp_path, name):
    attack = get_attack(name)
    cast = Cast(WORDS)
    config = attack.config(batch=2) if name == "bon" else attack.config()
    result = cast.play(attack, config, tmp_path / "j.jsonl", Budget(target=3))
    assert (cast.counts["target"], len(result.attempts), result.stop) == (3, 3, "budget")
