"""A2D and ModernBERT-chat against the published logits, format, tokens and chat text."""

import dataclasses
import json
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from dllm_folders import QWEN_TEMPLATE, SIZES, write_folder
from fixture_folders import PUBLISHED
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from midspan.decoding import Request, decode, decoding_config
from midspan.errors import MidspanError
from midspan.models import family_for, load
from midspan.models.attention import block_causal_mask

A2D = ("a2d-qwen3", "a2d-qwen2", "a2d-llama")
FAMILIES = tuple(SIZES)
# Logits reach 26: the stored fp32 values themselves lie up to 4.8e-5 from the fp64 ones.
CLOSE = {"atol": 4e-5, "rtol": 0}


def cases(family: str) -> dict[str, torch.Tensor]:
    return load_file(PUBLISHED / family / "cases.safetensors")


@pytest.mark.parametrize("family", FAMILIES)
def test_golden_logits(family: str, tmp_path: Path) -> None:
    stored, lm = cases(family), load(write_folder(tmp_path, family), device="cpu")
    ids = stored["input_ids"]
    with torch.no_grad():
        torch.testing.assert_close(lm.logits(ids), stored["logits"], **CLOSE)
        for key, wanted in (
            ("attention_mask", "logits_masked"),
            ("attention_mask_right", "logits_masked_right"),
        ):
            real = stored[key].bool()
            assert not real.all()
            for logits in (lm.logits(ids, stored[key]), lm.base(ids, stored[key]).logits):
                torch.testing.assert_close(logits[real], stored[wanted][real], **CLOSE)


def test_golden_logits_of_blocks(tmp_path: Path) -> None:
    stored = cases("a2d-qwen3")
    lm = load(write_folder(tmp_path, "a2d-qwen3", block_size=8), device="cpu")
    assert (lm.family.name, lm.block_length) == ("a2d-qwen3-blocks", 8)
    ids = stored["block_input_ids"]
    real = ids != lm.tokens.pad
    assert 0 < real.sum() < real.numel()
    with torch.no_grad():
        logits = lm.logits(ids, real.long(), canvas=24)
        torch.testing.assert_close(logits[real], stored["logits_block_causal"][real], **CLOSE)
        # Blocks that count from the first real token are others.
        other = lm.logits(ids, real.long())
        assert (other[real] - logits[real]).abs().max() > 0.1


def test_blocks_to_both_sides_of_a_border_by_hand() -> None:
    real = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
    rows = [
        ["x....", "xxx..", "xxx..", "xxxxx", "xxxxx"],
        ["x....", ".x...", "..x..", "..xxx", "..xxx"],
    ]
    expected = torch.tensor([[[mark == "x" for mark in line] for line in row] for row in rows])
    assert torch.equal(block_causal_mask(real, 2, border=3)[:, 0], expected)
    two = block_causal_mask(real, 2, border=torch.tensor([3, 4]))[:, 0]
    assert torch.equal(two[0], expected[0])
    assert two[1].int().tolist()[2:] == [[0, 0, 1, 1, 0], [0, 0, 1, 1, 0], [0, 0, 1, 1, 1]]


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_folder_is_published_format(family: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "published", family)
    sampling = {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95}
    (folder / "generation_config.json").write_text(json.dumps(sampling))
    lm = load(folder, device="cpu")
    lm.model.save_pretrained(tmp_path / "saved")
    before, after = (load_file(f / "model.safetensors") for f in (folder, tmp_path / "saved"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    wanted, saved = (
        json.loads((f / "config.json").read_text()) for f in (folder, tmp_path / "saved")
    )
    version = "transformers_version"
    assert {key: saved[key] for key in wanted.keys() - {version}} == {
        key: value for key, value in wanted.items() if key != version
    }
    if family in A2D:
        kept = json.loads((tmp_path / "saved/generation_config.json").read_text())
        assert {key: kept[key] for key in sampling} == sampling
    lm.tokenizer.save_pretrained(tmp_path / "saved")
    ids = cases(family)["input_ids"]
    assert torch.equal(load(tmp_path / "saved", device="cpu").logits(ids), lm.logits(ids))


@pytest.mark.parametrize("family", A2D)
@pytest.mark.parametrize("auto", [AutoModelForCausalLM, AutoModelForMaskedLM])
def test_auto_classes_take_the_native_class(family: str, auto) -> None:
    model, info = auto.from_pretrained(PUBLISHED / family, output_loading_info=True)
    assert type(model) is family_for(family).model_class
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))


@pytest.mark.parametrize("family", FAMILIES)
def test_special_tokens_are_those_of_the_published_loading(family: str, tmp_path: Path) -> None:
    lm = load(write_folder(tmp_path, family), device="cpu")
    published = json.loads((PUBLISHED / family / "cases.json").read_text())
    for role in ("mask", "eos", "pad", "bos", "eot"):
        assert getattr(lm.tokens, role) == published.get(f"{role}_token_id"), role


def test_a_mask_is_added_once_and_must_have_a_row(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "full", "a2d-qwen3", size=512)
    with pytest.raises(MidspanError, match=r"<\|mask\|> is 512, outside the model's 512 rows"):
        load(folder)
    lm = load(write_folder(tmp_path / "once", "a2d-qwen3", size=500), device="cpu")
    lm.tokenizer.save_pretrained(tmp_path / "once")
    assert load(tmp_path / "once", device="cpu").tokens.mask == lm.tokens.mask == 500


def test_a_bare_model_must_know_its_mask(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(PUBLISHED / "a2d-qwen3")
    ids = torch.tensor([[20, 21, 22]])
    with pytest.raises(MidspanError, match="mask_token_id is missing; set it"):
        model.generate(ids, max_new_tokens=8)
    model.config.mask_token_id = 500
    assert model.generate(ids, max_new_tokens=8).shape == (1, 11)


def test_a_window_that_the_config_names_has_no_effect(tmp_path: Path) -> None:
    sliding = {
        "use_sliding_window": True,
        "sliding_window": 4,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    }
    plain = load(write_folder(tmp_path / "plain", "a2d-qwen3"), device="cpu")
    lm = load(write_folder(tmp_path / "sliding", "a2d-qwen3", **sliding), device="cpu")
    ids = cases("a2d-qwen3")["input_ids"]
    assert torch.equal(lm.logits(ids), plain.logits(ids))
    lm.model.save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved/config.json").read_text())
    assert {key: saved[key] for key in sliding} == sliding


def test_which_models_are_of_blocks(tmp_path: Path) -> None:
    masked = load(write_folder(tmp_path / "mdlm", "a2d-qwen3"), device="cpu")
    with pytest.warns(UserWarning, match="blocks of 32 by its name; block_size in config.json"):
        named = load(write_folder(tmp_path / "Qwen3-bd3lm-v0.1", "a2d-qwen3"), device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stated = load(write_folder(tmp_path / "a-bd3lm", "a2d-qwen3", block_size=4), device="cpu")
        off = load(write_folder(tmp_path / "b-bd3lm", "a2d-qwen3", block_size=None), device="cpu")
    models = (masked, named, stated, off)
    assert [lm.block_length for lm in models] == [None, 32, 4, None]
    assert [lm.family.attention for lm in models] == [
        *("full", "block_causal", "block_causal", "full")
    ]
    assert masked.fingerprint == off.fingerprint
    assert len({lm.fingerprint for lm in models}) == 3
    chosen = dataclasses.replace(masked, family=masked.family.in_blocks, block_length=4)
    assert chosen.fingerprint not in {lm.fingerprint for lm in models}
    ids = cases("a2d-qwen3")["input_ids"]
    assert torch.equal(chosen.logits(ids), stated.logits(ids))
    torch.testing.assert_close(stated.base(ids).logits, stated.logits(ids))
    named.model.save_pretrained(tmp_path / "merged")
    assert json.loads((tmp_path / "merged/config.json").read_text())["block_size"] == 32
    defaults = [decoding_config(lm) for lm in models[:3]]
    assert [config.sampler for config in defaults] == ["llada", "block", "block"]
    assert [config.block for config in defaults] == [64, 32, 4]
    assert all(config.schedule == "linear" for config in defaults)
    with pytest.raises(MidspanError, match="is full; .* or say block_size in its config.json"):
        decode(masked, [Request((5, 6))], decoding_config(stated, length=8))


@pytest.mark.parametrize("cache", ["prefix", "none"])
def test_a_row_of_blocks_decodes_as_it_does_alone(cache: str, tmp_path: Path) -> None:
    lm = load(write_folder(tmp_path, "a2d-qwen3", block_size=8), device="cpu")
    config = decoding_config(lm, length=20, steps=9, cache=cache, early_stop=False)
    requests = [Request((5, 9, 33), {17: 11}), Request(tuple(range(20, 41)), {2: 12})]
    both = decode(lm, requests, config)
    assert both[0].tokens[17] == 11
    for request, row in zip(requests, both, strict=True):
        (alone,) = decode(lm, [request], config)
        assert (alone.tokens, alone.forwards) == (row.tokens, row.forwards)
        assert len(row.tokens) == 20
        assert lm.tokens.mask not in row.tokens


def test_edits_stay_within_a_short_last_block(tmp_path: Path) -> None:
    lm = load(write_folder(tmp_path, "a2d-qwen3", block_size=8), device="cpu")
    fields = {"length": 11, "steps": 8, "editing_threshold": 0.3, "early_stop": False}
    requests = [Request((5, 9, 33)), Request((20, 21))]
    cached, whole = (
        decode(lm, requests, decoding_config(lm, cache=cache, **fields))
        for cache in ("prefix", "none")
    )
    assert [row.tokens for row in cached] == [row.tokens for row in whole]
    assert all(lm.tokens.mask not in row.tokens for row in cached)


def test_thinking_is_off_in_the_template(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, "a2d-qwen3")
    (folder / "chat_template.jinja").write_text(QWEN_TEMPLATE)
    lm = load(folder, device="cpu")
    words = lm.tokenizer.convert_ids_to_tokens(lm.encode_chat("write"))
    assert words == [
        *("<|im_start|>", "user", "write", "<|im_end|>"),
        *("<|im_start|>", "assistant", "the", "poem"),
    ]


def test_modernbert_speaks_in_plain_tags(tmp_path: Path) -> None:
    lm = load(write_folder(tmp_path, "modernbert_chat"), device="cpu")
    published = json.loads((PUBLISHED / "modernbert_chat/cases.json").read_text())["chat"]
    for case in published:
        if case["add_generation_prompt"]:
            assert lm.chat_text(case["messages"]) == case["text"]
    system = {"role": "system", "content": "x"}
    user = {"role": "user", "content": "y"}
    assert "x" not in lm.chat_text([user, system])
    assert not set(lm.encode_chat("[PAD] [MASK]")) & {lm.tokens.pad, lm.tokens.mask}


class _Said:
    """A tokenizer that decodes to one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.added_tokens_decoder: dict[int, object] = {}
        self.all_special_ids: list[int] = []
        self.unk_token = None
        self.backend_tokenizer = SimpleNamespace(model=None)

    def decode(self, ids: list[int], clean_up_tokenization_spaces: bool) -> str:
        return self.text


@pytest.mark.parametrize(
    ("said", "reply"),
    [("Hi.\n[/Answer]\n\n[Question]", "Hi."), ("Hi.[/Answer]", "Hi."), ("Hi.\n", "Hi.\n")],
)
def test_modernbert_replies_end_at_the_closing_tag(said: str, reply: str, tmp_path: Path) -> None:
    lm = load(write_folder(tmp_path, "modernbert_chat"), device="cpu")
    assert dataclasses.replace(lm, tokenizer=_Said(said)).decode_text([7]) == reply


REFUSED = [
    ("a2d-qwen3", {"attention_bias": True}, "attention_bias"),
    ("a2d-qwen3", {"block_size": 0}, "block_size"),
    ("a2d-qwen2", {"hidden_act": "gelu"}, "hidden_act"),
    ("a2d-llama", {"mlp_bias": True}, "mlp_bias"),
    ("a2d-llama", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "rope_scaling"),
    ("modernbert_chat", {"layer_types": ["sliding_attention"] * 4}, "layer_types"),
    ("modernbert_chat", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "rope_type"),
]


@pytest.mark.parametrize(("family", "change", "named"), REFUSED, ids=str)
def test_what_is_not_implemented_is_refused_by_name(family, change, named, tmp_path) -> None:
    with pytest.raises(MidspanError, match=named):
        load(write_folder(tmp_path, family, **change))


def test_a_cache_is_refused_where_there_is_none(tmp_path: Path) -> None:
    lm = load(write_folder(tmp_path, "modernbert_chat"), device="cpu")
    for cache in ("prefix", "dual"):
        config = decoding_config(lm, length=32, cache=cache)
        with pytest.raises(MidspanError, match="modernbert keeps no keys and values"):
            decode(lm, [Request((5, 6))], config)
