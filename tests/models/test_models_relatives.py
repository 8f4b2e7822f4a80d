"""Chat formats and special tokens of the newer families, and of Dream's relatives."""

import json
from pathlib import Path

import pytest
from blocks_reference import write_checkpoint
from models_reference import DREAM, word_tokenizer
from models_reference import write_checkpoint as write_dream
from tokenizers import AddedToken

from midspan.errors import MidspanError
from midspan.models import DiffusionLM, family_for, load

POEM = ["write", "a", "poem"]


def names(lm: DiffusionLM, ids: list[int]) -> list[str]:
    return lm.tokenizer.convert_ids_to_tokens(ids)


def spelled(pieces) -> str:
    return "".join(piece if isinstance(piece, str) else piece.token for piece in pieces)


@pytest.mark.parametrize("name", ["lladamoe", "llada2_moe"])
def test_role_tags(name: str, tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
    assert spelled(family_for(name).chat(turns)) == (
        "<role>SYSTEM</role>be brief<|role_end|><role>HUMAN</role>hello<|role_end|>"
        "<role>ASSISTANT</role>"
    )
    lm = load(write_checkpoint(tmp_path, name))
    header = ["<role>", "ASSISTANT", "</role>"]
    user = ["<role>", "HUMAN", "</role>", *POEM, "<|role_end|>"]
    assert names(lm, lm.encode_chat("write a poem")) == [*user, *header]
    assert lm.tokens.stop == {1, 2}
    assert lm.decode_text([*lm.encode_text("a poem"), 60, 2, 11]) == "a poem"
    assert not {2, 3, 4, 60} & set(lm.encode_text("<role> <|role_end|> <|mask|> </role>"))


def test_a_template_in_the_tokenizer_goes_first(tmp_path: Path) -> None:
    lm = load(write_checkpoint(tmp_path, "llada2_moe"))
    lm.tokenizer.chat_template = (
        "<role>SYSTEM</role>the step<|role_end|>{% for m in messages %}<role>HUMAN</role>"
        "{{ m['content'] }}<|role_end|>{% endfor %}<role>ASSISTANT</role>"
    )
    got = names(lm, lm.encode_chat("poem <role>"))
    unknown = ["<role>", "[UNK]", "</role>"]
    assert got == [
        *[*unknown, "the", "step", "<|role_end|>"],
        *["<role>", "HUMAN", "</role>", "poem", "[UNK]", "[UNK]", "<|role_end|>"],
        *["<role>", "ASSISTANT", "</role>"],
    ]


@pytest.mark.parametrize("name", ["sdar", "sdar_moe"])
def test_sdar_speaks_chatml(name: str, tmp_path: Path) -> None:
    pieces = family_for(name).chat([{"role": "user", "content": "hello"}])
    assert spelled(pieces) == "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    lm = load(write_checkpoint(tmp_path, name))
    user = ["<|im_start|>", "user", *POEM, "<|im_end|>"]
    expected = [*user, "<|im_start|>", "assistant"]
    assert names(lm, lm.encode_chat("write a poem")) == expected


def test_the_mask_of_sdars_second_file_is_not_believed(tmp_path: Path) -> None:
    """special_tokens_map.json names a token <MASK> that the model was not trained with."""
    folder = write_checkpoint(tmp_path, "sdar")
    (folder / "special_tokens_map.json").write_text(json.dumps({"mask_token": "<MASK>"}))
    stated = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**stated, "mask_token": "<MASK>"}))
    lm = load(folder)
    assert lm.tokens.mask == lm.tokenizer.mask_token_id == 60
    assert lm.tokenizer.mask_token == "<|MASK|>"
    assert 60 not in lm.encode_text("<|MASK|> <MASK>")


def test_a_mask_that_config_and_tokenizer_number_differently(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, "sdar", mask_token_id=59)
    with pytest.raises(MidspanError, match=r"<\|MASK\|> is 60.*mask_token_id=59"):
        load(folder)


def test_dream_coder_and_diffucoder_are_dream(tmp_path: Path) -> None:
    """Their tokenizers name another bos (Dream-Coder) and another pad (DiffuCoder)."""
    coder = write_dream(tmp_path / "coder", {**DREAM, "bos_token_id": 50, "pad_token_id": 1})
    tokenizer = word_tokenizer("Dream")
    tokenizer.add_tokens([AddedToken("<|dlm_pad|>", special=True)])
    tokenizer.pad_token, tokenizer.bos_token = "<|dlm_pad|>", "<|im_start|>"
    tokenizer.save_pretrained(coder)
    lm = load(coder)
    assert lm.family is family_for("Dream")
    assert lm.family.logit_shift
    assert (lm.tokens.pad, lm.tokenizer.pad_token_id) == (1, 1)
    assert names(lm, lm.encode_chat("poem"))[0] == "<|im_start|>"


def test_dream_reasoner_is_refused_by_name(tmp_path: Path) -> None:
    for change in ({"block_size": 32}, {"architectures": ["DreamForCausalLM"]}):
        folder = write_dream(tmp_path / next(iter(change)), {**DREAM, **change})
        with pytest.raises(MidspanError, match="DreamReasoner.*without the shift"):
            load(folder)
