"""Tokenizers as published families have them, on hand-sized random models.

They are byte-level BPE with leading-space pieces: " the" and "the" are different tokens, every text
can be spelled, and nothing is unknown. Special tokens stand beside merely added ones (the mask of
LLaDA; ``<think>`` of Qwen3); the model has more rows than the tokenizer has entries, and the
vocabulary has a hole. `lm("Dream")` is a small one, `lm("Dream", published_size=True)` has the
published number of rows; `write_checkpoint` makes a folder of a small one.
"""

from functools import cache
from itertools import product
from pathlib import Path
from string import ascii_lowercase

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from midspan.models import DiffusionLM, family_for
from midspan.models.tokens import special_tokens

_TEXT = """
the next step is to write a poem about sea open file and then add salt water heat sure here how
therefore I cannot help with this request first user assistant system
"""
WORDS = _TEXT.split()
HOLE = 300

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# As LLaDA's own: contents are trimmed, and the assistant's header always ends the prompt.
LLADA_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
)
TRIMS = CHATML.replace("m['content']", "m['content'] | trim")
# As Qwen3's: thoughts of the assistant's earlier turns are taken out; thinking can be switched off.
STRIPS_THOUGHTS = (
    "{% for m in messages %}{% set text = m['content'] %}"
    "{% if m['role'] == 'assistant' and '</think>' in text %}"
    "{% set text = text.split('</think>')[-1].lstrip('\\n') %}{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ text }}<|im_end|>\n{% endfor %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}"
    "{% endif %}"
)
OPENS_THOUGHTS = CHATML.replace("assistant\n", "assistant\n<think>\n")
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role\nis not supported') }}{% endif %}"
) + CHATML
ALTERNATES = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% endfor %}"
) + CHATML
IN_PARTS = CHATML.replace(
    "{{ m['content'] }}", "{% for part in m['content'] %}{{ part['text'] }}{% endfor %}"
)
LAST_TURN_ALONE = (
    "<|im_start|>user\n{{ messages[-1]['content'] }}<|im_end|>\n{{ '<|im_start|>assistant\n' }}"
)
SYSTEM_ALONE = (
    "{% for m in messages if m['role'] == 'system' %}<|im_start|>{{ m['content'] }}{% endfor %}"
)
DOES_NOT_PARSE = "{% for m in messages %}{{ m['content'] }"

_CHAT = {"<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": 151645}
_HEADERS = {"<|start_header_id|>": 126346, "<|end_header_id|>": 126347, "<|eot_id|>": 126348}
_LLADA = {
    **{"model_type": "llada", "block_type": "llama", "layer_norm_type": "rms", "rope": True},
    **{"d_model": 32, "mlp_hidden_size": 48, "n_heads": 4, "n_kv_heads": 2, "n_layers": 2},
    **{"max_sequence_length": 256, "rms_norm_eps": 1e-5, "rope_theta": 500000.0},
    **{"include_bias": False, "weight_tying": False},
}
_QWEN = {
    **{"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "hidden_act": "silu"},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256},
    **{"rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "tie_word_embeddings": False},
    **{"use_sliding_window": False},
}
_SDAR = {"model_type": "sdar", "attention_bias": False, "block_size": 4, "head_dim": 8}
# Config, rows, special tokens and merely added ones with their published ids, chat template.
KINDS = {
    "llada": (
        _LLADA,
        126464,
        {"<|startoftext|>": 126080, "<|endoftext|>": 126081, **_HEADERS},
        {"<|mdm_mask|>": 126336},
        LLADA_TEMPLATE,
    ),
    "Dream": (_QWEN | {"model_type": "Dream"}, 152064, _CHAT, {"<|mask|>": 151666}, CHATML),
    "sdar": (
        _QWEN | _SDAR,
        151936,
        _CHAT,
        {"<|MASK|>": 151669, "<think>": 151667, "</think>": 151668, "<tool_call>": 151657},
        STRIPS_THOUGHTS,
    ),
}


def tokenizer(kind: str, published_size: bool = False) -> PreTrainedTokenizerFast:
    """The tokenizer of a kind; small ones have a hole at `HOLE`."""
    _, _, special, added, template = KINDS[kind]
    merges = _merges()
    ids = {**special, **added}
    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *map("".join, merges)]
    if published_size:
        fillers = _fillers(min(ids.values()) - len(words), set(words))
        merges, words = [*merges, *fillers], [*words, *map("".join, fillers)]
    else:
        first = len(words) + (len(words) > HOLE)
        ids = {text: first + number for number, text in enumerate(sorted(ids, key=ids.get))}
    free = (i for i in range(len(words) + 1) if published_size or i != HOLE)
    vocabulary = dict(zip(words, free, strict=False)) | ids
    backend = Tokenizer(models.BPE(vocabulary, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(text, special=True) for text in special])
    backend.add_tokens([AddedToken(text, special=False, normalized=False) for text in added])
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        bos_token="<|startoftext|>" if "<|startoftext|>" in special else None,
        padding_side="left",
    )
    made.chat_template = template
    return made


def lm(kind: str, published_size: bool = False, template: str | None = None) -> DiffusionLM:
    """A random model of two layers with the tokenizer of a kind."""
    fields, rows, *_ = KINDS[kind]
    made = _published_tokenizer(kind) if published_size else tokenizer(kind)
    if template is not None:
        made.chat_template = template
    family = family_for(fields["model_type"])
    ids = {text: made.convert_tokens_to_ids(text) for text in made.added_tokens_encoder}
    mask = next(i for text, i in ids.items() if "mask" in text.lower())
    end = ids["<|endoftext|>"]
    size = {"embedding_size": rows} if kind == "llada" else {}
    # Published embeddings are padded to a multiple; so is this one.
    rows = rows if published_size else -(-(max(ids.values()) + 9) // 8) * 8
    size = dict.fromkeys(("vocab_size", *size), rows)
    config = family.config_class.from_dict(
        fields | size | {"mask_token_id": mask, "eos_token_id": end, "pad_token_id": end}
    )
    torch.manual_seed(0)
    return DiffusionLM(
        model=family.model_class(config).eval(),
        tokenizer=made,
        family=family,
        tokens=special_tokens(made, config, family),
        name=kind,
        max_length=256,
        fingerprint=kind,
    )


def write_checkpoint(folder: Path, kind: str, template: str | None = None) -> Path:
    """The model of `lm` as a folder in its published format."""
    made = lm(kind, template=template)
    made.model.save_pretrained(folder)
    made.tokenizer.save_pretrained(folder)
    return folder


_published_tokenizer = cache(lambda kind: tokenizer(kind, published_size=True))


def _merges() -> list[tuple[str, str]]:
    """Merges under which each word is one token, with the space before it and without."""
    merges = {}
    for space in ("Ġ", ""):
        for word in WORDS:
            piece = space or word[0]
            for letter in word[len(piece) - len(space) :]:
                merges.setdefault((piece, letter))
                piece += letter
    return list(merges)


def _fillers(count: int, known: set[str]) -> list[tuple[str, str]]:
    """As many further merges, of two to four letters, none of which makes a known token."""
    fillers: dict[str, tuple[str, str]] = {}
    layer = list(ascii_lowercase)
    while True:
        longer = []
        for piece, letter in product(layer, ascii_lowercase):
            whole = piece + letter
            longer.append(whole)
            if whole not in known:
                fillers[whole] = (piece, letter)
            if len(fillers) == count:
                return list(fillers.values())
        layer = longer
