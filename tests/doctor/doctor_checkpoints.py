"""Published-format folders with a byte-level tokenizer of fewer entries than the model has rows."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from fixture_folders import PUBLISHED
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_CHATML_TOKENS = {"<|endoftext|>": 501, "<|im_start|>": 502, "<|im_end|>": 503}
SPECIAL = {
    "llada": {
        **{"<|endoftext|>": 1, "<|startoftext|>": 2, "<|eot_id|>": 3, "<|mdm_mask|>": 500},
        **{"<|start_header_id|>": 4, "<|end_header_id|>": 5},
    },
    "dream": {**_CHATML_TOKENS, "<|mask|>": 500},
    "sdar": {**_CHATML_TOKENS, "<|MASK|>": 500},
}


_MERGES = (("t", "h"), ("Ġ", "th"), ("th", "e"), ("Ġth", "e"), ("s", "t"), ("Ġ", "st"))


def write(
    folder: Path,
    family: str,
    template: str | None = None,
    normalizer: str | None = None,
    merges: Sequence[tuple[str, str]] = _MERGES,
) -> Path:
    """The golden weights of a family, 512 rows, under a tokenizer of 504 entries."""
    shutil.copytree(PUBLISHED / family, folder, ignore=shutil.ignore_patterns("cases.*"))
    special = SPECIAL[family]
    free = (i for i in range(504) if i not in special.values())
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "th", "Ġth", "the", "Ġthe", "st", "Ġst"]
    vocabulary = {**special, **{piece: next(free) for piece in pieces}}
    vocabulary |= {f"unused{i}": i for i in free}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    if normalizer is not None:
        backend.normalizer = getattr(normalizers, normalizer)()
    backend.add_special_tokens(list(special))
    end = "<|endoftext|>"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=end, pad_token=end)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder


def edit(file: Path, **fields) -> None:
    """Set fields of a JSON file, which may not exist yet."""
    old = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**old, **fields}))
