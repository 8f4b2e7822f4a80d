"""Fast-dLLM v2 against the outputs of its published code."""

import json
from pathlib import Path

import pytest
import torch
from blocks_reference import aligned_reference, write_checkpoint
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM

from midspan.errors import MidspanError
from midspan.models import family_for, load
from midspan.models.fast_dllm import FastDllmConfig, FastDllmForMaskedDiffusion


@pytest.fixture
def published(golden: Path) -> Path:
    return golden / "fast_dllm_v2"


def test_logits_and_training_forward_equal_the_published_ones(published: Path) -> None:
    cases = load_file(published / "cases.safetensors")
    model = AutoModelForCausalLM.from_pretrained(published)
    assert type(model) is FastDllmForMaskedDiffusion
    assert model.config.block_size == 32
    noisy_and_clean = cases["train_packed_input_ids"]
    size = noisy_and_clean.shape[1] // 2
    position_ids = torch.arange(size).repeat(2)[None]
    with torch.no_grad():
        plain = model(cases["input_ids"]).logits
        masked = model(cases["input_ids"], attention_mask=cases["block_mask"]).logits
        trained = model(
            noisy_and_clean, attention_mask=cases["train_mask"], position_ids=position_ids
        ).logits[:, :size]
    # Logits reach 13: the stored fp32 values themselves lie up to 1.7e-5 from the fp64 ones.
    torch.testing.assert_close(plain, cases["logits"], atol=3e-5, rtol=0)
    torch.testing.assert_close(masked, cases["logits"], atol=3e-5, rtol=0)
    torch.testing.assert_close(trained, cases["train_logits"], atol=3e-5, rtol=0)
    labels = cases["train_packed_labels"]
    loss = cross_entropy(trained[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    torch.testing.assert_close(loss[None], cases["train_loss"], atol=1e-5, rtol=0)


def test_the_folder_survives_saving(published: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(published)
    model.save_pretrained(tmp_path)
    before, after = (load_file(f / "model.safetensors") for f in (published, tmp_path))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    wanted, saved = (json.loads((f / "config.json").read_text()) for f in (published, tmp_path))
    del wanted["transformers_version"]
    assert wanted["use_cache"] and wanted["conplemenrary_mask"] and wanted["bd_size"] == 32
    assert {key: saved[key] for key in wanted} == wanted
    assert not AutoConfig.from_pretrained(tmp_path).use_cache
    ids = load_file(published / "cases.safetensors")["input_ids"]
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(again(ids).logits, model(ids).logits)


def test_a_blocks_first_row_is_the_last_of_the_block_before(tmp_path: Path) -> None:
    lm = load(write_checkpoint(tmp_path, "fast_dllm_v2", block_size=4), device="cpu")
    done = [5, 9, 33, 7, 60, 12, 60, 60]
    with torch.no_grad():
        whole = lm.logits(torch.tensor([done]))[0]
        before = lm.logits(torch.tensor([done[:4]]), rows=torch.tensor([4]))[0, 0]
    # Nothing of the new block is in it, so that block's masks need not even be there.
    torch.testing.assert_close(whole[4], before, atol=1e-5, rtol=0)
    torch.testing.assert_close(whole, aligned_reference("fast_dllm_v2", done, 4), atol=2e-5, rtol=0)


def test_special_tokens_as_published(tmp_path: Path) -> None:
    """The pad stands in the tokenizer, the mask nowhere else, and the config says another pad."""
    lm = load(write_checkpoint(tmp_path, "fast_dllm_v2"), device="cpu")
    assert lm.base.config.pad_token_id == 2
    assert (lm.tokens.mask, lm.tokens.eos, lm.tokens.pad, lm.tokens.eot) == (60, 2, 1, None)
    assert lm.tokens.stop == {2}
    assert lm.tokenizer.mask_token == "|<MASK>|"
    assert 60 not in lm.encode_text("|<MASK>|")
    header = [3, *lm.encode_text("assistant")]
    assert lm.encode_chat("a poem")[-2:] == header


@pytest.mark.parametrize("vocab_size", [151936, 152064])
def test_both_sizes_know_their_mask_without_a_tokenizer(vocab_size: int) -> None:
    from midspan.decoding.hf import without_tokenizer

    config = FastDllmConfig(
        vocab_size=vocab_size, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, eos_token_id=151645, pad_token_id=151645,
    )  # fmt: skip
    with torch.device("meta"):
        lm = without_tokenizer(FastDllmForMaskedDiffusion(config))
    assert (lm.tokens.mask, lm.tokens.eos) == (151665, 151645)
    assert lm.family is family_for("Fast_dLLM_Qwen")


def test_another_mask_than_the_published_one_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, "fast_dllm_v2", mask_token_id=59)
    with pytest.raises(MidspanError, match=r"\|<MASK>\| is 60.*mask_token_id=59"):
        load(folder)


def test_a_template_in_the_tokenizer_goes_first(tmp_path: Path) -> None:
    """The published one puts a system turn before the user's."""
    lm = load(write_checkpoint(tmp_path, "fast_dllm_v2"), device="cpu")
    lm.tokenizer.chat_template = (
        "<|im_start|>system\na step<|im_end|>\n{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{{ m['content'] }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
    )
    names = lm.tokenizer.convert_ids_to_tokens(lm.encode_chat("poem"))
    assert names[:5] == ["<|im_start|>", "system", "a", "step", "<|im_end|>"]
    assert names[5:8] == ["<|im_start|>", "user", "poem"]
