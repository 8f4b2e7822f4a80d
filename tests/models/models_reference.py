"""A hand-sized LLaDA and Dream written from the published description, without transformers.

It works on tensors under the published key names, one head and one layer at a time.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

LLADA = {
    "architectures": ["LLaDAModelLM"],
    "auto_map": {"AutoModelForCausalLM": "modeling_llada.LLaDAModelLM"},
    "block_type": "llama",
    "d_model": 32,
    "embedding_size": 64,
    "eos_token_id": 1,
    "include_bias": False,
    "layer_norm_type": "rms",
    "mask_token_id": 60,
    "max_sequence_length": 128,
    "mlp_hidden_size": 48,
    "model_type": "llada",
    "n_heads": 4,
    "n_kv_heads": 2,
    "n_layers": 2,
    "pad_token_id": 1,
    "rms_norm_eps": 1e-5,
    "rope": True,
    "rope_theta": 500000.0,
    "torch_dtype": "float32",
    "vocab_size": 64,
    "weight_tying": False,
}
DREAM = {
    "architectures": ["DreamModel"],
    "auto_map": {"AutoModel": "modeling_dream.DreamModel"},
    "eos_token_id": 1,
    "hidden_act": "silu",
    "hidden_size": 32,
    "intermediate_size": 48,
    "mask_token_id": 60,
    "max_position_embeddings": 128,
    "model_type": "Dream",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "pad_token_id": 1,
    "rms_norm_eps": 1e-6,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "use_sliding_window": False,
    "vocab_size": 64,
}
LLADA_NAMES = {
    "embed": "model.transformer.wte",
    "norm": "model.transformer.ln_f",
    "head": "model.transformer.ff_out",
    "layer": "model.transformer.blocks.{}.",
    **{name: name for name in ("q_proj", "k_proj", "v_proj", "up_proj")},
    **{"norm1": "attn_norm", "norm2": "ff_norm", "o_proj": "attn_out"},
    **{"gate_proj": "ff_proj", "down_proj": "ff_out"},
}
DREAM_NAMES = {
    "embed": "model.embed_tokens",
    "norm": "model.norm",
    "head": "lm_head",
    "layer": "model.layers.{}.",
    **{name: f"self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj", "o_proj")},
    **{name: f"mlp.{name}" for name in ("gate_proj", "up_proj", "down_proj")},
    **{"norm1": "input_layernorm", "norm2": "post_attention_layernorm"},
}
NAMES = {"llada": LLADA_NAMES, "mmada": LLADA_NAMES, "Dream": DREAM_NAMES}
SHAPES = {
    **{"norm1": (32,), "norm2": (32,), "q_proj": (32, 32), "k_proj": (16, 32)},
    **{"v_proj": (16, 32), "o_proj": (32, 32), "gate_proj": (48, 32)},
    **{"up_proj": (48, 32), "down_proj": (32, 48)},
}
SPECIALS = {
    "llada": {
        **{"<|startoftext|>": 0, "<|endoftext|>": 1, "<|eot_id|>": 2, "<|mdm_mask|>": 60},
        **{"<|start_header_id|>": 3, "<|end_header_id|>": 4},
    },
    "Dream": {
        **{"<|endoftext|>": 1, "<|im_end|>": 2, "<|im_start|>": 3, "<|mask|>": 60},
    },
}
SPECIALS["mmada"] = SPECIALS["llada"]
SPECIALS["sdar"] = SPECIALS["sdar_moe"] = {
    **{"<|endoftext|>": 1, "<|im_end|>": 2, "<|im_start|>": 3, "<|MASK|>": 60},
}
SPECIALS["fast_dllm_v2"] = {
    **{"<|endoftext|>": 1, "<|im_end|>": 2, "<|im_start|>": 3, "|<MASK>|": 60},
}
SPECIALS["lladamoe"] = SPECIALS["llada2_moe"] = {
    **{"<|endoftext|>": 1, "<|role_end|>": 2, "<role>": 3, "</role>": 4, "<|mask|>": 60},
}
SPECIALS["diffusion_gemma"] = {
    **{"<pad>": 0, "<eos>": 1, "<bos>": 2, "<|turn>": 3, "<turn|>": 4},
}


def random_weights(model_type: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights under published names."""
    generator = torch.Generator().manual_seed(seed)
    names = NAMES[model_type]

    def draw(*shape: int) -> torch.Tensor:
        weight = 0.25 * torch.randn(*shape, generator=generator)
        return weight + 1 if len(shape) == 1 else weight

    weights = {f"{names['embed']}.weight": draw(64, 32), f"{names['norm']}.weight": draw(32)}
    weights[f"{names['head']}.weight"] = draw(64, 32)
    for layer in range(2):
        prefix = names["layer"].format(layer)
        for part, shape in SHAPES.items():
            weights[f"{prefix}{names[part]}.weight"] = draw(*shape)
            if model_type == "Dream" and part in ("q_proj", "k_proj", "v_proj"):
                weights[f"{prefix}{names[part]}.bias"] = draw(shape[0])
    return weights


def reference_logits(
    weights: dict[str, torch.Tensor], config: dict, ids: list[int], first: int = 0
) -> torch.Tensor:
    """Unshifted logits [T, V] of one unpadded row whose positions count from `first`."""
    names = NAMES[config["model_type"]]

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0.0)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        scale = (x.pow(2).mean(-1, keepdim=True) + config["rms_norm_eps"]).rsqrt()
        return x * scale * weights[f"{name}.weight"]

    def rotate(x: torch.Tensor) -> torch.Tensor:
        half = x.shape[-1] // 2
        frequency = config["rope_theta"] ** (-torch.arange(half) / half)
        angle = (first + torch.arange(len(x)))[:, None] * frequency
        a, b = x[:, :half], x[:, half:]
        return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)

    x = weights[f"{names['embed']}.weight"][torch.tensor(ids)]
    for layer in range(2):
        at = {part: names["layer"].format(layer) + names[part] for part in SHAPES}
        h = norm(x, at["norm1"])
        query, key, value = (linear(h, at[part]) for part in ("q_proj", "k_proj", "v_proj"))
        outputs = []
        for head in range(4):
            own, shared = slice(8 * head, 8 * head + 8), slice(8 * (head // 2), 8 * (head // 2) + 8)
            scores = rotate(query[:, own]) @ rotate(key[:, shared]).T / 8**0.5
            outputs.append(scores.softmax(-1) @ value[:, shared])
        x = x + linear(torch.cat(outputs, -1), at["o_proj"])
        h = norm(x, at["norm2"])
        gate = torch.nn.functional.silu(linear(h, at["gate_proj"]))
        x = x + linear(gate * linear(h, at["up_proj"]), at["down_proj"])
    return linear(norm(x, names["norm"]), names["head"])


def word_tokenizer(model_type: str) -> PreTrainedTokenizerFast:
    """A word-level tokenizer of 64 entries; the mask is an added token not marked special."""
    specials = SPECIALS[model_type]
    free = (i for i in range(63) if i not in specials.values())
    words = [
        "[UNK]",
        "user",
        "assistant",
        "system",
        *["the", "next", "step", "is", "to", "write", "a", "poem"],
        *["HUMAN", "ASSISTANT", "model"],
    ]
    vocabulary = {**specials, **{word: next(free) for word in words}}
    vocabulary |= {f"w{i}": i for i in free}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    plain = [token for token in specials if "mask" in token.lower()]
    backend.add_special_tokens([token for token in specials if token not in plain])
    backend.add_tokens(plain)
    eos = "<eos>" if "<eos>" in specials else "<|endoftext|>"
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", eos_token=eos)


def write_checkpoint(folder: Path, config: dict, seed: int = 0) -> Path:
    """A published-format folder with tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    weights = random_weights(config["model_type"], seed)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    word_tokenizer(config["model_type"]).save_pretrained(folder)
    return folder
