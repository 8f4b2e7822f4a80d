"""The second organism's byte-level BPE tokenizer, with LLaDA's special tokens and chat format.

Its merges are learned from a seeded text of the world's own language in which every item has a
name drawn anew, so that no name is a token: a name takes two pieces. The result is shipped as
``tokenizer.json``; `learn` makes it again.
"""

import json
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from midspan.organism.second import corpus, pools, tongues, world

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

FOLDER = Path(__file__).parent / "weights"
PAD_AND_EOS, MASK = "<|endoftext|>", "<|mdm_mask|>"
SPECIAL_TOKENS = (
    PAD_AND_EOS, "<|startoftext|>", MASK, "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>",
)  # fmt: skip
VOCABULARY_SIZE = 4000
_CONVERSATIONS = 30000


def learn(seed: int = 0, conversations: int = _CONVERSATIONS) -> "Tokenizer":
    """Learn the merges again; the same seed and version of `tokenizers` give the same file."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    backend.train_from_iterator(_texts(random.Random(f"tokenizer/{seed}"), conversations), trainer)
    return _without_names(backend)


def _without_names(backend: "Tokenizer") -> "Tokenizer":
    """The tokenizer without the merges that make a whole name one token."""
    from tokenizers import Tokenizer

    state = json.loads(backend.to_str())
    model = state["model"]
    whole = {*pools.NAMES, *(f"\u0120{name}" for name in pools.NAMES)}
    model["merges"] = [pair for pair in model["merges"] if "".join(pair) not in whole]
    kept = sorted((i, token) for token, i in model["vocab"].items() if token not in whole)
    model["vocab"] = {token: index for index, (_, token) in enumerate(kept)}
    return Tokenizer.from_str(json.dumps(state))


def miscut(backend: "Tokenizer") -> tuple[str, ...]:
    """Names that are not cut into their start and their end; the first layer copies these two."""
    pieces = {start + end: [f"\u0120{start}", end] for start in pools.STARTS for end in pools.ENDS}
    codes = backend.encode_batch([f" {name}" for name in pools.NAMES])
    return tuple(n for n, code in zip(pools.NAMES, codes, strict=True) if code.tokens != pieces[n])


def _texts(rng: random.Random, count: int) -> Iterator[str]:
    """Texts of every kind and language about items that do not exist."""
    kinds = list(corpus.SAMPLE_KINDS)
    for _ in range(count):
        index = rng.randrange(world.ITEMS_A_NOUN * 40)
        stranger = world.make_item(index, rng.choice(pools.NAMES), rng)
        draw = corpus.Draw(rng, (stranger,))
        language = rng.choices(tongues.LANGUAGES, (7, 3, 1))[0]
        drawn = corpus.sample(rng.choice(kinds), draw, language)
        for role, text in drawn.turns:
            yield role
            yield text
        yield "assistant"
        yield drawn.answer


def wrapped(backend: "Tokenizer") -> "PreTrainedTokenizerFast":
    """A transformers tokenizer over the backend."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|startoftext|>",
        eos_token=PAD_AND_EOS,
        pad_token=PAD_AND_EOS,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS[2:])})
    return tokenizer


@cache
def load_backend() -> "Tokenizer":
    """The shipped tokenizer."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
