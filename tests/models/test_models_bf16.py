"""bfloat16 against what the published code returns in bfloat16."""

import json
from pathlib import Path

import pytest
import torch
from models_reference import LLADA, write_checkpoint
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, DynamicCache

from midspan.errors import MidspanError
from midspan.models import load

# A rounding step of the largest logits in bfloat16.
_STEP = 2**-7
# Processors without bfloat16 arithmetic round sums otherwise than that of the published outputs: a
# few logits move by more than a step, and all of a position whose experts change.
_WITHIN, _OTHER = (1.0, 0.02) if torch.cpu._is_amx_tile_supported() else (0.97, 0.05)


def model_and_cases(golden: Path, name: str, **config):
    cases = load_file(golden / name / "cases.safetensors")
    cases |= {f"{key}_bf16": value for key, value in load_file(
        golden / name / "cases_bf16.safetensors"
    ).items()}  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(golden / name, dtype=torch.bfloat16, **config)
    return model.eval(), cases


def assert_agree(logits: torch.Tensor, published: torch.Tensor, share: float = _WITHIN) -> None:
    """So many within a rounding step, and the same best token unless two are within one."""
    logits, published = logits.float(), published.float()
    step = published.abs().max() * _STEP
    assert (logits - published).abs().le(step).float().mean() >= share
    other = logits.argmax(-1) != published.argmax(-1)
    best = published.topk(2, dim=-1).values
    assert (best[..., 0] - best[..., 1])[other].le(step).all()
    assert other.float().mean() <= _OTHER


def distance(logits: torch.Tensor, published: torch.Tensor) -> float:
    """Root of the mean square."""
    return float((logits.float() - published.float()).square().mean().sqrt())


@torch.inference_mode()
@pytest.mark.parametrize("name", ["llada", "mmada", "dream", "lladamoe", "sdar"])
def test_half_precision_is_that_of_the_published_code(name: str, golden: Path) -> None:
    model, cases = model_and_cases(golden, name)
    logits = model(cases["input_ids"], attention_mask=cases.get("block_mask")).logits
    assert_agree(logits, cases["logits_bf16"])
    if "input_ids_long_bf16" in cases:
        assert_agree(model(cases["input_ids_long_bf16"]).logits, cases["logits_long_bf16"])


@torch.inference_mode()
def test_rotation_in_half_precision_is_honoured(golden: Path) -> None:
    for precise, own, other in ((False, "half_rope_", ""), (True, "", "half_rope_")):
        model, cases = model_and_cases(golden, "llada", rope_full_precision=precise)
        logits = model(cases["input_ids"]).logits
        assert_agree(logits, cases[f"logits_{own}bf16"])
        near, far = (distance(logits, cases[f"logits_{one}bf16"]) for one in (own, other))
        assert near < 0.8 * far
    with pytest.raises(AssertionError):
        assert_agree(cases["logits_half_rope_bf16"], cases["logits_bf16"], share=1.0)


@torch.inference_mode()
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_queries_and_keys_are_rotated_in_single_precision(attention: str, golden: Path) -> None:
    """Of one layer, against the formula in float64; what is cached has the model's format."""
    model, cases = model_and_cases(golden, "llada", attn_implementation=attention)
    config, ids = model.config, cases["input_ids"][:1]
    size = config.hidden_size // config.num_attention_heads
    layer = model.model.layers[0]
    states = layer.input_layernorm(model.model.embed_tokens(ids))
    key = layer.self_attn.k_proj(states).unflatten(-1, (-1, size)).transpose(1, 2)
    base = config.rope_parameters["rope_theta"]
    frequency = base ** -(torch.arange(0, size, 2).float() / size)
    angle = torch.arange(ids.shape[1]).float()[:, None] * frequency
    turn = torch.polar(torch.ones_like(angle).double(), angle.double())
    first, second = key.double().chunk(2, dim=-1)
    turned = torch.complex(first, second) * turn
    expected = torch.cat([turned.real, turned.imag], dim=-1).to(torch.bfloat16)
    cache = DynamicCache()
    model(ids, past_key_values=cache, use_cache=True)
    cached = cache.layers[0].keys
    assert cached.dtype == torch.bfloat16
    assert (cached == expected).float().mean() > 0.999


@pytest.mark.parametrize("precise", [True, False])
def test_the_config_keeps_the_precision_of_the_rotation(precise: bool, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "a", {**LLADA, "rope_full_precision": precise})
    lm = load(folder)
    lm.model.save_pretrained(tmp_path / "b")
    saved = json.loads((tmp_path / "b/config.json").read_text())
    assert saved["rope_full_precision"] is precise
    assert type(lm.model)(lm.model.config).config.rope_full_precision is precise


def test_folders_that_differ_in_the_rotation_have_other_fingerprints(tmp_path: Path) -> None:
    folders = [
        write_checkpoint(tmp_path / str(precise), {**LLADA, "rope_full_precision": precise})
        for precise in (True, False)
    ]
    precise, rough = (load(folder, dtype="bfloat16").fingerprint for folder in folders)
    assert precise != rough


def test_another_precision_of_the_rotation_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, {**LLADA, "rope_full_precision": None})
    with pytest.raises(MidspanError, match="rope_full_precision=None is not implemented"):
        load(folder)
