"""The weights of Llama's and Qwen's trunks, as `trunk.py` computes with them.

They are read anew at every forward, so that nothing can be stale: some twenty look-ups a layer.
"""

import sys
from typing import Any

from torch import nn
from torch.nn.modules import module as torch_module
from transformers.activations import SiLUActivation
from transformers.models.llama import modeling_llama as llama
from transformers.models.qwen2 import modeling_qwen2 as qwen2
from transformers.models.qwen3 import modeling_qwen3 as qwen3

from midspan.models.layers import (
    OnceRoundedRMSNorm,
    PreciseRotaryAttention,
    PreciseRotaryEmbedding,
)
from midspan.models.trunk_parts import Layer, Norm, Pair, Projection, Trunk

# Exact classes: what inherits from them may compute something else.
_TRUNKS = (llama.LlamaModel, qwen2.Qwen2Model, qwen3.Qwen3Model)
_LAYERS = (llama.LlamaDecoderLayer, qwen2.Qwen2DecoderLayer, qwen3.Qwen3DecoderLayer)
_ATTENTIONS = (
    *(llama.LlamaAttention, PreciseRotaryAttention),
    *(qwen2.Qwen2Attention, qwen3.Qwen3Attention),
)
_FEED_FORWARDS = (llama.LlamaMLP, qwen2.Qwen2MLP, qwen3.Qwen3MLP)
_ROTARIES = (
    *(llama.LlamaRotaryEmbedding, PreciseRotaryEmbedding),
    *(qwen2.Qwen2RotaryEmbedding, qwen3.Qwen3RotaryEmbedding),
)
_NORMS = (llama.LlamaRMSNorm, qwen2.Qwen2RMSNorm, qwen3.Qwen3RMSNorm, OnceRoundedRMSNorm)
_ACTIVATIONS = (nn.SiLU, SiLUActivation)
_LORA_PARTS = (nn.Linear, nn.Identity, nn.Dropout)


class _Unknown(Exception):
    """A module computes something else than what is written here."""


def read_trunk(base: Any) -> Trunk | None:
    """The weights of a native model's trunk; None where it is not known."""
    model, config = base.model, base.config
    if type(model) not in _TRUNKS or config._attn_implementation != "sdpa" or config.is_causal:
        return None
    if "sliding_attention" in (getattr(config, "layer_types", None) or ()):
        return None
    if torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks:
        return None
    try:
        return _read(model, config.num_hidden_layers)
    except _Unknown:
        return None


def _read(model: Any, num_layers: int) -> Trunk:
    _check(model, _TRUNKS)
    parts = model._modules
    embedded, rotary, layers = parts["embed_tokens"], parts["rotary_emb"], parts["layers"]
    _check(embedded, (nn.Embedding,))
    _check(rotary, _ROTARIES)
    is_usual = embedded.max_norm is None and rotary.rope_type == "default"
    if not is_usual or len(layers) != num_layers:
        raise _Unknown
    lora = _lora_class()
    read = tuple(_layer(layer, lora) for layer in layers._modules.values())
    return Trunk(embedded._parameters["weight"], rotary, read, _norm(parts["norm"]))


def _layer(layer: nn.Module, lora: type | None) -> Layer:
    _check(layer, _LAYERS)
    parts: dict[str, Any] = layer._modules
    attention, feed = parts["self_attn"], parts["mlp"]
    _check(attention, _ATTENTIONS)
    if attention.training and attention.attention_dropout:
        raise _Unknown
    _check(feed, _FEED_FORWARDS)
    inner, outer = attention._modules, feed._modules
    _check(outer["act_fn"], _ACTIVATIONS)
    query_norm, key_norm = inner.get("q_norm"), inner.get("k_norm")
    return Layer(
        norm=_norm(parts["input_layernorm"]),
        query=_linear(inner["q_proj"], lora),
        key=_linear(inner["k_proj"], lora),
        value=_linear(inner["v_proj"], lora),
        query_norm=None if query_norm is None else _norm(query_norm),
        key_norm=None if key_norm is None else _norm(key_norm),
        output=_linear(inner["o_proj"], lora),
        attention=attention,
        feed_norm=_norm(parts["post_attention_layernorm"]),
        gate=_linear(outer["gate_proj"], lora),
        up=_linear(outer["up_proj"], lora),
        down=_linear(outer["down_proj"], lora),
    )


def _norm(norm: Any) -> Norm:
    _check(norm, _NORMS)
    rounded_once = type(norm) is OnceRoundedRMSNorm
    return Norm(norm._parameters["weight"], norm.variance_epsilon, rounded_once)


def _linear(layer: Any, lora: type | None) -> Projection | nn.Module:
    """A linear layer, with adapters or without; the module where it is neither."""
    base: Any = layer
    pairs: tuple[Pair, ...] | None = ()
    if lora is not None and type(layer) is lora:
        base, pairs = base._modules["base_layer"], _pairs(base)
    if pairs is None or type(base) is not nn.Linear or not _is_plain(base):
        return layer
    return Projection(base._parameters["weight"], base._parameters["bias"], pairs)


def _pairs(layer: Any) -> tuple[Pair, ...] | None:
    """What LoRA adds to a layer; None where it is more than a product of two matrices."""
    if not _is_plain(layer) or (layer.disable_adapters and layer.merged):
        return None
    if layer.disable_adapters or layer.merged:
        return ()
    return _active_pairs(layer)


def _active_pairs(layer: Any) -> tuple[Pair, ...] | None:
    pairs, parts = [], layer._modules
    dtype = layer.get_base_layer().weight.dtype
    for name in layer.active_adapters:
        if name not in parts["lora_A"]:
            continue
        down, up = parts["lora_A"][name], parts["lora_B"][name]
        whole = (down, up, parts["lora_dropout"][name])
        is_known = all(type(part) in _LORA_PARTS and _is_plain(part) for part in whole)
        if not is_known or name in layer.lora_variant or down.weight.dtype != dtype:
            return None
        if down.bias is not None or _drops(whole[2]):
            return None
        pairs.append(Pair(down.weight, up.weight, up.bias, layer.scaling[name]))
    return tuple(pairs)


def _drops(dropout: nn.Module) -> bool:
    return isinstance(dropout, nn.Dropout) and dropout.training and dropout.p > 0


def _lora_class() -> type | None:
    """LoRA's linear layer; None where nothing has imported it, so that there is none."""
    module = sys.modules.get("peft.tuners.lora.layer")
    return None if module is None else module.Linear


def _check(module: Any, known: tuple[type, ...]) -> None:
    if type(module) not in known or not _is_plain(module):
        raise _Unknown


def _is_plain(module: Any) -> bool:
    """Whether nothing was added to a module."""
    own = module.__dict__
    return not (
        own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or "forward" in own
        or own.get("_compiled_call_impl")
    )
