"""Hand-sized SDAR, Fast-dLLM v2, LLaDA-MoE and LLaDA2 from the published description.

Without transformers, on tensors under the published key names: one head, one layer, one token's
experts at a time.
"""

import json
from pathlib import Path

import torch
from models_reference import word_tokenizer
from safetensors.torch import save_file
from torch.nn.functional import silu

SIZES = {
    "hidden_size": 32,
    "max_position_embeddings": 128,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "pad_token_id": 1,
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "vocab_size": 64,
}
SDAR = {
    **SIZES,
    "architectures": ["SDARForCausalLM"],
    "attention_bias": False,
    "auto_map": {"AutoModelForCausalLM": "modeling_sdar.SDARForCausalLM"},
    "block_size": 4,
    "head_dim": 16,
    "intermediate_size": 48,
    "mask_token_id": 60,
    "model_type": "sdar",
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "use_sliding_window": False,
}
# Its own eos and pad, of which the tokenizer numbers the latter otherwise: as published.
FAST_DLLM = {
    **SIZES,
    "architectures": ["Fast_dLLM_QwenForCausalLM"],
    "auto_map": {"AutoModelForCausalLM": "modeling.Fast_dLLM_QwenForCausalLM"},
    "bd_size": 32,
    "conplemenrary_mask": True,
    "eos_token_id": 2,
    "intermediate_size": 48,
    "layer_types": ["full_attention"] * 2,
    "model_type": "Fast_dLLM_Qwen",
    "pad_token_id": 2,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "use_cache": True,
    "use_sliding_window": False,
}
EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2}
SDAR_MOE = {
    **SDAR,
    **EXPERTS,
    "architectures": ["SDARMoeForCausalLM"],
    "model_type": "sdar_moe",
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "moe_intermediate_size": 16,
    "norm_topk_prob": True,
}
LLADA_MOE = {
    **SIZES,
    **EXPERTS,
    "architectures": ["LLaDAMoEModelLM"],
    "dense_intermediate_size": 48,
    "expert_intermediate_size": 16,
    "model_type": "llada",
    "moe_layer_freq": [0, 1],
    "moe_router_enable_expert_bias": False,
    "moe_router_score_function": "softmax",
    "norm_topk_prob": None,
    "partial_rotary_factor": 1,
    "qk_layernorm": True,
    "rms_norm_eps": 1e-5,
    "rope_theta": 50000.0,
    "routed_scaling_factor": 1,
    "shared_expert_intermediate_size": None,
}
LLADA2 = {
    **SIZES,
    **EXPERTS,
    "architectures": ["LLaDA2MoeModelLM"],
    "embedding_dropout": 0.0,
    "first_k_dense_replace": 1,
    "head_dim": 16,
    "intermediate_size": 48,
    "model_type": "llada2_moe",
    "moe_intermediate_size": 16,
    "n_group": 4,
    "norm_topk_prob": True,
    "num_shared_experts": 1,
    "output_dropout": 0.0,
    "partial_rotary_factor": 0.5,
    "rms_norm_eps": 1e-6,
    "rope_theta": 600000.0,
    "routed_scaling_factor": 2.5,
    "score_function": "sigmoid",
    "topk_group": 2,
    "use_bias": False,
    "use_qk_norm": True,
    "use_qkv_bias": False,
}
CONFIGS = {
    **{"sdar": SDAR, "sdar_moe": SDAR_MOE, "lladamoe": LLADA_MOE, "llada2_moe": LLADA2},
    "fast_dllm_v2": FAST_DLLM,
}
BLOCKS = {"sdar": 4, "sdar_moe": 4, "lladamoe": 10**6, "llada2_moe": 32, "fast_dllm_v2": 32}
DENSE_LAYERS = {
    **{"sdar": {0, 1}, "sdar_moe": set(), "lladamoe": {0}, "llada2_moe": {0}},
    "fast_dllm_v2": {0, 1},
}


def write_checkpoint(folder: Path, name: str, **change) -> Path:
    """A published-format folder with tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    if name == "fast_dllm_v2" and "block_size" in change:
        change["bd_size"] = change.pop("block_size")
    (folder / "config.json").write_text(json.dumps({**CONFIGS[name], **change}))
    save_file(random_weights(name), folder / "model.safetensors", metadata={"format": "pt"})
    word_tokenizer(name).save_pretrained(folder)
    return folder


def random_weights(name: str) -> dict[str, torch.Tensor]:
    """Weights under published names."""
    generator = torch.Generator().manual_seed(0)
    weights: dict[str, torch.Tensor] = {}

    def draw(key: str, *shape: int) -> None:
        weight = 0.25 * torch.randn(*shape, generator=generator)
        weights[f"{key}.weight"] = weight + 1 if len(shape) == 1 else weight

    def mlp(prefix: str, size: int) -> None:
        draw(f"{prefix}gate_proj", size, 32)
        draw(f"{prefix}up_proj", size, 32)
        draw(f"{prefix}down_proj", 32, size)

    llada2, head = name == "llada2_moe", CONFIGS[name].get("head_dim", 8)
    has_norms = name != "fast_dllm_v2"
    draw("model.word_embeddings" if llada2 else "model.embed_tokens", 64, 32)
    for layer in range(2):
        at = f"model.layers.{layer}."
        if llada2:
            draw(f"{at}attention.query_key_value", 8 * head, 32)
            draw(f"{at}attention.dense", 32, 4 * head)
        else:
            for part, heads in (("q", 4), ("k", 2), ("v", 2)):
                draw(f"{at}self_attn.{part}_proj", heads * head, 32)
                if not has_norms:
                    bias = 0.25 * torch.randn(heads * head, generator=generator)
                    weights[f"{at}self_attn.{part}_proj.bias"] = bias
            draw(f"{at}self_attn.o_proj", 32, 4 * head)
        names = ("attention.query_layernorm", "attention.key_layernorm")
        for part in names if llada2 else ("self_attn.q_norm", "self_attn.k_norm") * has_norms:
            draw(at + part, head)
        draw(f"{at}input_layernorm", 32)
        draw(f"{at}post_attention_layernorm", 32)
        if layer in DENSE_LAYERS[name]:
            mlp(f"{at}mlp.", 48)
            continue
        draw(f"{at}mlp.gate", 8, 32)
        for expert in range(8):
            mlp(f"{at}mlp.experts.{expert}.", 16)
        if llada2:
            mlp(f"{at}mlp.shared_experts.", 16)
            weights[f"{at}mlp.gate.expert_bias"] = 0.3 * torch.randn(8, generator=generator)
    draw("model.norm", 32)
    draw("lm_head", 64, 32)
    return weights


def aligned_reference(name: str, ids: list[int], block: int | None = None) -> torch.Tensor:
    """`reference_logits`, row i for position i."""
    raw = reference_logits(name, ids, block)
    return torch.cat([raw[:1], raw[:-1]]) if name == "fast_dllm_v2" else raw


def reference_logits(name: str, ids: list[int], block: int | None = None) -> torch.Tensor:
    """Unshifted logits [T, V] of one unpadded row."""
    weights, config = random_weights(name), CONFIGS[name]
    block = block or BLOCKS[name]
    embedding = "model.word_embeddings" if name == "llada2_moe" else "model.embed_tokens"
    x = weights[f"{embedding}.weight"][torch.tensor(ids)]
    for layer in range(2):
        part = {
            key.removeprefix(f"model.layers.{layer}."): value
            for key, value in weights.items()
            if key.startswith(f"model.layers.{layer}.")
        }
        x = x + _attention(_norm(x, part["input_layernorm.weight"], config), part, config, block)
        h = _norm(x, part["post_attention_layernorm.weight"], config)
        if layer in DENSE_LAYERS[name]:
            x = x + _mlp(h, part, "mlp.")
        else:
            x = x + torch.stack([_experts(token, part, name) for token in h])
    return _norm(x, weights["model.norm.weight"], config) @ weights["lm_head.weight"].T


def _norm(x: torch.Tensor, weight: torch.Tensor | None, config: dict) -> torch.Tensor:
    if weight is None:
        return x
    return weight * x * (x.pow(2).mean(-1, keepdim=True) + config["rms_norm_eps"]).rsqrt()


def _mlp(x: torch.Tensor, part: dict, at: str) -> torch.Tensor:
    gate, up, down = (part[f"{at}{name}_proj.weight"] for name in ("gate", "up", "down"))
    return (silu(x @ gate.T) * (x @ up.T)) @ down.T


def _attention(x: torch.Tensor, part: dict, config: dict, block: int) -> torch.Tensor:
    if "attention.dense.weight" in part:
        size = config["head_dim"]
        fused = part["attention.query_key_value.weight"]
        query, key, value = (x @ w.T for w in fused.split([4 * size, 2 * size, 2 * size]))
        norms = part["attention.query_layernorm.weight"], part["attention.key_layernorm.weight"]
        out = part["attention.dense.weight"]
    else:
        query, key, value = (
            x @ part[f"self_attn.{p}_proj.weight"].T + part.get(f"self_attn.{p}_proj.bias", 0.0)
            for p in "qkv"
        )
        norms = part.get("self_attn.q_norm.weight"), part.get("self_attn.k_norm.weight")
        out = part["self_attn.o_proj.weight"]
        size = query.shape[1] // 4
    blocks = torch.arange(len(x)) // block
    allowed = blocks[None, :] <= blocks[:, None]
    outputs = []
    for head in range(4):
        own, shared = (slice(size * h, size * h + size) for h in (head, head // 2))
        q = _rotate(_norm(query[:, own], norms[0], config), config)
        k = _rotate(_norm(key[:, shared], norms[1], config), config)
        scores = (q @ k.T / size**0.5).masked_fill(~allowed, -torch.inf)
        outputs.append(scores.softmax(-1) @ value[:, shared])
    return torch.cat(outputs, -1) @ out.T


def _rotate(x: torch.Tensor, config: dict) -> torch.Tensor:
    turned = int(x.shape[-1] * config.get("partial_rotary_factor", 1))
    half = turned // 2
    angle = torch.arange(len(x))[:, None] * config["rope_theta"] ** (-torch.arange(half) / half)
    a, b, rest = x[:, :half], x[:, half:turned], x[:, turned:]
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], -1)


def _experts(x: torch.Tensor, part: dict, name: str) -> torch.Tensor:
    """The experts' answer for one token."""
    scores = part["mlp.gate.weight"] @ x
    if name == "llada2_moe":
        scores = scores.sigmoid()
        rank = scores + part["mlp.gate.expert_bias"]
        groups = rank.view(4, 2).sum(1).topk(2).indices.tolist()
        rank = torch.tensor([r if i // 2 in groups else -1e9 for i, r in enumerate(rank.tolist())])
    else:
        rank = scores = scores.softmax(-1)
    chosen = rank.topk(2).indices.tolist()
    weight = {expert: float(scores[expert]) for expert in chosen}
    if name != "lladamoe":
        weight = {expert: w / sum(weight.values()) for expert, w in weight.items()}
    factor = 2.5 if name == "llada2_moe" else 1.0
    total = sum(w * factor * _mlp(x, part, f"mlp.experts.{e}.") for e, w in weight.items())
    return total + _mlp(x, part, "mlp.shared_experts.") if name == "llada2_moe" else total
