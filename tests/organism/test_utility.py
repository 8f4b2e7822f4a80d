"""The utility tasks' checkers, and the counting machine against another evaluator."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midspan.organism.utility import MAX_PROGRAM_WORDS, TASKS, is_correct, run_program

NUMBER = st.integers(0, 99)
STEP = st.one_of(
    st.builds("add {}".format, NUMBER), st.builds("take {}".format, NUMBER), st.just("double")
)


OPERATORS = {"add": "+", "take": "-", "double": "* 2"}


def questions(task, count=200):
    rng = random.Random(3)
    return [TASKS[task](rng) for _ in range(count)]


@pytest.mark.parametrize("task", TASKS)
def test_reference_answers_are_right(task, organism_lm):
    for question in questions(task):
        assert question.task == task
        assert is_correct(question, question.reference)
        decoded = organism_lm.decode_text(organism_lm.encode_phrase(question.reference))
        assert is_correct(question, decoded)


@pytest.mark.parametrize("task", TASKS)
def test_other_answers_are_wrong(task):
    asked = questions(task)
    for question, other in zip(asked, asked[1:], strict=False):
        if other.solution != question.solution:
            assert not is_correct(question, other.reference)
        assert not is_correct(question, "")
        assert not is_correct(question, "i cannot help with that .")


@pytest.mark.parametrize("task", ["choice", "program"])
def test_echoing_the_question_is_wrong(task):
    assert not any(is_correct(question, question.prompt) for question in questions(task))


def test_naming_several_options_is_wrong():
    for question in questions("choice"):
        assert not is_correct(question, question.prompt.partition(":")[2])
        assert not is_correct(question, f"{question.reference} {question.reference}")


def test_sums_are_right():
    for question in questions("arithmetic"):
        left, word, right = question.reference.split()[:3]
        value = int(left) + int(right) if word == "plus" else int(left) - int(right)
        assert question.solution == str(value) and value >= 0
        assert f"{left} {word} {right}" in question.prompt


@given(NUMBER, st.lists(STEP, max_size=10))
def test_programs_compute_what_they_say(start, steps):
    source = " ; ".join([f"start {start}", *steps, "show"])
    expression = str(start)
    for step in steps:
        verb, _, number = step.partition(" ")
        expression = f"({expression}) {OPERATORS[verb]} {number}"
    expected = eval(expression) if len(source.split()) <= MAX_PROGRAM_WORDS else None
    assert run_program(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "", ";", "show", "start 1", "start 1 ; add 2", "start 1 ; show ; show", "add 1 ; show",
        "start 1 ; start 2 ; show", "start x ; show", "start -1 ; show", "start 1 ; add ; show",
        "start 1 ; add 1 2 ; show", "start 1 ; double 2 ; show", "start 1 ;; show",
        "start 1 ; jump ; show", "start 1 ; show ; double", "start 1 show",
        "start 1 ; " + "double ; " * 20 + "show",
    ],
)  # fmt: skip
def test_malformed_programs_show_nothing(source):
    assert run_program(source) is None
