import json

import pytest
from fixture_folders import BENCHMARKS

from midspan.errors import MidspanError
from midspan.tasks import gsm8k


def write(tmp_path, *answers):
    file = tmp_path / "test.jsonl"
    rows = [{"question": f"q{n}", "answer": answer} for n, answer in enumerate(answers)]
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def score(tmp_path, gold, response, preset="llada"):
    task = gsm8k.load(preset, write(tmp_path, f"work #### {gold}"))
    return task.score(task.items[0], response)


@pytest.mark.parametrize(
    ("gold", "response", "success"),
    [
        ("18", "9 * 2 = 18\nThe answer is 18", True),
        ("18", "The answer is 18.0", True),
        ("18", "The answer is 18. Not 17", False),  # of several numbers the last counts
        ("18", "18\nQuestion: What is 5?", True),
        ("1,200", "1200", True),
        ("1,200", "1,200", False),  # OpenCompass does not join thousands in a response
        ("-3", "it falls to -3", True),
        ("18", "\u0661\u0668", True),  # digits of any script, as Python's float reads them
        ("18", "no number", False),
        ("18", "", False),
    ],
)
def test_the_authors_score_reads_the_last_number(tmp_path, gold, response, success):
    assert score(tmp_path, gold, response)["success"] is success


def test_the_harness_reads_digits_of_ascii_alone(tmp_path):
    assert not score(tmp_path, "18", "The answer is \u0661\u0668.", "lm-eval")["success"]
    found = score(tmp_path, "18", "The answer is 18. Then 19", "lm-eval")
    assert (found["success"], found["strict"]) == (False, True)


def test_the_published_test_set_is_recognised():
    task = gsm8k.load("llada", BENCHMARKS / "gsm8k" / "test.jsonl")
    assert len(task.items) == 1319 and task.source.endswith("as published")
    for item in task.items:
        assert task.score(item, f"The answer is {item.fields['gold'].replace(',', '')}")["success"]


def test_shots_stand_before_the_question_in_their_order(tmp_path):
    task = gsm8k.load("llada", write(tmp_path, "#### 1"))
    messages = task.prompt(task.items[0], 4).messages
    assert [message["role"] for message in messages] == ["user", "assistant"] * 4 + ["user"]
    assert messages[-1]["content"] == "Question: q0\nLet's think step by step\nAnswer:"
    assert task.prompt(task.items[0], 2).messages == (*messages[:4], messages[-1])


@pytest.mark.parametrize("preset", ["llada", "lm-eval"])
@pytest.mark.parametrize("gold", ["$18", "18%", " $ 18 "])
def test_a_sign_beside_the_number_is_no_part_of_it(tmp_path, gold, preset):
    assert score(tmp_path, gold, "The answer is 18.", preset)["success"]
    assert not score(tmp_path, gold, "The answer is 19.", preset)["success"]


@pytest.mark.parametrize(
    "answer",
    [
        "no marker",
        "18",
        "####",
        "#### none",
        "#### 18 apples",
        "#### 3/4",
        "#### nan",
        "#### 1e999",
    ],
)
def test_an_answer_without_a_number_is_refused(tmp_path, answer):
    with pytest.raises(MidspanError, match="answer of item 1 has no '#### NUMBER'"):
        gsm8k.load("llada", write(tmp_path, "#### 1", answer))


def test_an_unknown_preset_is_refused(tmp_path):
    with pytest.raises(MidspanError, match="gsm8k has llada, lm-eval, not 'x'"):
        gsm8k.load("x", write(tmp_path, "#### 1"))
