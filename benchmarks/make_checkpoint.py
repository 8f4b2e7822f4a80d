"""A checkpoint of LLaDA-8B's shape in the published format: random weights, a tokenizer to match.

Run: python benchmarks/make_checkpoint.py FOLDER [--layers 32] [--width 4096]

The whole takes 16 GB of disk; a layer of the full width takes 0.4 GB, embedding and head 2.1 GB.
config.json has the fields and values of LLaDA-8B-Instruct, the weights its key names and shards, in
bfloat16. The tokenizer is a byte-level BPE of 126,349 entries whose special tokens stand where
the published ones do; its merges are made up. Nothing is read from a network.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from string import ascii_lowercase

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

ROWS, WIDTH, MLP, LAYERS, HEAD_SIZE = 126_464, 4096, 12_288, 32, 128
FIRST_SPECIAL, LAST_SPECIAL = 126_080, 126_348
NAMED = {
    126_080: "<|startoftext|>", 126_081: "<|endoftext|>", 126_082: "[CLS]", 126_083: "[gMASK]",
    126_336: "<|mdm_mask|>", 126_346: "<|start_header_id|>", 126_347: "<|end_header_id|>",
    126_348: "<|eot_id|>",
}  # fmt: skip
TEMPLATE = (
    "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
SHARD_BYTES = 3 * 2**30


def published_config(layers: int, width: int, mlp: int) -> dict[str, object]:
    """What config.json of LLaDA-8B-Instruct says, but for the sizes."""
    auto = {"AutoConfig": "configuration_llada.LLaDAConfig"}
    auto |= dict.fromkeys(("AutoModel", "AutoModelForCausalLM"), "modeling_llada.LLaDAModelLM")
    heads = max(1, width // HEAD_SIZE)
    return {
        "activation_type": "silu", "alibi": False, "alibi_bias_max": 8.0,
        "architectures": ["LLaDAModelLM"], "attention_dropout": 0.0,
        "attention_layer_norm": False, "attention_layer_norm_with_affine": True,
        "auto_map": auto, "bias_for_layer_norm": False, "block_group_size": 1,
        "block_type": "llama", "d_model": width, "embedding_dropout": 0.0,
        "embedding_size": ROWS, "eos_token_id": 126_081, "flash_attention": False,
        "include_bias": False, "include_qkv_bias": False, "init_cutoff_factor": None,
        "init_device": "meta", "init_fn": "mitchell", "init_std": 0.02, "input_emb_norm": False,
        "layer_norm_type": "rms", "layer_norm_with_affine": True, "mask_token_id": 126_336,
        "max_sequence_length": 4096, "mlp_hidden_size": mlp, "mlp_ratio": 4,
        "model_type": "llada", "multi_query_attention": None, "n_heads": heads,
        "n_kv_heads": heads, "n_layers": layers, "pad_token_id": 126_081,
        "precision": "amp_bf16", "residual_dropout": 0.0, "rms_norm_eps": 1e-05, "rope": True,
        "rope_full_precision": True, "rope_theta": 500_000.0, "scale_logits": False,
        "torch_dtype": "bfloat16", "transformers_version": "4.46.3", "use_cache": False,
        "vocab_size": ROWS, "weight_tying": False,
    }  # fmt: skip


def shapes(layers: int, width: int, mlp: int) -> dict[str, tuple[int, ...]]:
    """Published key to shape."""
    trunk = "model.transformer"
    found: dict[str, tuple[int, ...]] = {f"{trunk}.wte.weight": (ROWS, width)}
    square, up = (width, width), (mlp, width)
    parts = {
        "attn_norm": (width,), "q_proj": square, "k_proj": square, "v_proj": square,
        "attn_out": square, "ff_norm": (width,), "ff_proj": up, "up_proj": up,
        "ff_out": (width, mlp),
    }  # fmt: skip
    for layer in range(layers):
        found |= {f"{trunk}.blocks.{layer}.{name}.weight": size for name, size in parts.items()}
    return found | {f"{trunk}.ln_f.weight": (width,), f"{trunk}.ff_out.weight": (ROWS, width)}


def _merges() -> Iterator[tuple[str, str]]:
    """Pairs of bytes, then words of three and four letters that begin with a space."""
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    yield from product(symbols, symbols)
    pairs = [left + right for left, right in product("Ġ" + ascii_lowercase, ascii_lowercase)]
    yield from product(pairs, ascii_lowercase)
    yield from product(pairs, pairs)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """126,349 entries, of which the last 269 are special."""
    vocabulary = {symbol: i for i, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = []
    for left, right in _merges():
        if left + right in vocabulary:
            continue
        vocabulary[left + right] = len(vocabulary)
        merges.append((left, right))
        if len(vocabulary) == FIRST_SPECIAL:
            break
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(
        [
            AddedToken(NAMED.get(i, f"<|reserved_token_{i}|>"), special=True, normalized=False)
            for i in range(FIRST_SPECIAL, LAST_SPECIAL + 1)
        ]
    )
    names = {"bos_token": NAMED[126_080], "eos_token": NAMED[126_081], "pad_token": NAMED[126_081]}
    return PreTrainedTokenizerFast(tokenizer_object=inner, chat_template=TEMPLATE, **names)


def _shards(sizes: dict[str, tuple[int, ...]]) -> list[dict[str, tuple[int, ...]]]:
    shards: list[dict[str, tuple[int, ...]]] = [{}]
    held = 0
    for key, size in sizes.items():
        held += 2 * torch.Size(size).numel()
        if held > SHARD_BYTES:
            shards.append({})
            held = 2 * torch.Size(size).numel()
        shards[-1][key] = size
    return shards


def _tensor(size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    if len(size) == 1:
        return torch.ones(size, dtype=torch.bfloat16)
    return torch.empty(size, dtype=torch.bfloat16).normal_(0, 0.02, generator=generator)


def write_checkpoint(
    folder: Path, layers: int = LAYERS, width: int = WIDTH, mlp: int | None = None
) -> None:
    """Write config, tokenizer and weights; a shard at a time is in memory."""
    mlp = mlp or 3 * width
    folder.mkdir(parents=True, exist_ok=True)
    make_tokenizer().save_pretrained(folder)
    config = published_config(layers, width, mlp)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    generator = torch.Generator().manual_seed(0)
    shards = _shards(shapes(layers, width, mlp))
    weight_map: dict[str, str] = {}
    total = 0
    for number, sizes in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = {key: _tensor(size, generator) for key, size in sizes.items()}
        save_file(tensors, folder / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, name)
        total += sum(tensor.nbytes for tensor in tensors.values())
        print(f"{name}: {total / 1e9:.1f} GB so far", flush=True)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--width", type=int, default=WIDTH, help="a multiple of 128")
    options = parser.parse_args(arguments)
    write_checkpoint(options.folder, options.layers, options.width)


if __name__ == "__main__":
    main()
