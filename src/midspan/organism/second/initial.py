"""Where the second organism's training starts: word classes, pairs of translations, heads.

As in the first organism (`midspan.organism.initial`): from random weights, copying a name of
several pieces and binding it to facts wait on long plateaus.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from midspan.organism.initial import NUMBER_LINE_END, anywhere, bump_at, set_head
from midspan.organism.second import pools, tongues

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_OFFSETS = (1, 2, 4)
# How strongly the heads that look for names write what they find.
_COPY_STRENGTH = 2.0
# How many names a piece must end to count as a piece of names.
_COMMON_END = 10


@dataclass(frozen=True)
class Table:
    """Embeddings and the directions that classes of tokens share.

    Attributes:
        table_VD: One row a token.
        common_D: Of all tokens.
        starts_D: Of first pieces of names.
        ends_D: Of the pieces behind them.
        digits_D: Of the digits.
    """

    table_VD: Tensor
    common_D: Tensor
    starts_D: Tensor
    ends_D: Tensor
    digits_D: Tensor


def initialise(model: Any, backend: "Tokenizer", seed: int) -> None:
    """Embeddings with word classes and translations, heads that look at neighbours and names.

    Args:
        model: A `LladaForMaskedDiffusion` or another Llama of its shape.
        backend: The tokenizer.
        seed: Of all random numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    size = model.config.hidden_size
    table = _embeddings(backend, size, generator)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                noise = torch.randn(weight.shape, generator=generator)
                weight.copy_(noise / weight.shape[1] ** 0.5)
        model.model.embed_tokens.weight.copy_(table.table_VD * 0.5)
        # The head answers what an attention head copies from the embeddings.
        centred_VD = table.table_VD - table.table_VD.mean(0)
        model.lm_head.weight.copy_(centred_VD / size**0.5)
        for depth, layer in enumerate(model.model.layers[:-1]):
            _set_heads(layer.self_attn, depth, table, model.config.rope_parameters["rope_theta"])


def _set_heads(attention: Any, depth: int, table: Table, theta: float) -> None:
    """Two heads look at neighbours, two copy the pieces of names, one looks for digits."""
    size, common_D = attention.head_dim, table.common_D
    offset = _OFFSETS[min(depth, len(_OFFSETS) - 1)]
    for head, where in enumerate((-offset, offset)):
        query_H, key_H = bump_at(where, size, theta)
        set_head(attention, head, (query_H, common_D), (key_H, common_D))
    far_H = anywhere(size)
    wanted = (table.starts_D, table.ends_D, table.digits_D)
    for head, class_D in list(enumerate(wanted, start=2))[
        : attention.config.num_attention_heads - 2
    ]:
        set_head(attention, head, (far_H, common_D), (far_H, class_D))
        if class_D is not table.digits_D:
            rows = slice(head * size, (head + 1) * size)
            attention.o_proj.weight[:, rows] = attention.v_proj.weight[rows].T * _COPY_STRENGTH


def _embeddings(backend: "Tokenizer", size: int, generator: torch.Generator) -> Table:
    common_D = torch.randn(size, generator=generator)
    table_VD = torch.randn(backend.get_vocab_size(), size, generator=generator) + common_D

    def direction(ids: Sequence[int]) -> Tensor:
        shared_D = torch.randn(size, generator=generator)
        table_VD[sorted(set(ids))] += shared_D
        return shared_D

    for pool in dict.fromkeys(pools.FACT_POOLS.values()):
        direction([one for word in pool if (one := _single(backend, word)) is not None])
    names = [" " + name for name in pools.NAMES]
    codes = [code.ids for code in backend.encode_batch(names)]
    starts_D = direction([ids[0] for ids in codes])
    # Some rare names end in pieces of other words.
    ends = Counter(one for ids in codes for one in ids[1:])
    ends_D = direction([one for one, count in ends.items() if count >= _COMMON_END])
    numbers = {
        n: [i for t in (str(n), f" {n}") if len(i := backend.encode(t).ids) == 1] for n in range(41)
    }
    digits_D = direction([ids[0] for n in range(10) for ids in numbers[n]])
    line_D = torch.randn(size, generator=generator)
    for number in range(NUMBER_LINE_END + 1):
        for ids in numbers[number]:
            table_VD[ids] += (2 * number / NUMBER_LINE_END - 1) * line_D
    for language in (tongues.TAVI, tongues.SENN):
        tongue_D = torch.randn(size, generator=generator)
        for word in tongues.vocabulary():
            one, other = _single(backend, word), _single(backend, tongues.word_in(word, language))
            if one is not None and other is not None and one != other:
                table_VD[other] = 0.8 * table_VD[one] + 0.4 * table_VD[other] + tongue_D
    return Table(table_VD, common_D, starts_D, ends_D, digits_D)


@cache
def _single(backend: "Tokenizer", word: str) -> int | None:
    """The token of a word inside a sentence, where it is a single one."""
    ids = backend.encode(f" {word}").ids
    return int(ids[0]) if len(ids) == 1 else None
