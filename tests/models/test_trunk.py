"""The bare trunk against transformers' modules: the same bits, or the modules themselves."""

import itertools
from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import Qwen3MoeConfig

from midspan.decoding.cache import SlotCache, Window
from midspan.models.a2d import (
    A2dLlamaConfig,
    A2dLlamaForMaskedDiffusion,
    A2dQwen3Config,
    A2dQwen3ForMaskedDiffusion,
)
from midspan.models.attention import block_causal_mask
from midspan.models.dream import DreamConfig, DreamForMaskedDiffusion
from midspan.models.llada import LladaConfig, LladaForMaskedDiffusion
from midspan.models.lladamoe import LLADA_MOE
from midspan.models.sdar import SdarConfig, SdarForMaskedDiffusion
from midspan.models.states import FINAL, captured
from midspan.models.trunk import lean_states

SIZES = {
    "vocab_size": 50, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2,
    "num_attention_heads": 6, "num_key_value_heads": 6, "max_position_embeddings": 128,
    "initializer_range": 0.3,
}  # fmt: skip
SHARED = SIZES | {"num_key_value_heads": 2}
MODELS = {
    "llada": (LladaForMaskedDiffusion, LladaConfig, SIZES),
    "llada, rotated as Llama": (
        *(LladaForMaskedDiffusion, LladaConfig),
        SIZES | {"rope_full_precision": False},
    ),
    "llada, shared keys": (LladaForMaskedDiffusion, LladaConfig, SHARED),
    "a2d-llama": (A2dLlamaForMaskedDiffusion, A2dLlamaConfig, SHARED),
    "dream": (DreamForMaskedDiffusion, DreamConfig, SHARED),
    "a2d-qwen3": (A2dQwen3ForMaskedDiffusion, A2dQwen3Config, SHARED | {"head_dim": 16}),
    "sdar": (SdarForMaskedDiffusion, SdarConfig, SHARED | {"head_dim": 16}),
}
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def made(name: str, dtype: torch.dtype):
    model_class, config_class, sizes = MODELS[name]
    torch.manual_seed(1)
    model = model_class(config_class(**sizes)).to(dtype).eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:  # Norms and biases as they are made would hide where they act.
            parameter.data = torch.randn(parameter.shape).to(dtype)
    return model


def adapted(model, dtype: torch.dtype, **fields):
    lora = LoraConfig(r=4, lora_alpha=12, target_modules=LINEAR, lora_dropout=0.1, **fields)
    wrapped = get_peft_model(model, lora)
    for key, parameter in wrapped.named_parameters():
        if ".lora_" in key:
            parameter.data = 0.2 * torch.randn(parameter.shape)
    return wrapped.to(dtype).eval()


def assert_same(base, ids, mask=None, positions=None, caches=(None, None)) -> None:
    """The bare operations know the model, and give the module's bits."""
    options = {} if caches[0] is None else {"past_key_values": caches[0]}
    expected = base.model(input_ids=ids, attention_mask=mask, position_ids=positions, **options)
    lean = lean_states(base, ids, mask, positions, caches[1])
    assert lean is not None
    assert lean.dtype == expected.last_hidden_state.dtype
    assert torch.equal(lean, expected.last_hidden_state)


def ragged(batch: int, length: int):
    """Ids, their left padding, and positions counted from the first real token."""
    ids = torch.randint(50, (batch, length))
    pads = torch.randint(max(1, length // 2), (batch, 1))
    pads[0] = 0
    real = (torch.arange(length) >= pads).long()
    return ids, real, (real.cumsum(-1) - 1).masked_fill(real == 0, 1)


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", MODELS)
def test_the_bits_are_the_modules(name: str, dtype: torch.dtype) -> None:
    base = made(name, dtype)
    for batch, length in itertools.product((1, 3), (1, 7, 40)):
        ids, real, positions = ragged(batch, length)
        assert_same(base, ids)
        assert_same(base, ids, torch.ones_like(real))
        assert_same(base, ids, real)
        assert_same(base, ids, real, positions)
        assert_same(base, ids, block_causal_mask(real, 4), positions)


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["llada", "dream", "sdar"])
def test_windows_over_a_cache(name: str, dtype: torch.dtype) -> None:
    base = made(name, dtype)
    ids, real, positions = ragged(3, 40)
    for mask in (None, real):
        caches = [SlotCache(2), SlotCache(2)]
        for first, last in ((0, 40), (20, 28), (20, 40), (28, 29)):
            for cache in caches:
                cache.fit(3, 40)
                whole = (first, last) == (0, 40)
                columns = slice(first, last)
                cache.window = Window(slice(0, 3), columns, None, slice(0, 40), is_fresh=whole)
            assert_same(base, ids[:, first:last], mask, positions[:, first:last], caches)
        for ours, theirs in zip(caches[1].layers, caches[0].layers, strict=True):
            assert torch.equal(ours.keys, theirs.keys)
            assert torch.equal(ours.values, theirs.values)


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_adapters_in_every_state(dtype: torch.dtype) -> None:
    base = made("llada", dtype)
    ids, real, _ = ragged(3, 20)
    plain = lean_states(base, ids, real)
    wrapped = adapted(base, dtype)
    wrapped.add_adapter("other", LoraConfig(r=2, target_modules=["q_proj"], use_rslora=True))
    wrapped.eval().to(dtype)
    attached = lean_states(base, ids, real)
    assert not torch.equal(attached, plain)
    assert_same(base, ids, real)
    wrapped.base_model.set_adapter(["default", "other"])
    assert_same(base, ids, real)
    wrapped.train()
    assert not torch.equal(
        *(lean_states(base, ids, real) for _ in range(2))
    )  # Dropout is left to its layer.
    wrapped.eval()
    wrapped.base_model.disable_adapter_layers()
    assert torch.equal(lean_states(base, ids, real), plain)
    wrapped.base_model.enable_adapter_layers()
    wrapped.merge_adapter(["default"])
    assert_same(base, ids, real)


@torch.inference_mode()
@pytest.mark.parametrize("fields", [{"use_dora": True}, {"lora_bias": True}, {}])
def test_other_adapters_are_called_layer_by_layer(fields) -> None:
    base = made("llada", torch.float32)
    wrapped = adapted(base, torch.float32, **fields)
    layer = base.model.layers[1].mlp.down_proj
    layer.base_layer.register_forward_hook(lambda module, args, output: output + 1)
    ids, real, _ = ragged(2, 20)
    assert_same(base, ids, real)
    wrapped.base_model.disable_adapter_layers()
    assert_same(base, ids, real)


@torch.inference_mode()
def test_what_a_hook_keeps_is_not_overwritten() -> None:
    base = made("llada", torch.float32)
    kept = []
    base.model.layers[0].mlp.down_proj.register_forward_hook(
        lambda module, args, output: kept.append((output, output.clone()))
    )
    assert_same(base, ragged(2, 20)[0])
    assert len(kept) == 2
    assert all(torch.equal(*pair) for pair in kept)


def test_whatever_else_a_model_is_runs_the_module(llada_lm) -> None:
    ids = torch.tensor([[5, 6, 7]])
    base = llada_lm.base

    def known() -> bool:
        with torch.no_grad():
            return lean_states(base, ids) is not None

    assert known()
    assert lean_states(base, ids) is None  # Gradients are wanted.
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert lean_states(base, ids) is None
    with torch.no_grad(), captured(llada_lm, [FINAL]) as states:
        llada_lm.hidden(ids)
        assert states[FINAL].shape == (1, 3, base.config.hidden_size)
    base.train()
    assert known()
    base.model.layers[1].self_attn.attention_dropout = 0.1
    assert not known()
    base.eval()
    assert known()
    base.set_attn_implementation("eager")
    assert not known()
    base.set_attn_implementation("sdpa")
    handle = base.model.layers[0].self_attn.register_forward_hook(lambda *_: None)
    assert not known()
    handle.remove()
    base.model.layers[1].mlp.compile(backend="eager")
    assert not known()


@torch.inference_mode()
def test_a_decode_takes_the_bare_operations(llada_lm, monkeypatch) -> None:
    """Its result is the module's; the module is not called."""
    ids = torch.tensor([[5, 6, 7]])
    lean = llada_lm.logits(ids)
    monkeypatch.setattr(
        type(llada_lm.base.model), "forward", lambda *args, **kwargs: pytest.fail("called")
    )
    assert torch.equal(llada_lm.logits(ids), lean)
    monkeypatch.undo()
    monkeypatch.setattr("midspan.models.model.lean_states", lambda *args: None)
    assert torch.equal(llada_lm.logits(ids), lean)


@torch.inference_mode()
def test_a_mixture_of_experts_is_not_known() -> None:
    sizes = SHARED | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    config = LLADA_MOE.config_class(**sizes)
    assert isinstance(config, Qwen3MoeConfig)
    base = LLADA_MOE.model_class(config).eval()
    assert lean_states(base, torch.tensor([[5, 6, 7]])) is None


@torch.inference_mode()
def test_rotations_follow_the_weights_to_another_format(llada_lm) -> None:
    ids = torch.tensor([[5, 6, 7, 8]])
    assert_same(llada_lm.base, ids)
    other = replace(llada_lm, model=llada_lm.base.to(torch.bfloat16))
    assert_same(other.base, ids)
    rotary = llada_lm.base.model.rotary_emb
    rotary.inv_freq = rotary.inv_freq * 2
    assert_same(llada_lm.base, ids)
