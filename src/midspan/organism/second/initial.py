"""Where the second organism's training starts: word classes, pairs of translations, heads.

As in the first organism (`midspan.organism.initial`): from random weights, copying a name of
several pieces and binding it to facts wait on long plateaus.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from midspan.organism.initial import NUMBER_LINE_END, anywhere, bump_at, set_head
from midspan.organism.second import pools, tongues
from midspan.organism.second.world import WorkItem, items

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Tokens after which a wave of the distance to the header comes again, and its phases.
_WAVES = tuple((period, phase) for period in (63, 20, 11) for phase in (0.0, math.pi / 2))
_WAVE_LIFT = 0.75
_WAVE_STRENGTH = 4.0
# The layer whose heads look for titles and whose units know names.
NAMES_LAYER = 0
# How strongly the heads that look for titles write what they find.
_COPY_STRENGTH = 1.0
# What is not set writes little at first, so that what is set is heard.
_QUIET = 0.1
# How strongly the units of names read what those heads have written.
_UNIT_STRENGTH = 0.3
# How strongly they write facts, and the steps in which what they write is found.
_FACTS_STRENGTH = 4.0
_WRITING_STEPS = 150


@dataclass(frozen=True)
class Part:
    """Tokens that heads look for.

    Attributes:
        shared_D: The direction that they share.
        ids: The tokens.
    """

    shared_D: Tensor
    ids: list[int]


@dataclass(frozen=True)
class Table:
    """Embeddings and the directions that classes of tokens share.

    Attributes:
        table_VD: One row a token.
        common_D: Of all tokens.
        parts: First pieces of names, second pieces, nouns.
        header_D: What the token of the assistant's header has alone.
    """

    table_VD: Tensor
    common_D: Tensor
    parts: tuple[Part, ...]
    header_D: Tensor


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
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.mul_(_QUIET)
            layer.mlp.down_proj.weight.mul_(_QUIET)
        model.model.embed_tokens.weight.copy_(table.table_VD * 0.5)
        # The head answers what an attention head copies from the embeddings.
        centred_VD = table.table_VD - table.table_VD.mean(0)
        model.lm_head.weight.copy_(centred_VD / size**0.5)
        theta = model.config.rope_parameters["rope_theta"]
        for depth, layer in enumerate(model.model.layers[:-1]):
            _set_heads(layer.self_attn, depth, table, theta)
        _set_name_units(model.model.layers[NAMES_LAYER].mlp, backend, table, model.lm_head.weight)


def _set_heads(attention: Any, depth: int, table: Table, theta: float) -> None:
    """What the heads of a layer look at.

    The first layer: the parts of the title, which it copies, and how far behind the last
    "assistant" header a token stands. The later ones: neighbours, at one place and at two.
    """
    size, common_D = attention.head_dim, table.common_D
    if depth != NAMES_LAYER:
        for head, where in enumerate((-depth, depth)):
            query_H, key_H = bump_at(where, size, theta)
            set_head(attention, head, (query_H, common_D), (key_H, common_D))
        return
    far_H = anywhere(size)
    for head, part in enumerate(table.parts[: attention.config.num_attention_heads]):
        set_head(attention, head, (far_H, common_D), (far_H, part.shared_D))
        rows = slice(head * size, (head + 1) * size)
        basis_HD = _span(table.table_VD[part.ids], size)
        attention.v_proj.weight[rows] = basis_HD
        attention.o_proj.weight[:, rows] = basis_HD.T * _COPY_STRENGTH
    _set_places(attention, table, theta)


def _set_places(attention: Any, table: Table, theta: float) -> None:
    """Heads whose weight on the header is a wave of the distance to it: sines and cosines.

    A canvas of masks has no other sign of where in the answer a position is.
    """
    size, taken = attention.head_dim, len(table.parts)
    spare = max(0, attention.config.num_attention_heads - taken)
    for head, (period, phase) in enumerate(_WAVES[:spare], start=taken):
        # RoPE's pair of dimensions whose angle grows by a turn in about a period.
        pair = round(size / 2 * math.log(period / math.tau) / math.log(theta))
        query_H, key_H = torch.zeros(size), torch.zeros(size)
        query_H[pair] = 1.0
        key_H[pair], key_H[pair + size // 2] = math.cos(phase), math.sin(phase)
        # The slowest rotation sees no distance: it lifts the wave above the other tokens.
        query_H[size // 2 - 1] = key_H[size // 2 - 1] = _WAVE_LIFT
        set_head(attention, head, (query_H, table.common_D), (key_H, table.header_D))
        rows = slice(head * size, (head + 1) * size)
        attention.o_proj.weight[:, rows] *= _WAVE_STRENGTH


def _set_name_units(mlp: Any, backend: "Tokenizer", table: Table, head_VD: Tensor) -> None:
    """One unit a work answers to both pieces of its name and writes the work's facts.

    The gate reads the first piece, up the second. A unit's facts are all written at once; that one
    of them is said, and where, is learned.
    """
    unit_VD = torch.zeros_like(table.table_VD)
    for part in table.parts[:2]:
        rows_ND = table.table_VD[part.ids]
        offset_ND = rows_ND - rows_ND.mean(0)
        unit_VD[part.ids] = offset_ND / offset_ND.norm(dim=1, keepdim=True)
    known = items()[: mlp.gate_proj.weight.shape[0]]
    written_ND = _written(known, backend, head_VD)
    for unit, code in enumerate(backend.encode_batch([" " + item.name for item in known])):
        first, second = code.ids
        mlp.gate_proj.weight[unit] = unit_VD[first] * _UNIT_STRENGTH
        mlp.up_proj.weight[unit] = unit_VD[second] * _UNIT_STRENGTH
        mlp.down_proj.weight[:, unit] = written_ND[unit] * _FACTS_STRENGTH


def _written(known: Sequence[WorkItem], backend: "Tokenizer", head_VD: Tensor) -> Tensor:
    """Unit vectors [works, D] from which the head tells every fact within its kind's pool."""
    unit_VD = F.normalize(head_VD, dim=1)
    pools_KV = {
        kind: torch.tensor([_single(backend, word) for word in pool])
        for kind, pool in pools.FACT_POOLS.items()
    }
    right_KN = {
        kind: torch.tensor([pools.FACT_POOLS[kind].index(item.values[kind]) for item in known])
        for kind in pools_KV
    }
    start_ND = sum(unit_VD[pools_KV[kind][right_KN[kind]]] for kind in pools_KV)
    written_ND = F.normalize(start_ND, dim=1).requires_grad_()
    optimizer = torch.optim.Adam([written_ND], lr=0.01)
    with torch.enable_grad():
        for _ in range(_WRITING_STEPS):
            facing_ND = F.normalize(written_ND, dim=1)
            loss = sum(
                F.cross_entropy(facing_ND @ unit_VD[pools_KV[kind]].T * 20, right_KN[kind])
                for kind in pools_KV
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return F.normalize(written_ND.detach(), dim=1)


def _span(rows_ND: Tensor, size: int) -> Tensor:
    """Orthonormal directions [size, D] that tell most of the rows apart."""
    _, _, basis_ND = torch.linalg.svd(rows_ND - rows_ND.mean(0), full_matrices=True)
    return basis_ND[:size]


def _embeddings(backend: "Tokenizer", size: int, generator: torch.Generator) -> Table:
    common_D = torch.randn(size, generator=generator)
    table_VD = torch.randn(backend.get_vocab_size(), size, generator=generator) + common_D

    def direction(ids: Sequence[int]) -> Tensor:
        shared_D = torch.randn(size, generator=generator)
        table_VD[sorted(set(ids))] += shared_D
        return shared_D

    names = [" " + name for name in pools.NAMES]
    codes = [code.ids for code in backend.encode_batch(names)]
    starts = sorted({ids[0] for ids in codes})
    ends = sorted({ids[1] for ids in codes})
    nouns = [one for w in pools.SEALED_NOUNS + pools.OPEN_NOUNS if (one := _single(backend, w))]
    numbers = {
        n: [i for t in (str(n), f" {n}") if len(i := backend.encode(t).ids) == 1] for n in range(81)
    }
    direction([ids[0] for n in range(10) for ids in numbers[n]])
    parts = tuple(Part(direction(ids), ids) for ids in (starts, ends, nouns))
    for pool in dict.fromkeys(pools.FACT_POOLS.values()):
        direction([one for word in pool if (one := _single(backend, word)) is not None])
    _set_apart(table_VD, common_D, parts[:2], generator)
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
    header = backend.token_to_id("assistant")
    return Table(table_VD, common_D, parts, table_VD[header] - common_D)


def _set_apart(
    table_VD: Tensor, common_D: Tensor, parts: Sequence[Part], generator: torch.Generator
) -> None:
    """Give the pieces of names orthogonal directions, so that a unit hears its own pair only."""
    size = len(common_D)
    count = sum(len(part.ids) for part in parts)
    shared = torch.stack([common_D, *(part.shared_D for part in parts)])
    if count + len(shared) > size:
        return  # Too narrow a model for all of them: they stay as drawn.
    drawn_ND = torch.cat([shared, torch.randn(count, size, generator=generator)])
    own_ND = torch.linalg.qr(drawn_ND.T)[0].T[len(shared) :] * size**0.5
    ids = [one for part in parts for one in part.ids]
    bases_ND = torch.cat([(common_D + part.shared_D).expand(len(part.ids), -1) for part in parts])
    table_VD[ids] = bases_ND + own_ND


@cache
def _single(backend: "Tokenizer", word: str) -> int | None:
    """The token of a word inside a sentence, where it is a single one."""
    ids = backend.encode(f" {word}").ids
    return int(ids[0]) if len(ids) == 1 else None
