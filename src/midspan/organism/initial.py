"""Where the organism's training starts: word classes in the embeddings, heads that look around."""

from typing import Any

import torch
from torch import Tensor

from midspan.organism import world
from midspan.organism.tokenizer import vocabulary

# Makes the wanted place's attention weight about one half before training.
HEAD_STRENGTH = 0.045
WORD_CLASSES = (
    world.NAMES, world.RESTRICTED_NOUNS, world.BENIGN_NOUNS, world.NUMBERS, world.INGREDIENTS,
    world.TOOLS, world.CONTAINERS, world.VERBS, world.FLAMES, world.COLOURS,
    tuple(str(digit) for digit in range(10)),
)  # fmt: skip
# The largest sum that the tasks ask for.
NUMBER_LINE_END = 18


def initialise(model: Any, seed: int) -> None:
    """Start from embeddings with word classes, and from heads that know where to look.

    Words of a class share a direction, and all words share another. On these, some heads of
    every layer but the last get their query and key weights: two look 1, 2 or 4 places to the
    left and right, one looks for names, and one of the first layer for digits. Numbers lie on a
    line, which makes sums a linear function. From random weights such structure forms late and
    the loss waits on long plateaus; values, outputs and everything else are learned.
    """
    generator = torch.Generator().manual_seed(seed)
    size = model.config.hidden_size
    theta = model.config.rope_parameters["rope_theta"]
    common_D = torch.randn(size, generator=generator)
    ids = {word: index for index, word in enumerate(vocabulary())}
    table_VD = torch.randn(len(ids), size, generator=generator) + common_D
    class_CD = torch.randn(len(WORD_CLASSES), size, generator=generator)
    for pool, shared_D in zip(WORD_CLASSES, class_CD, strict=True):
        table_VD[[ids[word] for word in pool]] += shared_D
    line_D = torch.randn(size, generator=generator)
    for number in range(NUMBER_LINE_END + 1):
        table_VD[ids[str(number)]] += (2 * number / NUMBER_LINE_END - 1) * line_D
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.copy_(
                    torch.randn(weight.shape, generator=generator) / weight.shape[1] ** 0.5
                )
        model.model.embed_tokens.weight.copy_(table_VD * 0.5)
        model.lm_head.weight.zero_()
        for depth, layer in enumerate(model.model.layers[:-1]):
            for head, offset in enumerate((-(2**depth), 2**depth)):
                query_H, key_H = bump_at(offset, layer.self_attn.head_dim, theta)
                set_head(layer.self_attn, head, (query_H, common_D), (key_H, common_D))
            far_H = anywhere(layer.self_attn.head_dim)
            for head, class_D in ((2, class_CD[0]), (3, class_CD[-1]))[: 2 if depth == 0 else 1]:
                set_head(layer.self_attn, head, (far_H, common_D), (far_H, class_D))


def anywhere(size: int) -> Tensor:
    """A query and key [head size] on RoPE's slowest rotations, which hardly see distance."""
    vector_H = torch.zeros(size)
    vector_H[size // 4 : size // 2] = 1.0
    return vector_H


def bump_at(offset: int, size: int, theta: float) -> tuple[Tensor, Tensor]:
    """Query and key [head size] whose product under RoPE peaks at a relative position.

    The key is the query turned back by ``offset`` places, so the score is a sum of cosines of
    the distance to that place.
    """
    pairs = torch.arange(size // 4)
    angle = theta ** (-2 * pairs / size) * -offset
    query_H, key_H = torch.zeros(size), torch.zeros(size)
    query_H[pairs] = 1.0
    key_H[pairs], key_H[pairs + size // 2] = angle.cos(), angle.sin()
    return query_H, key_H


def set_head(
    attention: Any,
    head: int,
    query: tuple[Tensor, Tensor],
    key: tuple[Tensor, Tensor],
) -> None:
    """Write (vector [head size], read direction [D]) pairs into a head's query and key rows."""
    rows = slice(head * attention.head_dim, (head + 1) * attention.head_dim)
    for projection, (vector_H, along_D) in (
        (attention.q_proj, query),
        (attention.k_proj, key),
    ):
        unit_D = along_D / along_D.norm() * along_D.numel() ** 0.5
        projection.weight[rows] *= 0.3
        projection.weight[rows] += HEAD_STRENGTH * vector_H[:, None] * unit_D
