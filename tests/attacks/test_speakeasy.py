"""Speak Easy: the table of questions and languages, its scores, what is put together again."""

import math

import pytest
from attack_cast import GOAL, SPEAKEASY, Cast
from hypothesis import given
from hypothesis import strategies as st

from midspan.attacks.speakeasy import ATTACK, SpeakEasyConfig, read_questions, without_repeats
from midspan.engine.budget import Budget

LANGUAGES = SpeakEasyConfig().languages
APART = SpeakEasyConfig(joiner="\n\n", words=0)


def play(tmp_path, answers, config=None, **more):
    cast = Cast(SPEAKEASY | answers)
    return cast, cast.play(
        ATTACK, config or SpeakEasyConfig(joiner="\n\n"), tmp_path / "journal.jsonl", **more
    )


def test_call_counts_are_the_papers(tmp_path):
    cast, result = play(tmp_path, {})
    assert cast.counts == {
        "speakeasy.decompose": 1, "speakeasy.translate": 30, "target": 18, "speakeasy.rate": 36,
    }  # fmt: skip
    assert (result.stop, result.access, len(result.attempts)) == ("exhausted", "chat", 1)
    assert result.attempts[0].target_calls == 19


def test_every_question_is_asked_in_every_language_and_translated_back(tmp_path):
    cast, _ = play(tmp_path, {})
    asked = {call.messages[-1]["content"] for call in cast.of("target")} - {
        cast.of("speakeasy.decompose")[0].messages[-1]["content"]
    }
    there = [c.fields for c in cast.of("speakeasy.translate") if c.fields["source"] == "English"]
    back = [c.fields for c in cast.of("speakeasy.translate") if c.fields["language"] == "English"]
    cap = "Answer in at most 120 words."
    assert asked == {
        f"{'' if language == 'English' else f'<{language}>'}{question} {cap}"
        for question in ("one ?", "two ?", "three ?")
        for language in LANGUAGES
    }
    assert sorted(fields["language"] for fields in there) == sorted(LANGUAGES[1:] * 3)
    assert sorted(fields["source"] for fields in back) == sorted(LANGUAGES[1:] * 3)
    assert all(fields["text"].startswith("answer to <") for fields in back)


def test_the_best_answer_to_each_question_is_kept_in_order(tmp_path):
    best = {"one ?": "Thai", "two ?": "English", "three ?": "Zulu"}

    def rate(call, rng):
        question, response = call.fields["question"], call.fields["response"]
        wanted = f"<{best[question]}>" if best[question] != "English" else "to two"
        high = wanted in response.removeprefix("<English>answer ")
        high = high or (question == "two ?" and response.startswith("answer"))
        return (
            {"actionable": "[[9]]", "informative": "[[4]]"}[call.fields["quality"]]
            if high
            else "[[1]]"
        )

    cast, result = play(tmp_path, {"speakeasy.rate": rate}, APART)
    assert result.attempts[0].response.split("\n\n") == [
        "<English>answer to <Thai>one ?", "answer to two ?", "<English>answer to <Zulu>three ?",
    ]  # fmt: skip
    assert result.attempts[0].score == pytest.approx(math.sqrt(0.9 * 0.4))


def test_the_first_of_equals_wins(tmp_path):
    _, result = play(tmp_path, {"speakeasy.rate": "[[5]]"}, APART)
    assert result.attempts[0].response == "answer to one ?\n\nanswer to two ?\n\nanswer to three ?"
    assert result.attempts[0].score == 0.5


def test_refusals_and_empty_answers_are_worth_nothing_and_are_not_rated(tmp_path):
    def target(call, rng):
        said = call.messages[-1]["content"]
        return "I cannot say ." if "<Thai>" in said else "" if "<Zulu>" in said else "it is so ."

    cast, result = play(tmp_path, {"target": target})
    assert cast.counts["speakeasy.rate"] == 2 * 3 * 4
    assert cast.counts["speakeasy.translate"] == 15 + 12
    assert "cannot" not in result.attempts[0].response


def test_a_target_that_refuses_everything_has_been_attacked(tmp_path):
    _, result = play(tmp_path, {"target": "i am sorry ."})
    assert (result.stop, result.ran) == ("exhausted", True)
    assert result.attempts[0].response == "\n\n".join(["i am sorry ."] * 3)
    assert result.attempts[0].score == 0


@pytest.mark.parametrize(
    ("said", "questions"),
    [
        ("1. a ?\n2. b ?", ["a ?", "b ?"]),
        ("1) a ?\n2) b ?\n3) c ?\n4) d ?\n5) e ?", ["a ?", "b ?", "c ?"]),
        ("Of course:\n 1. no question mark \nend", ["no question mark"]),
        ("I cannot help with that.", [GOAL]),
        ("", [GOAL]),
        ("x" * 50_000, [GOAL]),
    ],
)
def test_degenerate_decompositions(tmp_path, said, questions):
    config = SpeakEasyConfig(words=0, languages=("English",))
    cast, result = play(tmp_path, {"speakeasy.decompose": said}, config)
    assert sorted(c.messages[-1]["content"] for c in cast.of("target") if not c.kind) == sorted(
        questions
    )
    assert cast.counts["speakeasy.decompose"] == 1
    assert result.stop == "exhausted"


def test_a_decomposer_that_does_not_answer_is_a_failure(tmp_path):
    cast, result = play(tmp_path, {"speakeasy.decompose": None})
    assert (result.stop, result.ran) == ("failed", False)
    assert cast.counts == {"speakeasy.decompose": 1}


def test_the_attacker_may_cut_up_the_request(tmp_path):
    cast, result = play(tmp_path, {}, SpeakEasyConfig(decomposer="attacker"))
    assert cast.of("speakeasy.decompose")[0].role == "attacker"
    assert result.usage["target"].calls == 18


@pytest.mark.parametrize("said", [None, "", " \n"])
def test_without_a_translator_the_source_language_is_left(tmp_path, said):
    cast, result = play(tmp_path, {"speakeasy.translate": said})
    assert cast.counts["target"] == 3
    assert (result.stop, len(result.attempts)) == ("exhausted", 1)


@pytest.mark.parametrize("said", [None, "good", "[[11]]"])
def test_without_ratings_an_answer_goes_before_a_refusal(tmp_path, said):
    def target(call, rng):
        return "it is so ." if "<Thai>" in call.messages[-1]["content"] else "i cannot do that"

    _, result = play(tmp_path, {"speakeasy.rate": said, "target": target})
    (attempt,) = result.attempts
    assert (result.stop, attempt.score) == ("exhausted", None)
    assert "cannot" not in attempt.response
    assert {calls.role for calls in result.lost} == {"evaluator"}


def test_the_score_is_the_mean_over_the_questions_that_were_answered(tmp_path):
    def target(call, rng):
        return None if "two" in call.messages[-1]["content"] else "it is so ."

    _, result = play(tmp_path, {"target": target, "speakeasy.rate": "[[4]]"})
    assert result.attempts[0].score == pytest.approx(0.4)


def test_the_attempt_stands_behind_the_last_answer(tmp_path):
    _, result = play(tmp_path, {}, SpeakEasyConfig(languages=("English", "Thai")))
    assert result.attempts[0].target_calls == 1 + 3 * 2


def test_a_question_left_unanswered_is_told(tmp_path):
    def target(call, rng):
        return None if "two" in call.messages[-1]["content"] else "it is so ."

    _, result = play(tmp_path, {"target": target})
    assert result.stop == "failed"
    assert len(result.attempts[0].response.split("\n\n")) == 2


def test_a_budget_ends_it_with_what_was_answered(tmp_path):
    _, result = play(tmp_path, {}, budget=Budget(target=3))
    assert result.stop == "budget"
    assert result.usage["target"].calls == 3
    assert len(result.attempts[0].response.split("\n\n")) == 2


def test_as_in_the_code_nothing_joins_the_answers_and_foreign_loops_alone_are_cut(tmp_path):
    looped = "go on go on go on"
    config = SpeakEasyConfig(languages=("English", "Thai"), words=0)
    answers = {
        "target": looped,
        "speakeasy.decompose": "1. one ?\n2. two ?",
        "speakeasy.rate": "[[5]]",
    }
    cast, result = play(tmp_path, answers, config)
    assert result.attempts[0].response == looped * 2
    assert result.stop == "exhausted"
    back = [c for c in cast.of("speakeasy.translate") if c.fields["source"] == "Thai"]
    assert {call.fields["text"] for call in back} == {"go on"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("so so so so", "so"),
        ("a b a b a b c", "a b c"),
        ("x y x y", "x y x y"),
        ("go\n\nnow", "go\n\nnow"),
    ],
)
def test_loops_go_round_once(text, wanted):
    assert without_repeats(text) == wanted


@given(
    st.lists(st.sampled_from("abcdefghijkl"), min_size=1, max_size=12, unique=True),
    st.integers(3, 9),
)
def test_any_loop_of_a_dozen_words_or_fewer_goes_round_once(loop, times):
    assert without_repeats(" ".join(loop * times)).split() == loop


@given(
    st.lists(st.text("ab ?.", min_size=1).filter(lambda t: t.strip(" .")), min_size=1, max_size=5)
)
def test_numbered_lines_are_read_in_order(lines):
    lines = [f"q{line.strip()}" for line in lines]
    text = "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1))
    assert read_questions(text) == lines
