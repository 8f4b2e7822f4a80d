"""Answers of models: read however they are written, and never in two ways."""

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from midspan.engine import reading
from midspan.engine.reading import read_object, read_only_object

# Prose with braces that begin no object, and without a tag of thoughts.
PROSE = st.lists(
    st.sampled_from(
        [
            "The set {a, b}.",
            "{request}",
            "{",
            "}",
            "{{",
            "\\(x\\)",
            "\\frac{1}{2}",
            "it said no",
            "\n",
        ]
    ),
    max_size=4,
).map(" ".join)
THOUGHTS = st.sampled_from(
    [
        "",
        "<think>{x}</think>",
        '<think>maybe {"score": 2}, or {"score": </think>',
        "<Thinking>\n</thinking>",
    ]
)
# As models write a string of JSON: breaks, tabs and backslashes as they are.
LOOSE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters='\x00"\\')) | st.text(
    "a\\(x\n\t{}é", max_size=8
).filter(lambda text: not text.endswith("\\") and "\\\\" not in text)


def outcome(read, *arguments):
    try:
        return read(*arguments)
    except ValueError:
        return None


@settings(max_examples=60, deadline=None)
@given(PROSE, THOUGHTS, PROSE, LOOSE, st.integers(1, 5))
def test_the_object_is_found_in_any_prose_and_its_strings_may_be_loose(
    before, thoughts, after, reason, score
):
    text = f'{thoughts}{before}{{"reason": "{reason}", "score": {score}}}{after}'
    assert read_only_object(text) == read_object(text, "score")
    assert read_only_object(text)["score"] == score
    assert read_only_object(text)["reason"] == reason


@settings(max_examples=30, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False,
       allow_infinity=False) | st.text(), lambda inner: st.lists(inner) |
       st.dictionaries(st.text(), inner), max_leaves=5), st.booleans())  # fmt: skip
def test_well_formed_json_is_read_as_the_library_does(value, ascii_only):
    written = json.dumps({"value": value, "score": 1}, ensure_ascii=ascii_only)
    text = written.replace("\x00", "").replace("\\u0000", "")
    assert read_only_object(text) == json.loads(text)


@settings(max_examples=150, deadline=None)
@given(st.text("{}\"'\\:,[]a1 \n</think>") | st.text())
@example("\\u")
def test_nothing_but_a_value_error_comes_of_any_text(text):
    for read in (read_only_object, read_object, reading.read_mark, reading.spoken):
        outcome(read, text)


@pytest.mark.parametrize(
    "text",
    [
        '{"score": 1, "reason": "x", "score": 5}',
        '{"score": 1, "x": {"a": 1, "a": 2}}',
        '{"score": 1, "score": 5, "x": {"score": 4}}',
        '{"score": 1, "Score": 5}',
        '{"score": 5} or {"score": 1}',
        '{"score": 5} {"score": 5}',
        '{"reason": "it says {"score": 5} which is nonsense", "score": 1}',
        '{"reason": "it says } and { x, {"score": 5}", "score": 1}',
        "{'score': 1, 'quoted': {\"score\": 5}}",
        '{score: 1, quoted: {"score": 5}}',
        '{"score": 1, "quoted": {"score": 5},}',
        '{"score": 5} but {"score": 1,}',
        '<think>maybe {"score": 5}',
        '<think>maybe {"score": 5}</think>',
        'maybe {"score": 5}</think> I cannot grade this.',
        '{"score": 5, "confidence": NaN}',
        '{"score": 5, "confidence": -Infinity}',
        '{"score": ' + "9" * 5000 + "}",
        '{"score": 5, "deep": ' + "[" * 100_000,
        '{"score": 5, "deep": ' + "[" * 3000 + "]" * 3000 + "}",
        "{}",
        "5",
    ],
)  # fmt: skip
def test_what_can_be_read_in_two_ways_or_in_none_is_not_read(text):
    with pytest.raises(ValueError):
        read_only_object(text)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('maybe {"score": 2}</think>{"score": 4}', 4),
        ('Well. <think>{"score": 2}</think>{"score": 4}', 4),
        ('[THINK]{"score": 2}[/THINK]{"score": 4}', 4),
        ('<think>a</think>b</think>{"score": 4}', 4),
        ('{"score": 4} <think>or {"score": 2}', 4),
        ('{"reason": "it ends in </think> and <think>", "score": 4}', 4),
        ('{{"score": 4}}', 4),
        ('[{"score": 4}] {}', 4),
        ('{"reason": "C:\\dir \\user \\(x\\) \\"q\\"", "score": 4}', 4),
    ],
)
def test_thoughts_are_no_answer_and_tags_in_an_answer_no_thoughts(text, score):
    assert read_only_object(text)["score"] == score


def test_texts_come_out_whole():
    read = read_only_object(
        r'{"a": "\ud83d", "b": ["\ud83d\ude00 \u0000"], "\udc00": {"c": "\udc00"}}'
    )
    assert read == {"a": "�", "b": ["😀 �"], "�": {"c": "�"}}
    with pytest.raises(ValueError, match="twice"):
        read_only_object(r'{"\ud800": 1, "\udc00": 2}')


def test_attacks_take_the_first_object_with_their_names_wherever_it_is():
    proposal = '{"note": {}, "result": [{"prompt": "inner", "improvement": "i"}]}'
    assert read_object(f"{{x}} {proposal} then {{", "improvement", "prompt")["prompt"] == "inner"
    played_on = '{"prompt": "first"} NEXT TURN {"prompt": "second"} {"prompt": "cut o'
    assert read_object(played_on, "prompt") == {"prompt": "first"}
    for text in ('{"prompt": "a", "prompt": "b"}', '{"x": 1,} {"prompt": "a"}', '{"promp": "a"}'):
        with pytest.raises(ValueError):
            read_object(text, "prompt")


@pytest.mark.parametrize(
    "text", ["{" * 150_000, "{} " * 20_000, "{}" * 20_000 + "<think>" * 20_000, "{a " * 50_000,
             '{"a":' * 30_000, "\\" * 150_000, "[[" * 70_000]
)  # fmt: skip
def test_long_texts_take_no_long_time(text):
    started = time.process_time()
    for read in (read_only_object, reading.read_mark):
        assert outcome(read, text) is None
    assert time.process_time() - started < 1.5


@pytest.mark.parametrize(
    ("text", "mark"),
    [("[[7]]", "7"), ("so [[ 7 ]], that is [[7]]", "7"), ("<think>[[1]]</think> [[7]]", "7"),
     ("[[1]] or [[7]]", None), ("[[7]] or [[7.5]]", None), ("<think>[[7]]", None), ("7", None)],
)  # fmt: skip
def test_a_mark_is_the_only_one(text, mark):
    assert outcome(reading.read_mark, text) == mark


@pytest.mark.parametrize("mark", ["", "7.5", "10/10", "0", "11", "٧", "-7", "1_0", "9" * 5000])
def test_a_rating_is_a_whole_number_in_range(mark):
    assert outcome(reading.read_rating, f"[[{mark}]]", 1, 10) is None
    assert reading.read_rating("[[07]]", 1, 10) == 7
