"""Ids to text: what is dropped, and thoughts kept apart from the answer."""

import pytest
import real_tokenizers as real


@pytest.fixture(scope="module")
def lm():
    return real.lm("sdar")


def ids_of(lm, text: str) -> list[int]:
    """Ids of a text in which names of control tokens are these tokens."""
    return lm.encode_marked(text)


def test_added_tokens_are_text_and_special_ones_are_not(lm) -> None:
    text = "<think>the step</think>\n\nsure <tool_call>"
    assert lm.decode_text(ids_of(lm, f"<|im_start|>{text}<|im_end|>the")) == text
    assert lm.tokenizer.decode(ids_of(lm, text), skip_special_tokens=True) == text


@pytest.mark.parametrize("kind", ["llada", "Dream", "sdar"])
def test_the_mask_is_never_text(kind: str) -> None:
    lm = real.lm(kind)
    mask = lm.tokens.mask
    assert mask not in lm.tokenizer.all_special_ids
    assert lm.decode_text([mask, *lm.encode_text("the"), mask, *lm.encode_text(" step")]) == (
        "the step"
    )


@pytest.mark.parametrize(
    ("response", "answer", "thoughts"),
    [
        ("sure, here", "sure, here", ""),
        (" the step\n", " the step\n", ""),
        ("<think>\nhow?\n</think>\n\nsure", "sure", "how?"),
        ("<think></think>\n\nsure\n", "sure", ""),
        ("<think>how? and then", "", "how? and then"),
        ("how?\n</think>\n\nsure", "sure", "how?"),
        ("sure <think>how?</think> and then", "sure  and then", "how?"),
        ("<think>a</think>sure<think>b", "sure", "ab"),
        ("sure</think><|im_end|>then", "", "sure"),
        ("", "", ""),
    ],
)
def test_thoughts_are_kept_apart(lm, response: str, answer: str, thoughts: str) -> None:
    assert lm.decode_response(ids_of(lm, response)) == (answer, thoughts)


@pytest.mark.parametrize(
    ("prompt", "response", "answer", "thoughts"),
    [
        ("<think>\n", "how?\n</think>\n\nsure", "sure", "how?"),
        ("<think>\n", "how? and", "", "how? and"),
        ("<think>\n\n</think>\n\n", "sure", "sure", ""),
        ("<think>\n\n</think>\n\n", " sure", " sure", ""),
    ],
)
def test_thoughts_may_begin_in_the_prompt(lm, prompt, response, answer, thoughts) -> None:
    said = lm.decode_response(ids_of(lm, response), ids_of(lm, f"<|im_start|>{prompt}"))
    assert said == (answer, thoughts)


@pytest.mark.parametrize("kind", ["llada", "Dream"])
def test_where_no_token_begins_thoughts_the_words_are_text(kind: str) -> None:
    lm = real.lm(kind)
    text = "<think>how?</think>sure"
    assert lm.decode_response(lm.encode_text(text)) == (text, "")
