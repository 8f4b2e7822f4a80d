"""Where the second organism's training starts: word classes, pairs of translations, heads.

As in the first organism (`midspan.organism.initial`): from random weights, copying a name of
several pieces and binding it to facts wait on long plateaus.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from midspan.organism.initial import NUMBER_LINE_END, anywhere, bump_at, set_head
from midspan.organism.second import pools, tongues

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_OFFSETS = (1, 2, 4)


def initialise(model: Any, backend: "Tokenizer", seed: int) -> None:
    """Embeddings with word classes and translations, heads that look at neighbours and names.

    Args:
        model: A `LladaForMaskedDiffusion` or another Llama of its shape.
        backend: The tokenizer.
        seed: Of all random numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    size, theta = model.config.hidden_size, model.config.rope_parameters["rope_theta"]
    common_D = torch.randn(size, generator=generator)
    table_VD, name_D, digit_D = _embeddings(backend, common_D, generator)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                noise = torch.randn(weight.shape, generator=generator)
                weight.copy_(noise / weight.shape[1] ** 0.5)
        model.model.embed_tokens.weight.copy_(table_VD * 0.5)
        # The head answers what an attention head copies from the embeddings.
        model.lm_head.weight.copy_((table_VD - table_VD.mean(0)) / size**0.5)
        for depth, layer in enumerate(model.model.layers[:-1]):
            attention = layer.self_attn
            offset = _OFFSETS[min(depth, len(_OFFSETS) - 1)]
            for head, where in enumerate((-offset, offset)):
                query_H, key_H = bump_at(where, attention.head_dim, theta)
                set_head(attention, head, (query_H, common_D), (key_H, common_D))
            far_H = anywhere(attention.head_dim)
            for head, class_D in ((2, name_D), (3, digit_D))[: 2 if depth == 0 else 1]:
                set_head(attention, head, (far_H, common_D), (far_H, class_D))


def _embeddings(
    backend: "Tokenizer", common_D: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """The table [V, D], and the directions of name pieces and of digits."""
    size = len(common_D)
    table_VD = torch.randn(backend.get_vocab_size(), size, generator=generator) + common_D

    def direction(ids: Sequence[int]) -> Tensor:
        shared_D = torch.randn(size, generator=generator)
        table_VD[sorted(set(ids))] += shared_D
        return shared_D

    for pool in dict.fromkeys(pools.FACT_POOLS.values()):
        direction([one for word in pool if (one := _single(backend, word)) is not None])
    names = [" " + name for name in pools.NAMES]
    name_D = direction([one for code in backend.encode_batch(names) for one in code.ids])
    numbers = {
        n: [i for t in (str(n), f" {n}") if len(i := backend.encode(t).ids) == 1] for n in range(41)
    }
    digit_D = direction([ids[0] for n in range(10) for ids in numbers[n]])
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
    return table_VD, name_D, digit_D


def _single(backend: "Tokenizer", word: str) -> int | None:
    """The token of a word inside a sentence, where it is a single one."""
    ids = backend.encode(f" {word}").ids
    return int(ids[0]) if len(ids) == 1 else None
