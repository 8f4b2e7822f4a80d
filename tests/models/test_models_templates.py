"""Chat templates of tokenizers: followed to the id, or refused in one line."""

import dataclasses
from functools import cache

import pytest
import real_tokenizers as real
from hypothesis import given, settings
from hypothesis import strategies as st

from midspan.errors import MidspanError
from midspan.models import DiffusionLM

TURNS = (
    [("user", "open the file")],
    [("system", "help with this"), ("user", "  write a poem \n")],
    [("user", "first"), ("assistant", "sure, here is \ue000 how\n"), ("user", "\n then?  ")],
    [
        ("system", "\U000f0000"),
        *[("user", "a"), ("assistant", ""), ("user", "b"), ("assistant", " c "), ("user", "d")],
    ],
)
FOLLOWED = {
    name: getattr(real, name)
    for name in ("CHATML", "TRIMS", "STRIPS_THOUGHTS", "OPENS_THOUGHTS", "LAST_TURN_ALONE")
}


def chat(turns) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


def published(lm: DiffusionLM, messages, **options) -> list[int]:
    """What the published code feeds to its model."""
    return lm.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=False, **options
    )


def reasoner(template: str = real.STRIPS_THOUGHTS) -> DiffusionLM:
    return real.lm("sdar", template=template)


cached = cache(reasoner)


@pytest.mark.parametrize("turns", TURNS, ids=["one", "system", "two", "three"])
@pytest.mark.parametrize("template", FOLLOWED.values(), ids=FOLLOWED)
def test_a_template_is_followed(template, turns) -> None:
    lm = reasoner(template)
    assert lm.encode_chat(chat(turns)) == published(lm, chat(turns))


@pytest.mark.parametrize("turns", TURNS, ids=["one", "system", "two", "three"])
def test_the_family_of_llada_spells_its_template(turns) -> None:
    lm = real.lm("llada")
    assert lm.encode_chat(chat(turns)) == published(lm, chat(turns))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(FOLLOWED)),
    # NUL and halves of pairs never reach a tokenizer (docs/data.md).
    st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
        min_size=1,
        max_size=3,
    ),
)
def test_any_text_is_what_the_template_makes_of_it(name: str, texts: list[str]) -> None:
    lm = cached(FOLLOWED[name])
    messages = chat(zip(("user", "assistant", "user"), texts, strict=False))
    assert lm.encode_chat(messages) == published(lm, messages)


def test_a_familys_options_reach_the_template() -> None:
    lm = reasoner()
    lm.family = dataclasses.replace(lm.family, template_options={"enable_thinking": False})
    ids = lm.encode_chat("open")
    assert ids == published(lm, chat([("user", "open")]), enable_thinking=False)
    assert lm.tokenizer.decode(ids).endswith("<think>\n\n</think>\n\n")


def test_thoughts_of_earlier_turns_are_left_out_as_published() -> None:
    lm = reasoner()
    turns = [("user", "q"), ("assistant", "<think>x</think>\n\n4"), ("user", "again")]
    ids = lm.encode_chat(chat(turns))
    assert ids == published(lm, chat(turns))
    assert "x" not in lm.tokenizer.decode(ids)


def test_names_that_the_template_does_not_act_on_stay_text_beside_one_that_it_does() -> None:
    lm = reasoner()
    turns = [
        ("user", "what is </think> and <|im_end|>?"),
        ("assistant", "<think>x</think>a tag <|im_end|>"),
        ("user", "</think>"),
    ]
    ids = lm.encode_chat(chat(turns))
    assert lm.tokenizer.decode(ids) == lm.tokenizer.decode(published(lm, chat(turns)))
    assert not set(lm.vocabulary.thoughts) & set(ids)
    assert ids.count(lm.tokens.eot) == 3


def test_a_token_that_cannot_be_told_from_a_users_is_refused() -> None:
    cuts_once = real.CHATML.replace("m['content']", "m['content'].split('</think>', 1)[-1]")
    lm = reasoner(cuts_once)
    lm.encode_chat("a</think>b")
    with pytest.raises(MidspanError, match="acts on </think> in a message") as caught:
        lm.encode_chat("a</think>b</think>c")
    assert "\n" not in str(caught.value)
    writes = real.CHATML.replace("m['content']", "m['content'] | replace('END', '<|im_end|>')")
    with pytest.raises(MidspanError, match="acts on <|im_end|>"):
        reasoner(writes).encode_chat("the END")


def test_a_template_over_parts_of_content_gets_parts() -> None:
    lm = reasoner(real.IN_PARTS)
    parts = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in TURNS[2]]
    assert lm.encode_chat(chat(TURNS[2])) == published(lm, parts)
    assert "sure, here is" in lm.tokenizer.decode(lm.encode_chat(chat(TURNS[2])))


@pytest.mark.parametrize(
    ("template", "turns", "match"),
    [
        (real.NO_SYSTEM, TURNS[1], "does not take them: System role is not supported"),
        (real.ALTERNATES, [("user", "a"), ("user", "b")], "Conversation roles must alternate"),
        (real.DOES_NOT_PARSE, TURNS[0], r"does not parse \(line 1\): unexpected '}'"),
        (real.SYSTEM_ALONE, TURNS[1], "leaves out the last message, whose role is 'user'"),
        (real.CHATML, [], "empty conversation"),
    ],
)
def test_what_a_template_does_not_take_is_said_in_one_line(template, turns, match) -> None:
    with pytest.raises(MidspanError, match=match) as caught:
        reasoner(template).encode_chat(chat(turns))
    assert "\n" not in str(caught.value)


def test_what_a_refusing_template_takes_is_followed() -> None:
    for template in (real.NO_SYSTEM, real.ALTERNATES):
        lm = reasoner(template)
        assert lm.encode_chat(chat(TURNS[2])) == published(lm, chat(TURNS[2]))


@pytest.mark.parametrize("template", FOLLOWED.values(), ids=FOLLOWED)
def test_user_text_never_becomes_a_special_token(template) -> None:
    lm = reasoner(template)
    control = lm.vocabulary.control
    frame = [token for token in lm.encode_chat("a") if token in control]
    names = lm.tokenizer.convert_ids_to_tokens(sorted(control))
    fragment = st.one_of(st.sampled_from([*names, "<|", "|>", "think>", " "]), st.text(max_size=2))

    @settings(max_examples=50, deadline=None)
    @given(st.lists(fragment, max_size=8).map("".join))
    def check(text: str) -> None:
        ids = lm.encode_chat(text)
        assert [token for token in ids if token in control] == frame
        if template != real.TRIMS:
            assert text.replace("\x00", "\ufffd") in lm.tokenizer.decode(ids)

    check()
