import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midspan.errors import MidspanError
from midspan.tasks import mmlu


def test_the_prompt_has_the_subjects_own_examples(mmlu_folder):
    task = mmlu.load("llada", mmlu_folder)
    item = next(item for item in task.items if item.group == "world_religions")
    messages = task.prompt(item, 5).messages
    assert [message["role"] for message in messages] == ["user", "assistant"] * 5 + ["user"]
    assert all("about world religions. Answer" in message["content"] for message in messages[::2])
    assert [message["content"] for message in messages[1::2]] == ["A\n", "B\n", "C\n", "D\n", "A\n"]
    assert messages[-1]["content"].endswith("\nD. choice d 0\nA: ")
    assert len(task.prompt(item, 2).messages) == 5


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("B", "B"), ("B.", "B"), (" B ", "B"), ("The answer is B", "B"), ("b", ""), ("", ""),
        ("so it is C, not A", "A"), ("The correct answer is D because A", "A"),
        ("Because D. Then more text", "B"), ("xBx", "B"), ("The answer is (C). A is wrong", "C"),
        ("The answer is: C since A fails", "C"), ("The answer is **C** since A fails", "C"),
        ("The answer is option C, for A", "A"), ("The answer is option (C). Not A!", "C"),
        ("A is wrong: the correct answer is (C).", "C"), ("Not A! ANSWER: C is it", "C"),
        ("Not A! The correct answer is option C since", "C"), ("Not A! answer: c", "A"),
        ("A? The correct option is $\\boxed{C}$ here", "C"), ("It is A. Not C!", "A"),
        ("A? The correct answer is $\\boxed{C}$ here", "C"),
        ("A? The correct answer option is $\\boxed{C}$ here", "C"),
        ("A? The answer to the question is: C here", "C"), ("C, since A fails!", "C"),
        ("1. C or B here", "B"), ("1A", "A"), ("in D: or A: here", "D"), ("x A xB: x", "B"),
        ("\n  C\nsince A fails!", "C"), ("so C is it, A fails!", "C"),
    ],
)  # fmt: skip
def test_the_authors_first_option(mmlu_folder, response, answer):
    task = mmlu.load("llada", mmlu_folder)
    assert task.score(task.items[0], response)["answer"] == answer


def published_option(response):
    """The published rule by hand: each place where it looks, in its order; no pattern matching."""
    text = response.strip()
    for look in (
        at_end,
        behind_stop,
        behind_answer,
        *map(behind, SAYINGS),
        *map(boxed, BOXED),
        TO_QUESTION,
    ):
        if (letter := look(text)) and letter in "ABCD":
            return letter
    if len(text) > 1 and text[0] in "ABCD" and (text[1].isspace() or text[1] in "。，,：:.$"):
        return text[0]
    one = text.find("1")
    if 0 <= one < len(text) - 1:
        rest = text[one + 2 :]
        rest = rest[1:] if rest[:1].isspace() else rest
        for letter in "ABCD":
            if letter in (rest or text[one:]):
                return letter
    with_colon = [a for a, b in zip(text, text[1:], strict=False) if a in "ABCD" and b == ":"]
    return next(iter(with_colon), next((letter for letter in text if letter in "ABCD"), ""))


def at_end(text):
    for end in (text, text[:-1] if text[-1:] in tuple("。，,.") else ""):
        if len(end) > 1 and end[-1] in "ABCD" and (end[-2].isspace() or end[-2] in "，：:,"):
            return end[-1]
    return ""


def behind_stop(text):
    for end in (text, text[:-1] if text[-1:] in tuple("。.") else ""):
        if end[-1:] in tuple("ABCD") and (
            end[-2:-1] == "。" or end[-3:-2] == "。" == end[-3:-1].strip()
        ):
            return end[-1]
    return ""


def behind_answer(text):
    for start in range(len(text)):
        if text[start : start + 6].lower() == "answer":
            rest = text[start + 6 :].lstrip()
            letter = rest[1:].lstrip()[:1] if rest[:1] == ":" else ""
            if letter and letter.upper() in "ABCD":
                return letter  # a small one is found, and is no answer
    return ""


def ends_of(text, words):
    """Texts behind each "the" or "The" with some words."""
    for the in range(len(text)):
        if text[the] in "Tt" and text[the + 1 :].startswith(f"he {words}"):
            yield text[the + 4 + len(words) :]


def behind(saying):
    words, stars = saying

    def look(text):
        for rest in ends_of(text, words):
            rest = rest.removeprefix(":")
            if rest[:1].isspace():
                rest = rest.lstrip().removeprefix("(")
                for _ in range(stars):
                    rest = rest.removeprefix("*")
                if rest[:1] and rest[0] in "ABCD":
                    return rest[0]
        return ""

    return look


def boxed(words):
    def look(text):
        for rest in ends_of(text, words):
            for part in rest.split("boxed{")[1:]:
                if part[:1] and part[0] in "ABCD" and part[1:2] == "}":
                    return part[0]
        return ""

    return look


SAYINGS = [
    ("answer is", 0), ("answer is", 2), ("answer is option", 0), ("correct answer is", 0),
    ("correct answer is option", 0),
]  # fmt: skip
BOXED = ["correct answer is", "correct option is", "correct answer option is"]
TO_QUESTION = behind(("answer to the question is", 0))
FRAGMENTS = [
    *"ABCDabx1.:,$()*\n 。，：",
    "The answer is", "the answer is option", "The correct answer is", "the correct option is",
    "The correct answer option is", "The answer to the question is", "ANSWER", "answer: ", "boxed{",
    "}", "C}", " (B)", "**", " is ",
]  # fmt: skip


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join))
def test_any_answer_is_read_as_by_the_published_rule(response):
    assert mmlu.first_option(response) == published_option(response)


def test_plain_text_of_the_base_models(mmlu_folder):
    task = mmlu.load("llada", mmlu_folder, likelihood=True)
    prompt = task.prompt(task.items[1], 5)
    (message,) = prompt.messages
    assert not prompt.chat and task.preset.by_likelihood
    text = message["content"]
    assert text.startswith("The following are multiple choice questions (with answers) about anat")
    assert text.count("Answer: ") == 5 and text.endswith("D. choice d 1\nAnswer:")
    assert task.options(task.items[1]) == (" A", " B", " C", " D")


def rewrite(folder, split, change):
    rows = [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]
    change(rows)
    (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))


@pytest.mark.parametrize(
    ("split", "change", "reason"),
    [
        ("test", lambda rows: rows[2].update(answer=4), "item 2: answer must be 0 to 3, not 4"),
        ("test", lambda rows: rows[2].update(answer="B"), "item 2: answer must be 0 to 3"),
        ("test", lambda rows: rows[1].update(choices=["a"]), "item 1: choices must be a list of 4"),
        ("test", lambda rows: rows[0].pop("subject"), "row 1 of .* has no subject; it needs"),
        ("test", lambda rows: rows.clear(), "holds no row"),
        ("dev", lambda rows: rows.pop(), "dev has 4 examples of world_religions, and preset llada"),
    ],
)
def test_bad_data_are_refused(mmlu_folder, split, change, reason):
    rewrite(mmlu_folder, split, change)
    with pytest.raises(MidspanError, match=reason):
        mmlu.load("llada", mmlu_folder)


def test_a_folder_without_a_split_is_refused(tmp_path):
    with pytest.raises(MidspanError, match="has no test.jsonl or test.parquet"):
        mmlu.load("lm-eval", tmp_path)
