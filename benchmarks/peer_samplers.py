"""Other tools' samplers as plain loops over the native module, from their published steps.

LLaDA's generate.py (ML-GSAI/LLaDA), Fast-dLLM's prefix and dual cache (NVlabs/Fast-dLLM, llada/)
and dllm's sampler of masked models (ZHZisZZ/dllm). All greedy, at low-confidence remasking. Each
computes what its source does at each step: logits of all positions that went in, and Fast-dLLM a
softmax in double precision. What a source computes and does not use is left out.
Shapes: B rows, T prompt and canvas, L canvas, Q columns that go in, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from midspan.models import DiffusionLM


@dataclass(frozen=True)
class Settings:
    """What is decoded: canvas, blocks, steps over the whole, and the threshold of Fast-dLLM."""

    length: int
    block: int
    steps: int
    threshold: float | None = None

    @property
    def blocks(self) -> int:
        """Blocks of the canvas."""
        return self.length // self.block


def even_counts(masks: int, steps: int) -> list[int]:
    """LLaDA's number of tokens a step: equal ones, the first ones one more."""
    return [masks // steps + (step < masks % steps) for step in range(steps)]


def linear_counts(masks: int, steps: int) -> list[int]:
    """dllm's, of its linear schedule: the share of what is left that the step unmasks."""
    counts = []
    for left in range(steps, 0, -1):
        # In single precision and by way of 1 - t, as there: the rounding decides halves.
        begin, end = (1 - (1 - torch.tensor(count / steps)) for count in (left, left - 1))
        share = 1 - (end / begin).double()
        counts.append(min(masks, int((masks * share).round())))
        masks -= counts[-1]
    return [count for count in counts if count]


def llada(lm: DiffusionLM, prompts: Sequence[Sequence[int]], how: Settings) -> Tensor:
    """LLaDA's loop; prompts stand left padded. Canvases [B, L]."""
    width = max(map(len, prompts))
    ids_BT, real_BT = _canvases(lm, prompts, how.length, [width - len(p) for p in prompts])
    given = None if real_BT.all() else real_BT
    starts = [width] * len(prompts)
    for block in range(how.blocks):
        end = width + (block + 1) * how.block
        masks_B = (ids_BT[:, end - how.block : end] == lm.tokens.mask).sum(1).tolist()
        steps = how.steps // how.blocks
        counts_BS = [even_counts(masks, steps) for masks in masks_B]
        for step in range(steps):
            _commit_surest(
                lm, ids_BT, given, [end] * len(prompts), [row[step] for row in counts_BS]
            )
    return _responses(ids_BT, starts, how.length)


def dllm(lm: DiffusionLM, prompts: Sequence[Sequence[int]], how: Settings) -> Tensor:
    """Dllm's MDLM sampler; prompts stand at the row's start, ends behind. Canvases [B, L]."""
    ids_BT, real_BT = _canvases(lm, prompts, how.length, [0] * len(prompts))
    starts = [len(prompt) for prompt in prompts]
    blocks = -(-how.length // how.block)
    steps = -(-how.steps // blocks)
    for block in range(blocks):
        first = block * how.block
        last = min(first + how.block, how.length)
        counts_BS = [
            linear_counts(int((row_T[at + first : at + last] == lm.tokens.mask).sum()), steps)
            for row_T, at in zip(ids_BT, starts, strict=True)
        ]
        ends = [start + first + how.block for start in starts]
        for step in range(max(map(len, counts_BS))):
            counts = [row[step] if step < len(row) else 0 for row in counts_BS]
            _commit_surest(lm, ids_BT, real_BT, ends, counts)
    return _responses(ids_BT, starts, how.length)


def fast_dllm(
    lm: DiffusionLM, prompts: Sequence[Sequence[int]], how: Settings, dual: bool
) -> Tensor:
    """Fast-dLLM's caches, for prompts of one length; a step waits for all rows. Canvases [B, L]."""
    width = len(prompts[0])
    ids_BT, _ = _canvases(lm, prompts, how.length, [0] * len(prompts))
    for block in range(how.blocks):
        first, last = width + block * how.block, width + (block + 1) * how.block
        counts = even_counts(how.block, how.steps // how.blocks)
        cache = _Held(lm.base.config.num_hidden_layers)
        logits_BQV = _forward(lm, ids_BT, 0, cache)
        _commit_sure(lm, ids_BT[:, :last], logits_BQV[:, :last], counts[0], how.threshold)
        if not dual:
            cache.cut(first)
        behind = last if dual else ids_BT.shape[1]
        step = 1
        while (ids_BT[:, first:last] == lm.tokens.mask).any():
            logits_BQV = _forward(lm, ids_BT[:, first:behind], first, cache)
            shown_BQV = logits_BQV[:, : how.block]
            count = counts[step] if how.threshold is None else 0
            _commit_sure(lm, ids_BT[:, first:last], shown_BQV, count, how.threshold)
            step += 1
    return ids_BT[:, width:]


class _HeldLayer(CacheLayerMixin):
    """A layer's keys and values: new ones replace those at their place, or stand behind."""

    is_sliding = False

    def __init__(self, held: "_Held") -> None:
        super().__init__()
        self.held = held

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Take the first ones."""
        self.keys, self.values, self.is_initialized = key_states, value_states, True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> Any:
        """All that a query sees."""
        first, count = self.held.first, key_states.shape[2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        elif self.keys.shape[2] >= first + count:
            self.keys[:, :, first : first + count] = key_states
            self.values[:, :, first : first + count] = value_states
        else:
            # What is behind the prefix is computed at every step, and not kept.
            return torch.cat([self.keys, key_states], 2), torch.cat([self.values, value_states], 2)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Columns that are held."""
        return self.keys.shape[2] if self.is_initialized else 0

    def get_max_length(self) -> int:
        """No limit."""
        return -1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Keys that a query sees, from the first on."""
        return max(self.get_seq_length(), self.held.first + int(query_length)), 0


class _Held(Cache):
    """The keys and values of a block; `first` is the column of the next forward's first id."""

    def __init__(self, layers: int) -> None:
        self.first = 0
        super().__init__(layers=[_HeldLayer(self) for _ in range(layers)])

    def cut(self, column: int) -> None:
        """Forget everything from a column on."""
        for layer in self.layers:
            layer.keys, layer.values = layer.keys[:, :, :column], layer.values[:, :, :column]


def _forward(lm: DiffusionLM, ids_BQ: Tensor, first: int, cache: _Held) -> Tensor:
    cache.first = first
    position_1Q = torch.arange(first, first + ids_BQ.shape[1])[None]
    options = {"position_ids": position_1Q, "past_key_values": cache, "use_cache": True}
    logits_BQV: Tensor = lm.model(input_ids=ids_BQ, **options).logits
    return logits_BQV


def _canvases(
    lm: DiffusionLM, prompts: Sequence[Sequence[int]], length: int, starts: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Rows with prompts and masks, and where they are real, both [B, T]."""
    total = max(map(len, prompts)) + length
    ids_BT = torch.full((len(prompts), total), lm.tokens.pad)
    real_BT = torch.zeros_like(ids_BT)
    for row, (prompt, start) in enumerate(zip(prompts, starts, strict=True)):
        middle = start + len(prompt)
        ids_BT[row, start:middle] = torch.tensor(prompt)
        ids_BT[row, middle : middle + length] = lm.tokens.mask
        real_BT[row, start : middle + length] = 1
    return ids_BT, real_BT


def _responses(ids_BT: Tensor, starts: Sequence[int], length: int) -> Tensor:
    if len(set(starts)) == 1:
        return ids_BT[:, starts[0] : starts[0] + length]
    rows = zip(ids_BT, starts, strict=True)
    return torch.stack([row_T[start : start + length] for row_T, start in rows])


def _commit_surest(
    lm: DiffusionLM,
    ids_BT: Tensor,
    real_BT: Tensor | None,
    ends: Sequence[int],
    counts: Sequence[int],
) -> None:
    """One step of LLaDA's kind, in place: each row's `counts` surest masks before `ends`."""
    open_BT = ids_BT == lm.tokens.mask
    logits_BTV = lm.model(input_ids=ids_BT, attention_mask=real_BT).logits
    token_BT = logits_BTV.argmax(-1)
    sure_BT = logits_BTV.softmax(-1).gather(-1, token_BT[..., None])[..., 0]
    for row, end in enumerate(ends):
        sure_BT[row, end:] = -torch.inf
    sure_BT = sure_BT.masked_fill(~open_BT, -torch.inf)
    for row, count in enumerate(counts):
        chosen = sure_BT[row].topk(count).indices
        ids_BT[row, chosen] = token_BT[row, chosen]


def _commit_sure(
    lm: DiffusionLM, ids_BQ: Tensor, logits_BQV: Tensor, count: int, threshold: float | None
) -> None:
    """One step of Fast-dLLM's kind, in place: `count` surest masks, or all above the threshold."""
    open_BQ = ids_BQ == lm.tokens.mask
    token_BQ = logits_BQV.argmax(-1)
    sure_BQ = logits_BQV.double().softmax(-1).gather(-1, token_BQ[..., None])[..., 0]
    sure_BQ = sure_BQ.masked_fill(~open_BQ, -torch.inf)
    for row in range(len(ids_BQ)):
        if threshold is None:
            chosen = sure_BQ[row].topk(count).indices
        else:
            ordered, chosen = sure_BQ[row].topk(int(open_BQ[row].sum()))
            above = ordered >= threshold
            above[:1] = True
            chosen = chosen[above]
        ids_BQ[row, chosen] = token_BQ[row, chosen]
