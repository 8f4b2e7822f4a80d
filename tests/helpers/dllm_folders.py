"""Published folders of dllm's families with a tokenizer, as the tests load them."""

import json
import shutil
from pathlib import Path

from fixture_folders import PUBLISHED
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

WORDS = ("user", "assistant", "system", "the", "next", "step", "is", "to", "write", "a", "poem")
# Ids that the cases give, and what names them in the tokenizer. The masks are added at loading.
TOKENS = {
    "a2d-qwen3": {"<|im_end|>": 1, "<|endoftext|>": 2, "<|im_start|>": 3},
    "a2d-qwen2": {"<|im_end|>": 1, "<|endoftext|>": 2, "<|im_start|>": 3},
    "a2d-llama": {
        **{"<|end_of_text|>": 1, "<|begin_of_text|>": 2, "<|start_header_id|>": 3},
        **{"<|eot_id|>": 4, "<|end_header_id|>": 5},
    },
    "modernbert_chat": {"[PAD]": 3, "[CLS]": 4, "[SEP]": 5, "[MASK]": 506},
}
NAMED = {
    "a2d-qwen3": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    "a2d-qwen2": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    "a2d-llama": {"eos_token": "<|end_of_text|>", "bos_token": "<|begin_of_text|>"},
    "modernbert_chat": {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"},
}
SIZES = {"a2d-qwen3": 500, "a2d-qwen2": 500, "a2d-llama": 436, "modernbert_chat": 507}
QWEN_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content }}<|im_end|>{% endfor %}"
    "<|im_start|>assistant{% if enable_thinking is false %} the poem{% endif %}"
)


def write_folder(folder: Path, family: str, size: int | None = None, **config) -> Path:
    """The published tiny folder with a word tokenizer of `size` entries and changed fields."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(PUBLISHED / family / "model.safetensors", folder)
    fields = json.loads((PUBLISHED / family / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**fields, **config}))
    word_tokenizer(family, size or SIZES[family]).save_pretrained(folder)
    return folder


def word_tokenizer(family: str, size: int) -> PreTrainedTokenizerFast:
    """Specials at the cases' ids, "[UNK]" and words elsewhere."""
    specials = TOKENS[family]
    free = (i for i in range(size) if i not in specials.values())
    vocabulary = {**specials, **{word: next(free) for word in ("[UNK]", *WORDS)}}
    vocabulary |= {f"w{i}": i for i in free}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(list(specials))
    named = {"unk_token": "[UNK]", **NAMED[family]}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **named)
