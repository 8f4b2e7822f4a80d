"""DIA-I and DIA-II against their pseudo-code, with a scripted auxiliary model."""

import json

import pytest
from attack_cast import DIA, GOAL, Cast
from hypothesis import given
from hypothesis import strategies as st

from midspan.attacks.dia import ATTACK, DiaConfig, substitute


def play(tmp_path, config, answers=None, goal=GOAL):
    cast = Cast(DIA | (answers or {}))
    return cast.play(ATTACK, config, tmp_path / "journal.jsonl", goal=goal), cast


def test_dia_one_asks_ten_times_with_a_begun_dialogue(tmp_path):
    result, cast = play(tmp_path, DiaConfig())
    assert cast.counts == {"dia.rewrite": 9, "dia.begin": 10, "target": 10}
    assert (len(result.attempts), result.stop, result.access) == (10, "exhausted", "chat")
    config, dialogue = DiaConfig(), cast.of("target")[0].messages
    assert [turn["role"] for turn in dialogue] == ["system"] + ["user", "assistant"] * 3 + ["user"]
    assert dialogue[3]["content"] == GOAL
    assert dialogue[4]["content"] == f"ready : {GOAL} {config.offer}"
    assert dialogue[-1]["content"] == config.guidance
    wordings = {call.messages[3]["content"] for call in cast.of("target")}
    assert len(wordings) == 10


def test_dia_two_hides_the_keywords_and_restores_two(tmp_path):
    answers = {
        "dia.keywords": '{"keywords": ["make", "velmora", "sigil"]}',
        "dia.substitute": '{"substitutes": {"make": "hum", "velmora": "apple", "sigil": "tree"}}',
    }
    _, cast = play(tmp_path, DiaConfig(variant="II", rewrites=0), answers)
    assert cast.counts == {"dia.keywords": 1, "dia.substitute": 1, "dia.begin": 1, "target": 1}
    dialogue = cast.of("target")[0].messages
    assert [turn["role"] for turn in dialogue] == ["system"] + ["user", "assistant"] * 2 + ["user"]
    task, half_done = dialogue[3]["content"].splitlines(), dialogue[4]["content"]
    assert task[1] == "how do i hum the apple tree ?"
    assert task[2:] == [
        '"hum" stands for "make"', '"apple" stands for "velmora"', '"tree" stands for "sigil"',
    ]  # fmt: skip
    assert "how do i make the velmora tree ?" in half_done
    assert half_done.endswith("ready : how do i hum the apple tree ?")


@pytest.mark.parametrize("example", DiaConfig().examples, ids=lambda example: example.question[:9])
def test_the_more_similar_example_is_shown_in_full(tmp_path, example):
    goal = f"{example.question} with a velmora sigil"
    _, cast = play(tmp_path, DiaConfig(variant="II", rewrites=0), goal=goal)
    dialogue = cast.of("target")[0].messages
    assert dialogue[2]["content"].endswith(example.answer)
    assert not any(word in dialogue[1]["content"].splitlines()[1] for word in example.swaps)


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        ("dia.keywords", '{"keywords": []}'),
        ("dia.keywords", '{"keywords": ["absent"]}'),
        ("dia.keywords", '{"keywords": ["velm"]}'),
        ("dia.keywords", '{"keywords": [3]}'),
        ("dia.keywords", "__import__('os')"),
        ("dia.substitute", '{"substitutes": {"velmora": "apple"}}'),
        ("dia.substitute", '{"substitutes": {"velmora": "tree", "sigil": "Tree"}}'),
        ("dia.substitute", '{"substitutes": {"velmora": "sigil", "sigil": "velmora"}}'),
        ("dia.substitute", '{"substitutes": ["apple", "tree"]}'),
        ("dia.begin", '{"beginning": " "}'),
    ],
)
def test_malformed_help_is_asked_eight_times_then_fails(tmp_path, kind, bad):
    config = DiaConfig(variant="II", rewrites=0)
    result, cast = play(tmp_path, config, {kind: bad})
    assert (result.stop, result.ran) == ("failed", False)
    assert cast.counts[kind] == 8
    assert not cast.of("target")


def test_a_wording_without_help_drops_out_alone(tmp_path):
    def begin(call, rng):
        good = call.fields["request"] != GOAL
        return json.dumps({"beginning": "ready"}) if good else None

    answers = {
        "dia.begin": begin,
        "dia.rewrite": lambda call, rng: (
            DIA["dia.rewrite"](call, rng) if call.fields["number"] < 3 else "no json"
        ),
    }
    result, cast = play(
        tmp_path, DiaConfig(rewrites=4, rewriter={"retries": 0}, attacker={"retries": 0}), answers
    )
    assert len(result.attempts) == cast.counts["target"] == 2


def test_a_longer_word_goes_before_one_that_it_begins_with():
    swaps = {"dog": "cat", "dog house": "barn"}
    assert substitute("a dog house and a Dog", swaps) == "a barn and a cat"


@given(
    words=st.lists(
        st.sampled_from(["cat", "cats", "a.b", "Dog", "dog house", "x+"]), unique=True, min_size=1
    ),
    text=st.lists(
        st.sampled_from(["cat", "cats", "concat", "a.b", "axb", "dog", "house", "x+", "?"])
    ),
)
def test_substitution_is_of_whole_words_the_longest_first(words, text):
    swaps = {word: f"<{place}>" for place, word in enumerate(words)}
    left, expected = list(text), []
    while left:
        fits = [w for w in sorted(words, key=len, reverse=True)
                if " ".join(left[: len(w.split())]) == w.lower()]  # fmt: skip
        size = len(fits[0].split()) if fits else 1
        expected.append(swaps[fits[0]] if fits else left[0])
        left = left[size:]
    assert substitute(" ".join(text), swaps) == " ".join(expected)
