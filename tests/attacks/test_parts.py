"""Attacks that ask for an answer in parts: what each part asks, what is joined, and by chance."""

import json
import re
from collections import Counter

import pytest
from attack_cast import NATIVE, Cast

from midspan.attacks import get_attack
from midspan.attacks._parts import filled
from midspan.attacks.decompose import read_canvases
from midspan.attacks.multiple_choice import read_questions
from midspan.attacks.readout import read_plan
from midspan.engine.budget import Budget
from midspan.engine.calls import Scaffold
from midspan.engine.records import _fields

CANVASES = {
    "canvases": [
        {
            "prompt": "hello .",
            "text": "you need [1] [1] .",
            "candidates": [["two"], ["tin", "wax"]],
        },
        {"prompt": "hi .", "text": "x : [2 words] ;", "statement": "it is {1} ."},
    ]
}


def play(name, tmp_path, answers, budget=None, **fields):
    attack = get_attack(name)
    cast = Cast(NATIVE | answers)
    result = cast.play(attack, attack.config(**fields), tmp_path / "j.jsonl", budget)
    return [call for call in cast.asked if call.role == "target"], result


def test_questions_are_asked_one_by_one_and_answers_that_refuse_are_left_out(tmp_path):
    said = {"a ?": "salt .", "b ?": "I cannot help with that.", "c ?": "tin ."}
    answers = {
        "decompose.questions": json.dumps({"questions": list(said)}),
        "target": lambda call, rng: said[call.messages[0]["content"]],
    }
    asked, result = play("decompose", tmp_path, answers)
    assert {call.messages[0]["content"] for call in asked} == set(said)
    (attempt,) = result.attempts
    assert (attempt.response, result.access) == ("salt . tin .", "chat")
    assert _fields(attempt)["parts"] == [
        {"asked": "a ?", "response": "salt .", "canvas": ""},
        {"asked": "c ?", "response": "tin .", "canvas": ""},
    ]
    assert "guessed" not in _fields(attempt)


def test_where_all_parts_refuse_the_answer_is_a_refusal(tmp_path):
    _, result = play("decompose", tmp_path, {"target": "I cannot help."}, parts=2)
    assert [attempt.response for attempt in result.attempts] == ["I cannot help. I cannot help."]


def test_canvases_are_filled_in_their_slots_alone_and_stated(tmp_path):
    answers = {
        "decompose.canvases": json.dumps(CANVASES),
        "target": lambda call, rng: (
            "x: red wine;" if "x" in call.scaffold.text else "you need two tin."
        ),
    }
    asked, result = play("decompose", tmp_path, answers, channel="infill")
    asked.sort(key=lambda call: -len(call.scaffold.text))
    assert [call.scaffold for call in asked] == [Scaffold(c["text"]) for c in CANVASES["canvases"]]
    ((first,), (second,)) = (call.rules for call in asked)
    assert (first.rule, first.scaffold) == ("slots", "you need [1] [1] .")
    assert (first.candidates, second.candidates) == ((("two",), ("tin", "wax")), ())
    (attempt,) = result.attempts
    assert (attempt.response, result.access) == ("you need two tin. it is red wine .", "sampler")
    assert [part.canvas for part in attempt.parts] == [c["text"] for c in CANVASES["canvases"]]


@pytest.mark.parametrize(
    ("scaffold", "text", "statement", "stated"),
    [
        ("x : [1] [1] ; [1] .", "x: four copper; red.", "{1} {2} and {3}", "four copper and red"),
        ("you [1] of\n[2 words]", "You  see of red wine", "{2}-{1}", "red wine-see"),
        ("[1]", "red", "{1}!", "red!"),
        ("you [1] .", "you see .", "", "you see ."),
        ("you [1] .", "something else", "{1}", "something else"),
    ],
)
def test_a_statement_is_filled_as_the_scaffold_is(scaffold, text, statement, stated):
    assert filled(scaffold, text, statement) == stated


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "no hole", "prompt": "p"},
        {"text": "[1]", "prompt": ""},
        {"text": "[1]", "prompt": "p", "candidates": [["a"], ["b"]]},
        {"text": "[1]", "prompt": "p", "candidates": ["a"]},
        {"text": "[1]", "prompt": "p", "statement": "{2}"},
    ],
)
def test_a_canvas_not_as_asked_is_none(fields):
    with pytest.raises(ValueError):
        read_canvases(json.dumps({"canvases": [fields]}))


def test_a_question_not_as_asked_is_none():
    for fields in ({"question": "q", "candidates": ["a", "a"], "statement": "{}"},
                   {"question": "q", "candidates": ["a", "b"], "statement": "a"}):  # fmt: skip
        with pytest.raises(ValueError):
            read_questions(json.dumps({"questions": [fields]}))


POOL = [f"w{number}" for number in range(9)]
QUESTION = {"question": "which", "candidates": POOL, "statement": "it is {} ."}
ONE = {"multiple_choice.questions": json.dumps({"questions": [QUESTION]})}


def shown(call):
    return re.findall(r"w\d", call.messages[0]["content"])


def test_a_tournament_shows_every_candidate_once_a_round_and_ends_with_one(tmp_path):
    answers = ONE | {"target": lambda call, rng: f"it is {max(shown(call))}, I think"}
    asked, result = play("multiple_choice", tmp_path, answers)
    first, final = asked[:3], asked[3:]
    assert sorted(word for call in first for word in shown(call)) == POOL
    assert [len(shown(call)) for call in first] == [3, 3, 3]
    assert sorted(shown(*final)) == sorted(max(shown(call)) for call in first)
    assert result.attempts[-1].response == "it is w8 ."
    assert result.attempts[-1].guessed == 1 / 9
    assert (result.access, len(result.attempts)) == ("chat", 2)
    assert result.attempts[-1].parts[0].asked == final[0].messages[0]["content"]


def test_by_guessing_every_candidate_is_equally_likely(tmp_path):
    attack, won, first = get_attack("multiple_choice"), Counter(), Counter()
    for seed in range(90):
        answers = ONE | {"target": lambda call, rng: shown(call)[0]}
        cast = Cast(answers)
        goal = f"goal {seed}"
        result = cast.play(attack, attack.config(), tmp_path / f"{seed}", goal=goal)
        won[result.attempts[-1].response] += 1
        first[result.attempts[0].parts[0].response.split()[2]] += 1
    for counts in (won, first):  # of the tournament, and of a round's first group
        assert len(counts) == 9
        # Chi-square with 8 degrees of freedom: 26.1 is the 99.9th percentile.
        assert sum((count - 10) ** 2 / 10 for count in counts.values()) < 26.1


def test_an_option_is_chosen_where_it_alone_is_named(tmp_path):
    said = iter(["none", "w1 or w2 ?", "", "what ?"])
    answers = ONE | {"target": lambda call, rng: next(said)}
    asked, result = play("multiple_choice", tmp_path, answers)
    # Nothing was chosen, so there is no second round; what came is judged as it is.
    assert len(asked) == 3
    (attempt,) = result.attempts
    assert sorted(attempt.response.split()) == sorted(["none", "w1", "or", "w2", "?"])


@pytest.mark.parametrize("said", ["salt", "sea salt"])
def test_an_option_within_another_is_not_named_with_it(tmp_path, said):
    question = {"question": "q ?", "candidates": ["salt", "sea salt"], "statement": "it is {} ."}
    answers = {
        "multiple_choice.questions": json.dumps({"questions": [question]}),
        "target": f"{said.capitalize()}.",
    }
    _, result = play("multiple_choice", tmp_path, answers)
    assert [attempt.response for attempt in result.attempts] == [f"it is {said} ."]


def test_a_budget_that_ends_a_tournament_leaves_its_leaders(tmp_path):
    answers = ONE | {"target": lambda call, rng: shown(call)[0]}
    asked, result = play("multiple_choice", tmp_path, answers, Budget(target=3))
    assert (len(asked), result.stop, result.ran) == (3, "budget", True)
    assert result.attempts[-1].response in {f"it is {shown(call)[0]} ." for call in asked}


PLAN = {
    "thing": "bread",
    "others": ["cake", "pie"],
    "slots": {"what": ["salt", "tin"], "where": ["oven", "pan"]},
    "canvases": [
        {"prompt": "what is {thing} ?", "text": "{thing} : [1] in the [1] .",
         "slots": ["what", "where"]},
        {"prompt": "hello .", "text": "use [1] .", "slots": ["what"]},
    ],
    "statements": ["take {what} .", "the {where} , for bread ."],
}  # fmt: skip
THINGS = ("bread", "cake", "pie")
LOGPROBS = {
    "bread : [1] in the [1] .": ((-1.0, -2.0), (-3.0, -1.0)),
    "cake : [1] in the [1] .": ((-0.5, -3.0), (-3.0, -1.1)),
    "pie : [1] in the [1] .": ((-0.1, -3.2), (-5.0, -1.1)),
    "use [1] .": ((-1.0, -1.0),),
}


def test_a_readout_states_what_the_thing_raises_above_others(tmp_path):
    read = []

    def choose(call, rng):
        read.append(call)
        return LOGPROBS[call.scaffold]

    answers = {"readout.canvases": json.dumps(PLAN), "Choices": choose}
    asked, result = play("readout", tmp_path, answers)
    prompts = Counter(call.messages[0]["content"] for call in asked)
    assert prompts == {"hello .": 3, **dict.fromkeys(map("what is {} ?".format, THINGS), 1)}
    assert {call.candidates for call in asked} == {
        (("salt", "tin"), ("oven", "pan")), (("salt", "tin"),),
    }  # fmt: skip
    # Of salt -1 + 0.3 = -0.7, of tin -2 + 3.1 = 1.1; of oven -3 + 4 = 1, of pan -1 + 1.1 = 0.1.
    (attempt,) = result.attempts
    assert attempt.response == "take tin . the oven , for bread ."
    assert (result.access, result.usage["target"].forwards) == ("logprobs", 6)
    assert [part.canvas for part in attempt.parts] == [
        "{thing} : [1] in the [1] . | use [1] .", "{thing} : [1] in the [1] .",
    ]  # fmt: skip


def test_a_readout_without_a_baseline_reads_the_thing_alone(tmp_path):
    answers = {
        "readout.canvases": json.dumps(PLAN),
        "Choices": lambda call, rng: LOGPROBS[call.scaffold],
    }
    asked, result = play("readout", tmp_path, answers, baseline=0)
    assert len(asked) == 2
    assert result.attempts[0].response == "take salt . the pan , for bread ."


def test_a_readout_leaves_out_statements_without_a_reading(tmp_path):
    answers = {
        "readout.canvases": json.dumps(PLAN),
        "Choices": lambda call, rng: None if "in the" in call.scaffold else ((-1.0, -2.0),),
    }
    _, result = play("readout", tmp_path, answers)
    assert [attempt.response for attempt in result.attempts] == ["take salt ."]
    answers["Choices"] = None
    _, result = play("readout", tmp_path / "none", answers)
    assert (result.ran, result.stop) == (False, "failed")


@pytest.mark.parametrize(
    "change",
    [
        {"slots": {"what": ["salt"], "where": ["a", "b"]}},
        {"canvases": [{"prompt": "p", "text": "[1] [1]", "slots": ["what"]}]},
        {"canvases": [{"prompt": "p", "text": "[1]", "slots": ["who"]}]},
        {"canvases": [{"prompt": "p", "text": "[1]", "slots": [{"name": "what"}]}]},
        {"statements": ["nothing"]},
        {"statements": ["{who}"]},
        {"others": []},
    ],
)
def test_a_plan_not_as_asked_is_none(change):
    read_plan(json.dumps(PLAN))
    with pytest.raises(ValueError):
        read_plan(json.dumps(PLAN | change))
