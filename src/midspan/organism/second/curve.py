"""What a model of the second organism knows while it trains: one line a checkpoint.

Every figure is read off canvases that are fully masked, where decoding starts: the share of
positions at which the likeliest token is the right one.
"""

import random
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from midspan.organism.second import corpus, pools, tongues
from midspan.organism.second.corpus import Draw
from midspan.organism.second.encoder import IGNORED, Encoder, Masking, causal_batch, diffusion_batch
from midspan.organism.second.world import items

if TYPE_CHECKING:
    from tokenizers import Tokenizer

KINDS = ("card", "fact", "short", "plain", "about", "talk", "arithmetic")
ROWS = 32
_SEED = 5


@torch.no_grad()
def measured(
    model: Any, encoder: Encoder, causal: bool = False, kinds: tuple[str, ...] = KINDS
) -> dict[str, dict[str, float]]:
    """Shares of right tokens by kind of sample, in English and in usual wordings.

    Args:
        model: In any state; left in training mode if it was.
        encoder: Its tokenizer.
        causal: Whether it is the autoregressive twin, which sees the answer before a token.
        kinds: Of `corpus.SAMPLE_KINDS`.

    Returns:
        By kind: ``tokens`` (of all), ``values`` (of those that state facts), ``among`` (the same,
        with the likeliest token of the right value's pool alone: a guess is right in 3 % of
        cases), ``names`` (of pieces of names). What a kind has none of is left out.
    """
    was_training = model.training
    model.eval()
    rng = random.Random(_SEED)
    found = {kind: _of_kind(model, encoder, causal, kind, rng) for kind in kinds}
    model.train(was_training)
    return found


def _of_kind(
    model: Any, encoder: Encoder, causal: bool, kind: str, rng: random.Random
) -> dict[str, float]:
    draw = Draw(rng, items(), 0.0)
    drawn = [corpus.sample(kind, draw, tongues.ENGLISH) for _ in range(ROWS)]
    rows = [encoder.sample(one, 0.0, rng) for one in drawn]
    batch = (
        causal_batch(rows, encoder, 1.0)
        if causal
        else diffusion_batch(rows, encoder, Masking(1.0), rng)
    )
    device = model.lm_head.weight.device
    hidden_BTD = model.model(
        batch["input_ids_BT"].to(device), attention_mask=batch["attention_BT"].to(device)
    )[0].cpu()
    chosen_BT = batch["labels_BT"] != IGNORED
    logits_NV = (hidden_BTD[chosen_BT].to(device) @ model.lm_head.weight.T).float().cpu()
    right_N = batch["labels_BT"][chosen_BT]
    hit_N = logits_NV.argmax(-1) == right_N
    pools_PV, names_V = _tokens(encoder.backend)
    shares = {"tokens": hit_N, "values": hit_N[encoder.value_V[right_N]]}
    shares["among"] = _among(logits_NV, right_N, pools_PV)
    shares["names"] = hit_N[names_V[right_N]]
    kept = {name: hits for name, hits in shares.items() if len(hits)}
    return {name: round(float(hits.float().mean()), 4) for name, hits in kept.items()}


def _among(logits_NV: Tensor, right_N: Tensor, pools_PV: Tensor) -> Tensor:
    """Whether the right value is the likeliest of its pool, of every value."""
    hits = []
    for pool_V in pools_PV:
        chosen_N = pool_V[right_N]
        inside_NV = logits_NV[chosen_N].masked_fill(~pool_V, -torch.inf)
        hits.append(inside_NV.argmax(-1) == right_N[chosen_N])
    return torch.cat(hits)


@cache
def _tokens(backend: "Tokenizer") -> tuple[Tensor, Tensor]:
    """The tokens of every pool, bool [pools, V], and those of names, bool [V]."""
    size = backend.get_vocab_size()
    pools_PV = torch.zeros(len(pools.FACT_POOLS), size, dtype=torch.bool)
    for row_V, pool in zip(pools_PV, pools.FACT_POOLS.values(), strict=True):
        row_V[[backend.encode(f" {word}").ids[0] for word in pool]] = True
    names_V = torch.zeros(size, dtype=torch.bool)
    names_V[[one for item in items() for one in backend.encode(f" {item.name}").ids]] = True
    return pools_PV, names_V
