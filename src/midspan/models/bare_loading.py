"""Loading a LLaDA checkpoint for decoding alone, without transformers.

What is not known here to be what `loading.load` would accept is left to it, which says what is
wrong, or has another class for it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from midspan import files
from midspan.errors import MidspanError
from midspan.models.bare import BareConfig, BareModel, Heads, Rotary
from midspan.models.checkpoint import (
    Shapes,
    TensorFile,
    check_not_quantized,
    check_parts,
    compare_shapes,
    read_json,
    read_weights,
)
from midspan.models.digest import fingerprint, unusual
from midspan.models.llada_family import (
    ILLADA_VOCABULARY,
    LLADA_BLOCK,
    LLADA_VOCABULARY,
    PUBLISHED_CONSTANTS,
    llada_family,
)
from midspan.models.model import DiffusionLM
from midspan.models.plain_tokenizer import read_plain
from midspan.models.sources import parse_spec
from midspan.models.tokens import name_special_tokens, special_tokens
from midspan.models.trunk_parts import Layer, Norm, Projection, Trunk

BARE_LLADA = llada_family("llada", (BareConfig, BareModel), LLADA_VOCABULARY, LLADA_BLOCK)

_FORMATS = {
    "float32": ("F32", torch.float32),
    "bfloat16": ("BF16", torch.bfloat16),
    "float16": ("F16", torch.float16),
}
_COUNTS = (
    *("d_model", "n_layers", "n_heads", "n_kv_heads", "mlp_hidden_size", "max_sequence_length"),
    *("vocab_size", "embedding_size"),
)
_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "mask_token_id")
# Fields of which nothing here depends, and their values.
_WITHOUT_EFFECT: dict[str, tuple[Any, ...]] = {
    **{name: (value,) for name, value in PUBLISHED_CONSTANTS.items()},
    "architectures": (["LLaDAModelLM"],),
    "attention_dropout": (0.0,),
    "model_type": ("llada",),
    "rope_full_precision": (True,),
    "use_cache": (False,),
    "weight_tying": (False,),
}
_FREE = ("initializer_range", "transformers_version")
_GENERATION = (*_IDS, "_from_model_config", "output_attentions", "output_hidden_states")
_PLAIN = (bool, int, type(None))
_LAYER = "model.transformer.blocks."


def load_bare(spec: str) -> DiffusionLM | None:
    """A model for decoding alone on the CPU; None where `load` must say what it is.

    Args:
        spec: See `load`; a hub id is left to it, and so is an adapter.
    """
    if torch.cuda.is_available():
        return None
    try:
        source = parse_spec(spec)
        folder = files.user_path(source.base)
        if source.adapter is not None or not folder.is_dir():
            return None
        return _read(folder, spec)
    except MidspanError:
        return None


def _read(folder: Path, name: str) -> DiffusionLM | None:
    fields = read_json(folder / "config.json")
    check_not_quantized(folder, fields)
    check_parts(folder / "config.json", fields)
    if not _is_known(fields) or not _decodes_plainly(folder / "generation_config.json"):
        return None
    tokenizer: Any = read_plain(folder)
    if tokenizer is None:
        return None
    config = _config(fields)
    name_special_tokens(tokenizer, BARE_LLADA.special_tokens)
    tokens = special_tokens(tokenizer, config, BARE_LLADA)
    stored = read_weights(folder)
    stored_dtype, dtype = _FORMATS[fields["torch_dtype"]]
    shapes = {key: shape for file in stored for key, shape in file.shapes.items()}
    compare_shapes(shapes, _shapes(fields), str(folder))
    if any(entry["dtype"] != stored_dtype for file in stored for entry in file.tensors.values()):
        return None
    return DiffusionLM(
        model=_model(config, fields, stored),
        tokenizer=tokenizer,
        family=BARE_LLADA,
        tokens=tokens,
        name=name,
        max_length=min(BARE_LLADA.max_length, config.max_position_embeddings),
        fingerprint=fingerprint(
            stored, config.rope_parameters, dtype, "None", *unusual(fields, BARE_LLADA)
        ),
    )


def _is_known(fields: Mapping[str, Any]) -> bool:
    """Whether a config.json says nothing but what is computed here."""
    known = {*_COUNTS, *_IDS, *_WITHOUT_EFFECT, *_FREE, "rms_norm_eps", "rope_theta", "torch_dtype"}
    counts = [fields.get(name) for name in _COUNTS]
    has_sizes = all(type(count) is int and count > 0 for count in counts)
    if not has_sizes or not fields.keys() <= known or fields["vocab_size"] == ILLADA_VOCABULARY:
        return False
    return (
        fields["n_heads"] == fields["n_kv_heads"]
        and fields["d_model"] % fields["n_heads"] == 0
        and fields["d_model"] // fields["n_heads"] % 2 == 0
        and fields["vocab_size"] == fields["embedding_size"]
        and fields.get("model_type") == "llada"
        and fields.get("torch_dtype") in _FORMATS
        and all(type(fields.get(name)) is float for name in ("rms_norm_eps", "rope_theta"))
        and all(type(fields.get(name)) in (int, type(None)) for name in _IDS)
        and all(fields.get(name, values[0]) in values for name, values in _WITHOUT_EFFECT.items())
    )


def _decodes_plainly(file: Path) -> bool:
    """Whether a generation_config.json has nothing that transformers would check."""
    if not file.exists():
        return True
    fields = read_json(file)
    names = {*_GENERATION, "use_cache", "transformers_version"}
    plain = [value for name, value in fields.items() if name != "transformers_version"]
    return fields.keys() <= names and all(isinstance(value, _PLAIN) for value in plain)


def _config(fields: Mapping[str, Any]) -> BareConfig:
    return BareConfig(
        model_type="llada",
        num_hidden_layers=fields["n_layers"],
        num_key_value_heads=fields["n_kv_heads"],
        vocab_size=fields["vocab_size"],
        max_position_embeddings=fields["max_sequence_length"],
        rope_parameters={"rope_theta": fields["rope_theta"], "rope_type": "default"},
        bos_token_id=fields.get("bos_token_id"),
        eos_token_id=fields.get("eos_token_id"),
        pad_token_id=fields.get("pad_token_id"),
        mask_token_id=fields.get("mask_token_id"),
    )


def _shapes(fields: Mapping[str, Any]) -> Shapes:
    """The tensors of a published checkpoint."""
    width, feed, words = fields["d_model"], fields["mlp_hidden_size"], fields["vocab_size"]
    square = ("q_proj", "k_proj", "v_proj", "attn_out")
    layer: Shapes = {
        **dict.fromkeys(square, (width, width)),
        **dict.fromkeys(("attn_norm", "ff_norm"), (width,)),
        **dict.fromkeys(("ff_proj", "up_proj"), (feed, width)),
        "ff_out": (width, feed),
    }
    return {
        "model.transformer.wte.weight": (words, width),
        "model.transformer.ln_f.weight": (width,),
        "model.transformer.ff_out.weight": (words, width),
        **{
            f"{_LAYER}{index}.{name}.weight": shape
            for index in range(fields["n_layers"])
            for name, shape in layer.items()
        },
    }


def _model(config: BareConfig, fields: Mapping[str, Any], stored: list[TensorFile]) -> BareModel:
    tensors = {key: value for file in stored for key, value in load_file(file.path).items()}
    epsilon, width = fields["rms_norm_eps"], fields["d_model"] // fields["n_heads"]
    heads = Heads(width, width**-0.5)
    layers = (
        _layer(tensors, f"{_LAYER}{index}.", epsilon, heads) for index in range(fields["n_layers"])
    )
    embedding = nn.Embedding.from_pretrained(tensors["model.transformer.wte.weight"])
    head_VD = tensors["model.transformer.ff_out.weight"]
    head = nn.Linear(*head_VD.shape[::-1], bias=False, device="meta")
    head.weight = nn.Parameter(head_VD, requires_grad=False)
    trunk = Trunk(
        embedding=embedding.weight,
        rotary=Rotary(width, fields["rope_theta"]),
        layers=tuple(layers),
        norm=Norm(tensors["model.transformer.ln_f.weight"], epsilon, rounded_once=False),
    )
    return BareModel(config, trunk, embedding, head)


def _layer(tensors: Mapping[str, Tensor], prefix: str, epsilon: float, heads: Heads) -> Layer:
    def projection(name: str) -> Projection:
        return Projection(tensors[f"{prefix}{name}.weight"], None, ())

    def norm(name: str) -> Norm:
        return Norm(tensors[f"{prefix}{name}.weight"], epsilon, rounded_once=False)

    return Layer(
        norm=norm("attn_norm"),
        query=projection("q_proj"),
        key=projection("k_proj"),
        value=projection("v_proj"),
        query_norm=None,
        key_norm=None,
        output=projection("attn_out"),
        attention=heads,
        feed_norm=norm("ff_norm"),
        gate=projection("ff_proj"),
        up=projection("up_proj"),
        down=projection("ff_out"),
    )
