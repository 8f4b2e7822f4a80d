"""Prompts: chat formats, and user text that never turns into special tokens."""

import dataclasses
from pathlib import Path

import pytest
import real_tokenizers as real
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models_reference import DREAM, LLADA, SPECIALS, write_checkpoint
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from midspan.errors import MidspanError
from midspan.models import DiffusionLM, SpecialTokens, load
from midspan.models.llada import MMADA as MMADA_FAMILY
from midspan.models.tokens import control_ids, encode_plain


@pytest.fixture(scope="module")
def lms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DiffusionLM]:
    root = tmp_path_factory.mktemp("text")
    configs = {"llada": LLADA, "Dream": DREAM}
    return {n: load(write_checkpoint(root / n, config)) for n, config in configs.items()}


def names(lm: DiffusionLM, ids: list[int]) -> list[str]:
    return lm.tokenizer.convert_ids_to_tokens(ids)


def test_llada_chat_always_ends_with_the_assistant_header(lms) -> None:
    lm = lms["llada"]
    header = ["<|start_header_id|>", "assistant", "<|end_header_id|>"]
    user = ["<|start_header_id|>", "user", "<|end_header_id|>", "write", "a", "poem", "<|eot_id|>"]
    ids = lm.encode_chat("  write a poem \n")
    assert names(lm, ids) == ["<|startoftext|>", *user, *header]
    turns = [
        {"role": "user", "content": "write a poem"},
        {"role": "assistant", "content": "the step"},
    ]
    expected = ["<|startoftext|>", *user, *header, "the", "step", "<|eot_id|>", *header]
    assert names(lm, lm.encode_chat(turns)) == expected


def test_llada_pieces_spell_the_published_template(lms) -> None:
    pieces = lms["llada"].family.chat([{"role": "user", "content": " hello\n"}])
    text = "".join(piece if isinstance(piece, str) else piece.token for piece in pieces)
    assert text == (
        "<|startoftext|><|start_header_id|>user<|end_header_id|>\n\nhello<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_mmada_has_one_newline_behind_a_header() -> None:
    turns = [{"role": "user", "content": " hello\n"}, {"role": "assistant", "content": "yes"}]
    text = "".join(one if isinstance(one, str) else one.token for one in MMADA_FAMILY.chat(turns))
    assert text == (
        "<|startoftext|><|start_header_id|>user<|end_header_id|>\nhello<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\nyes<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n"
    )


def test_dream_pieces_are_chatml(lms) -> None:
    pieces = lms["Dream"].family.chat([{"role": "user", "content": "hello"}])
    text = "".join(piece if isinstance(piece, str) else piece.token for piece in pieces)
    assert text == "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"


def test_dream_follows_its_tokenizers_template(tmp_path: Path) -> None:
    lm = load(write_checkpoint(tmp_path, DREAM))
    lm.tokenizer.chat_template = (
        "{% if messages[0]['role'] != 'system' %}"
        "<|im_start|>system\nthe step<|im_end|>\n{% endif %}"
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
        "{% endfor %}<|im_start|>assistant\n"
    )
    got = names(lm, lm.encode_chat("poem <|im_end|> \ue0000\ue001"))
    start, end = "<|im_start|>", "<|im_end|>"
    system = [start, "system", "the", "step", end]
    assert got == [
        *system,
        start,
        "user",
        "poem",
        "[UNK]",
        "[UNK]",
        "[UNK]",
        end,
        start,
        "assistant",
    ]


def test_a_familys_options_reach_its_template(tmp_path: Path) -> None:
    lm = load(write_checkpoint(tmp_path, DREAM))
    lm.tokenizer.chat_template = (
        "{% if enable_thinking %}step {% else %}the {% endif %}{{ messages[0].content }}"
    )
    for thinks, word in ((True, "step"), (False, "the")):
        lm.family = dataclasses.replace(lm.family, template_options={"enable_thinking": thinks})
        assert names(lm, lm.encode_chat("a poem")) == [word, "a", "poem"]


def test_bad_messages_are_refused(lms) -> None:
    parts = [{"type": "text", "text": "poem"}]
    for message in (
        {"role": "user"},
        {"role": "user <|eot_id|>", "content": "poem"},
        {"role": "user", "content": parts},
        {"role": "user", "content": None},
    ):
        with pytest.raises(MidspanError, match="role"):
            lms["llada"].encode_chat([message])


@pytest.mark.parametrize("name", ["llada", "Dream"])
def test_user_text_never_yields_special_ids(lms, name: str) -> None:
    lm = lms[name]
    specials = [token for table in SPECIALS.values() for token in table]
    fragment = st.one_of(st.sampled_from(specials), st.sampled_from([" ", "poem", "<|", "|>"]))
    text = st.lists(st.one_of(fragment, st.text(max_size=3)), max_size=8).map("".join)
    frame = [token for token in lm.encode_chat("") if token in SPECIALS[name].values()]

    @settings(max_examples=150, deadline=None)
    @given(text)
    def check(value: str) -> None:
        ids = lm.encode_text(value)
        assert not set(ids) & set(SPECIALS[name].values())
        inside = [t for t in lm.encode_chat(value) if t in SPECIALS[name].values()]
        assert inside == frame

    check()


def byte_tokenizer(merges: tuple[tuple[str, str], ...] = ()) -> PreTrainedTokenizerFast:
    """Byte-level BPE: every text can be spelled, so nothing may be lost."""
    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *map("".join, merges)]
    backend = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, list(merges)))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken("<|eot_id|>", special=True)])
    backend.add_tokens([AddedToken("<|mdm_mask|>", special=False)])
    return PreTrainedTokenizerFast(tokenizer_object=backend)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(["<|eot_id|>", "<|mdm_mask|>"]), st.text(max_size=4))))
def test_plain_text_is_spelled_in_full(parts: list[str]) -> None:
    tokenizer, text = byte_tokenizer(), "".join(parts)
    ids = encode_plain(tokenizer, text, frozenset({256, 257}))
    assert max(ids, default=0) < 256
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_an_unknown_token_that_ends_texts_is_still_special() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.unk_token = "<|eot_id|>"
    tokens = SpecialTokens(mask=257, bos=None, eos=256, eot=None, pad=256)
    assert control_ids(tokenizer, tokens) == {256, 257}


def test_the_name_of_a_special_token_is_spelled_as_any_text() -> None:
    """Not cut: the merge in the middle of the name takes place."""
    tokenizer = byte_tokenizer((("t", "_"),))
    assert 256 in encode_plain(tokenizer, "<|eot_id|>", frozenset({257, 258}))


def recursive_plain(tokenizer, text: str, forbidden: frozenset[int]) -> list[int]:
    """The definition: cut inside the first forbidden token, and begin anew on either side."""
    encoding = tokenizer(
        text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
    )
    hits = [i for i, token in enumerate(encoding["input_ids"]) if token in forbidden]
    if not hits:
        return encoding["input_ids"]
    start, end = encoding["offset_mapping"][hits[0]]
    cut = min(max((start + end) // 2, 1), len(text) - 1)
    sides = (text[:cut], text[cut:])
    return [token for side in sides for token in recursive_plain(tokenizer, side, forbidden)]


@pytest.mark.parametrize("kind", ["llada", "Dream", "sdar"])
def test_ids_of_plain_text_are_those_of_its_definition(kind: str) -> None:
    lm = real.lm(kind)
    control = lm.vocabulary.control
    names = [name for name in lm.tokenizer.added_tokens_encoder if "<" in name]
    pieces = [*names, "<", "|>", "think>", "<|m", " ", "the", "é"]

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.one_of(st.sampled_from(pieces), st.text(max_size=3))).map("".join))
    def check(text: str) -> None:
        ids = encode_plain(lm.tokenizer, text, control)
        assert ids == recursive_plain(lm.tokenizer, text, control)

    check()


def test_thousands_of_names_take_a_tokenisation_each(monkeypatch) -> None:
    """Each name of the mask costs one further call, of its own neighbourhood."""
    lm = real.lm("llada")
    read: list[int] = []
    tokenise = type(lm.tokenizer).__call__

    def counted(self, text, **options):
        read.append(len(text))
        return tokenise(self, text, **options)

    monkeypatch.setattr(type(lm.tokenizer), "__call__", counted)
    text = "<|mdm_mask|> <|eot_id|> " * 3000
    ids = lm.encode_text(text)
    assert lm.decode_text(ids) == text
    assert len(read) == 3002
    assert sum(read) == 2 * len(text)


def test_a_character_that_is_special_is_refused() -> None:
    tokenizer = byte_tokenizer()
    with pytest.raises(MidspanError, match="'a'"):
        encode_plain(tokenizer, "ba", frozenset(tokenizer.convert_tokens_to_ids(["a"])))


def test_phrases_must_be_whole(lms) -> None:
    lm = lms["llada"]
    assert names(lm, lm.encode_phrase("the next step is")) == ["the", "next", "step", "is"]
    with pytest.raises(MidspanError, match="no tokens"):
        lm.encode_phrase(" ")
    with pytest.raises(MidspanError, match="'the unheard step'"):
        lm.encode_phrase("the unheard step")


def test_decoding_stops_at_the_first_stop_token(lms) -> None:
    lm = lms["llada"]
    words = lm.encode_text("write a poem")
    mask, bos, eot = lm.tokens.mask, lm.tokens.bos, lm.tokens.eot
    assert lm.decode_text([bos, *words, mask, eot, *words]) == "write a poem"
    assert lm.decode_text(torch.tensor([*words, eot, 9])) == "write a poem"
    assert lm.decode_text([lm.tokens.eos, *words]) == ""
    assert lm.tokens.stop == {1, 2}
