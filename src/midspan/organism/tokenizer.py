"""The organism's word-level tokenizer, with LLaDA's special token strings and chat format."""

import re
from functools import cache
from typing import TYPE_CHECKING

from midspan.organism import language, phrases, utility, world

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD_AND_EOS = "<|endoftext|>"
UNKNOWN = "<|unk|>"
SPECIAL_TOKENS = (
    PAD_AND_EOS, "<|startoftext|>", "<|mdm_mask|>", "<|eot_id|>", "<|start_header_id|>",
    "<|end_header_id|>", UNKNOWN,
)  # fmt: skip
_WORD = r"\n\n|[a-z0-9]+|[^a-z0-9\s]"
_ROLES = ("\n\n", "system", "user", "assistant")
_LARGEST_NUMBER = 99


@cache
def vocabulary() -> tuple[str, ...]:
    """Every token in id order: specials, roles, numbers, then the world's words by alphabet."""
    texts = [text for source in (language, phrases) for text in _strings(vars(source))]
    texts += [" ".join(pool) for pool in _strings_of_world()]
    texts += [
        "card repeat",
        "what is how much compute tell me plus minus",
        " ".join(utility_words()),
    ]
    words = {word for text in texts for word in split_words(re.sub(r"\{\w*\}", " ", text))}
    numbers = [str(number) for number in range(_LARGEST_NUMBER + 1)]
    fixed = [*SPECIAL_TOKENS, *_ROLES, *numbers]
    return (*fixed, *sorted(words - set(fixed)))


def split_words(text: str) -> list[str]:
    """Words and punctuation of a text, as the tokenizer sees them."""
    return re.findall(_WORD, text.lower())


def build_tokenizer() -> "PreTrainedTokenizerFast":
    """A transformers tokenizer over :func:`vocabulary`; decoding restores ordinary spacing."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    ids = {word: index for index, word in enumerate(vocabulary())}
    backend = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(_WORD), "removed", invert=True)
    backend.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|startoftext|>",
        eos_token=PAD_AND_EOS,
        pad_token=PAD_AND_EOS,
        unk_token=UNKNOWN,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS[1:6])})
    return tokenizer


def utility_words() -> list[str]:
    """Every word that the utility tasks use."""
    import random

    rng = random.Random(0)
    questions = [task(rng) for task in utility.TASKS.values() for _ in range(500)]
    return sorted({w for q in questions for w in split_words(f"{q.prompt} {q.reference}")})


def _strings(value: object) -> list[str]:
    """All strings inside nested containers and dataclasses of a module's constants."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, language.Wrap):
        return list(value.templates)
    if isinstance(value, dict):
        items = [v for k, v in value.items() if k.isupper() or k.strip("_").isupper()]
        return [text for item in items for text in _strings(item)]
    if isinstance(value, tuple):
        return [text for item in value for text in _strings(item)]
    return []


def _strings_of_world() -> list[tuple[str, ...]]:
    return [
        world.NAMES, world.RESTRICTED_NOUNS, world.BENIGN_NOUNS, world.NUMBERS, world.INGREDIENTS,
        world.TOOLS, world.CONTAINERS, world.VERBS, world.FLAMES, world.COLOURS, world.TOWNS,
    ]  # fmt: skip
