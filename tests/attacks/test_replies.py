"""Reading replies: strictly, and with ValueError alone for what is not as asked."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midspan.attacks import _replies as replies
from midspan.data.text import whole_text

read = replies.read_texts("improvement", "prompt")


@given(st.text(), st.text(min_size=1).filter(str.strip), st.text("} ]\nx"))
def test_a_proposal_is_found_in_any_surroundings(improvement, prompt, around):
    improvement = f"- {improvement}"
    said = json.dumps({"improvement": improvement, "prompt": prompt})
    want = {"improvement": whole_text(improvement).strip(), "prompt": whole_text(prompt).strip()}
    assert read(f"{around}{said}{around}") == want


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ('{"improvement": "a", "prompt": "say {x} and }"} then {', "say {x} and }"),
        ('{x} ```json\n{"improvement": "a", "prompt": "two\nlines"}\n```', "two\nlines"),
        ('{"result": {"improvement": "a", "prompt": "inner"}}', "inner"),
    ],
)
def test_braces_fences_and_raw_line_breaks(text, prompt):
    assert read(text)["prompt"] == prompt


@pytest.mark.parametrize(
    "text",
    ["", "{", "{" * 5000, '{"a":' * 1500, '{"prompt": "p"}', '{"improvement": "i", "prompt": 3}',
     '{"improvement": "i", "prompt": "  "}', '["improvement", "prompt"]'],
)  # fmt: skip
def test_what_is_no_proposal_is_a_value_error(text):
    with pytest.raises(ValueError):
        read(text)


@given(st.text())
def test_no_text_raises_anything_but_a_value_error(text):
    for parse in (read, replies.read_rating(1, 10), replies.read_yes, replies.read_text):
        try:
            parse(text)
        except ValueError:
            continue


@pytest.mark.parametrize(("text", "rating"), [("[[7]]", 7), ("Rating: [[ 10 ]].", 10)])
def test_ratings(text, rating):
    assert replies.read_rating(1, 10)(text) == rating


@pytest.mark.parametrize("text", ["7", "[[0]]", "[[11]]", "[[7", "[[1]] [[2]]", "[[1_0]]", "[[x]]"])
def test_ratings_out_of_range_or_form_are_refused(text):
    with pytest.raises(ValueError):
        replies.read_rating(1, 10)(text)


def test_yes_no_and_nothing_else():
    assert replies.read_yes("so: [[yes]]") and not replies.read_yes("[[NO]]")
    with pytest.raises(ValueError):
        replies.read_yes("[[MAYBE]]")
