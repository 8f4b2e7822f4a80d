"""Folders with a config.json and a tokenizer of 64 words, and no weights."""

import json

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

ROWS = 64
_GEMMA = {
    "model_type": "diffusion_gemma",
    "architectures": ["DiffusionGemmaForBlockDiffusion"],
    "canvas_length": 32,
    "text_config": {
        "vocab_size": ROWS, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "layer_types": ["sliding_attention", "full_attention"], "max_position_embeddings": 256,
    },
}  # fmt: skip
_LLADA = {
    "model_type": "llada", "architectures": ["LLaDAModelLM"], "vocab_size": ROWS,
    "embedding_size": ROWS, "d_model": 32, "n_heads": 4, "n_kv_heads": 4, "n_layers": 2,
    "mlp_hidden_size": 48, "max_sequence_length": 256, "mask_token_id": 60, "eos_token_id": 1,
    "pad_token_id": 1, "block_type": "llama", "rope_theta": 500000.0, "rms_norm_eps": 1e-5,
    "weight_tying": False, "include_bias": False, "torch_dtype": "float32",
}  # fmt: skip
# Ids of special tokens by name; all others are words, "w30" being 30.
SPECIALS = {
    "diffusion_gemma": {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<|turn>": 3, "<turn|>": 4},
    "llada": {
        "<|startoftext|>": 0, "<|endoftext|>": 1, "<|start_header_id|>": 2,
        "<|end_header_id|>": 3, "<|eot_id|>": 4, "<|mdm_mask|>": 60,
    },
}  # fmt: skip
_CONFIGS = {"diffusion_gemma": _GEMMA, "llada": _LLADA}


def text_folder(folder, family):
    """Write the folder of a family."""
    specials = SPECIALS[family]
    words = {"[UNK]": 5, "user": 6, "model": 7, "assistant": 8}
    taken = {*specials.values(), *words.values()}
    vocabulary = specials | words | {f"w{i}": i for i in range(ROWS) if i not in taken}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens([name for name in specials if "mask" not in name])
    backend.add_tokens([name for name in specials if "mask" in name])
    eos = next(name for name, token in specials.items() if token == 1)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", eos_token=eos)
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(_CONFIGS[family]))
    return folder, tokenizer
