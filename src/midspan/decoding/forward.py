"""What a step's forward computes: logits at the positions that the step looks at.

Three ways: everything anew, Fast-dLLM's prefix and dual cache, block diffusion. Each says which
rows and columns go through the model; positions, masks and the logit shift are `DiffusionLM`'s.
Shapes: B rows, A rows of a step, R positions of the current block, T prompt and canvas,
V vocabulary.
"""

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from midspan.decoding.canvas import Canvas
from midspan.decoding.config import BlockSampler, DecodingConfig, LladaSampler
from midspan.decoding.prefixes import Prefixes
from midspan.decoding.schedule import RowStates
from midspan.decoding.trim import TrimmedWindows
from midspan.decoding.windows import Borders, Windows, lengthened
from midspan.models.model import DiffusionLM

if TYPE_CHECKING:
    # It builds on transformers, which rows without a cache do not need.
    from midspan.decoding.cache import SlotCache

IntArray = NDArray[np.int64]
# Before any canvas and its prompt.
_NOTHING_FINAL = -(1 << 40)


class Wanted(NamedTuple):
    """What a step asks of the model.

    Attributes:
        rows_A: Rows of the batch that take part.
        position_AR: Canvas positions whose logits are wanted.
        start_A: Canvas position at which each row's span begins.
    """

    rows_A: IntArray
    position_AR: Tensor
    start_A: IntArray


class Forward(Protocol):
    """Logits for a batch."""

    def rows(self, canvas: Canvas, states: RowStates, limit: int) -> IntArray:
        """The rows that go next, at most `limit`."""

    def logits(self, canvas: Canvas, wanted: Wanted) -> Tensor:
        """Aligned logits [A, R, V] in single precision."""

    def select(self, kept_B: NDArray[np.bool_]) -> None:
        """Keep these rows of the batch only."""

    def clear(self, rows_B: NDArray[np.bool_]) -> None:
        """Let nothing be left of what was computed of these rows of the batch."""


def forward_for(lm: DiffusionLM, config: DecodingConfig) -> Forward:
    """The forward that the config asks for."""
    if config.sampler == "block":
        return BlockForward(lm, config)
    if config.sampler == "dream" or config.cache == "none":
        return FullForward(lm, config.guidance)
    return CachedForward(lm, config)


def rows_of(values_BX: Tensor, rows_A: NDArray[np.int64]) -> Tensor:
    """The rows of a step, without a copy where these are all."""
    if np.array_equal(rows_A, np.arange(len(values_BX))):
        return values_BX
    return values_BX[torch.from_numpy(rows_A).to(values_BX.device)]


def with_blind(
    lm: DiffusionLM, ids_BT: Tensor, attention_BT: Tensor | None, ends: int | Tensor
) -> tuple[Tensor, Tensor | None]:
    """The rows, and once more with what is left of column `ends` masked; the attention of both."""
    column_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)
    both_2BT = torch.cat([ids_BT, torch.where(column_T < ends, lm.tokens.mask, ids_BT)])
    return both_2BT, None if attention_BT is None else torch.cat([attention_BT, attention_BT])


def guided(logits_2BRV: Tensor, guidance: float) -> Tensor:
    """Logits under classifier-free guidance, of rows with and without their prompts."""
    given_BRV, blind_BRV = logits_2BRV.chunk(2)
    return blind_BRV + (guidance + 1) * (given_BRV - blind_BRV)


class FullForward:
    """Everything anew, guided or not."""

    def __init__(self, lm: DiffusionLM, guidance: float) -> None:
        self.lm, self.guidance = lm, guidance

    def rows(self, canvas: Canvas, states: RowStates, limit: int) -> IntArray:
        """See `Forward`: all."""
        return np.arange(len(canvas.rows))

    def logits(self, canvas: Canvas, wanted: Wanted) -> Tensor:
        """See `Forward`."""
        lm, ids_BT, attention_BT = self.lm, canvas.ids_BT, canvas.attention_BT
        rows_BR = canvas.width + wanted.position_AR
        where = {} if lm.block_length is None else {"canvas": canvas.width}
        if not self.guidance:
            return lm.logits(ids_BT, attention_BT, rows=rows_BR, **where).float()
        both_2BT, attention = with_blind(lm, ids_BT, attention_BT, canvas.width)
        rows = torch.cat([rows_BR, rows_BR])
        return guided(lm.logits(both_2BT, attention, rows=rows, **where).float(), self.guidance)

    def select(self, kept_B: NDArray[np.bool_]) -> None:
        """See `Forward`; nothing is held."""

    def clear(self, rows_B: NDArray[np.bool_]) -> None:
        """See `Forward`; nothing is held."""


class CachedForward:
    """Prefix and dual cache for models with full attention (Fast-dLLM, Wu et al. 2025).

    A block's first forward is over everything and keeps keys and values. Later ones are over the
    block and what is right of it ("prefix"), or over the block ("dual"); what they compute goes
    in the place of what was kept. Rows may be in different blocks, and each is renewed when it
    would be alone. A shifted family's windows begin one position earlier, since row i-1 predicts
    position i; Fast-dLLM's own Dream code duplicates a row instead.
    """

    def __init__(self, lm: DiffusionLM, config: LladaSampler) -> None:
        from midspan.decoding.cache import SlotCache

        self.lm, self.config = lm, config
        self.cache = SlotCache(lm.base.config.num_hidden_layers)
        self.windows = Windows(lm, self.cache)
        # The block for which a row's keys and values hold, and their forwards since they were new.
        self.start_B = np.zeros(0, dtype=np.int64)
        self.age_B = np.zeros(0, dtype=np.int64)
        # Of all rows, as `rows` left it for `logits`: which are renewed, and what is computed.
        self._is_stale_B = np.zeros(0, dtype=bool)
        self._borders_B: Borders = self.start_B, self.start_B
        self.trimmed = TrimmedWindows() if config.trim else None

    def rows(self, canvas: Canvas, states: RowStates, limit: int) -> IntArray:
        """See `Forward`."""
        count = len(canvas.rows)
        self.start_B = lengthened(self.start_B, count, -1)
        self.age_B = lengthened(self.age_B, count)
        start_B, _ = states.spans(slice(None))
        is_stale_B = self._is_stale(start_B)
        if self.trimmed is not None:
            self.trimmed.look(states.open_BL, start_B, self.config.block)
        first_B, last_B = self._borders(canvas, start_B, is_stale_B)
        self._is_stale_B, self._borders_B = is_stale_B, (first_B, last_B)
        self.cache.fit(count, canvas.ids_BT.shape[1])
        return self.windows.next_rows(last_B - first_B, states.kind_B, ~is_stale_B, limit)

    def _is_stale(self, start_B: IntArray) -> NDArray[np.bool_]:
        """Rows whose keys and values are renewed by their next forward."""
        stride = self.config.block * self.config.refresh_blocks
        is_stale_B: NDArray[np.bool_] = self.start_B < 0
        is_stale_B |= self.start_B // stride != start_B // stride
        if self.config.refresh_every is not None:
            is_stale_B |= self.age_B >= self.config.refresh_every
        return is_stale_B

    def _borders(self, canvas: Canvas, start_B: IntArray, is_stale_B: NDArray[np.bool_]) -> Borders:
        """First and behind-last columns of what is computed of each row."""
        total, block_start_B = canvas.ids_BT.shape[1], canvas.width + start_B
        last_B = np.full_like(block_start_B, total)
        if self.trimmed is not None:
            block_start_B, needed_B = canvas.width + self.trimmed.borders(np.arange(len(start_B)))
            last_B = np.where(is_stale_B, total, needed_B)
        elif self.config.cache == "dual":
            # The last block may be shorter.
            ends_B = np.minimum(block_start_B + self.config.block, total)
            last_B = np.where(is_stale_B, total, ends_B)
        first_B = np.maximum(block_start_B - int(self.lm.family.logit_shift), 0)
        return np.where(is_stale_B, canvas.first_B, first_B), last_B

    def logits(self, canvas: Canvas, wanted: Wanted) -> Tensor:
        """See `Forward`; of rows that `rows` chose, which nothing has changed since."""
        rows_A, start_A = wanted.rows_A, wanted.start_A
        is_stale_A, (first_B, last_B) = self._is_stale_B[rows_A], self._borders_B
        borders = first_B[rows_A], last_B[rows_A]
        are_new = bool((self.start_B[rows_A] < 0).all())
        self.age_B[rows_A] = np.where(is_stale_A, 0, self.age_B[rows_A]) + 1
        self.start_B[rows_A] = start_A
        position_AR = wanted.position_AR
        if self.trimmed is not None:
            position_AR = self.trimmed.inside(position_AR, rows_A)
            self.trimmed.computed(rows_A)
        return self.windows.logits(canvas, rows_A, position_AR, borders, are_new=are_new)

    def select(self, kept_B: NDArray[np.bool_]) -> None:
        """See `Forward`."""
        self.start_B = self.start_B[kept_B[: len(self.start_B)]]
        self.age_B = self.age_B[kept_B[: len(self.age_B)]]
        if self.trimmed is not None:
            self.trimmed.select(kept_B)
        self.windows.select(kept_B)

    def clear(self, rows_B: NDArray[np.bool_]) -> None:
        """See `Forward`."""
        self.windows.clear(rows_B)


class BlockForward:
    """Block diffusion: positions see their own block and those before it.

    With the cache, a block's first forward also takes the block before, now that it is final;
    what lies further left is never computed again. The prompt goes through once. With a logit shift
    a block's first position is wanted alone: its forward ends with the block before.
    """

    def __init__(self, lm: DiffusionLM, config: BlockSampler) -> None:
        from midspan.decoding.cache import SlotCache

        self.lm, self.config = lm, config
        self.cache: SlotCache | None = None
        if config.cache == "prefix":
            prefixes = Prefixes(config.block, from_end=lm.family.blocks_from == "canvas")
            self.cache = SlotCache(lm.base.config.num_hidden_layers, prefixes)
        self.windows = Windows(lm, self.cache)
        # What lies before is final, as canvases count.
        self.final_B = np.zeros(0, dtype=np.int64)
        # Of all rows, as `rows` left it for `logits`.
        self._borders_B: Borders = self.final_B, self.final_B
        # Of rows without a forward, the whole blocks of the prompt; None of others.
        self.new: list[IntArray | None] = []

    def rows(self, canvas: Canvas, states: RowStates, limit: int) -> IntArray:
        """See `Forward`."""
        count, waiting = len(canvas.rows), list[int]()
        entered = np.arange(len(self.final_B), count)
        self.final_B = lengthened(self.final_B, count, _NOTHING_FINAL)
        if self.cache is not None:
            self.cache.fit(count, canvas.ids_BT.shape[1])
            self.new += _prompts(canvas, entered)
            waiting = self._waiting(self.cache, canvas.length)
        first_B, last_B = self._borders_B = self._borders(canvas, states.spans(slice(None))[0])
        size_B = last_B - first_B
        size_B[waiting] = 0
        is_held_B = first_B > canvas.first_B
        return self.windows.next_rows(size_B, states.kind_B, is_held_B, limit)

    def _waiting(self, cache: "SlotCache", behind: int) -> list[int]:
        """Let new rows borrow what stands of their prompts; those that wait for one beside them.

        A row waits where another new one is about to compute at least half of its prompt.
        """
        waiting: list[int] = []
        computed: list[IntArray] = []
        for row, prompt in enumerate(self.new):
            if prompt is None:
                continue
            if self.final_B[row] == _NOTHING_FINAL:
                found = cache.prefixes.longest(prompt)
                held = 0 if found is None else found.size
                most = max((cache.prefixes.shared(prompt, one) for one in computed), default=0)
                if most > held and 2 * most >= len(prompt):
                    waiting.append(row)
                    continue
                if found is not None:
                    cache.borrow(row, prompt, found, behind)
                    self.final_B[row] = held - len(prompt)
            computed.append(prompt)
        return waiting

    def _borders(self, canvas: Canvas, start_B: IntArray) -> Borders:
        """First and behind-last columns of what is computed of each row."""
        block = self.config.block
        # Canvases begin at a block's border, so each row's own blocks end at the same columns.
        block_start_B = canvas.width + start_B // block * block
        last_B = np.minimum(block_start_B + block, canvas.ids_BT.shape[1])
        first_B = canvas.first_B
        if self.cache is not None:
            first_B = np.maximum(first_B, canvas.width + self.final_B)
        if self.lm.family.logit_shift:
            is_first_B = start_B % block == 0
            # At least one position is fed: a hook may have opened the block's first one again.
            first_B = np.where(is_first_B, np.minimum(first_B, block_start_B - 1), first_B)
            last_B = np.where(is_first_B, block_start_B, last_B)
        return first_B, last_B

    def logits(self, canvas: Canvas, wanted: Wanted) -> Tensor:
        """See `Forward`; of rows that `rows` chose, which nothing has changed since."""
        block, rows_A = self.config.block, wanted.rows_A
        first_B, last_B = self._borders_B
        borders = first_B[rows_A], last_B[rows_A]
        self.final_B[rows_A] = wanted.start_A // block * block
        if self.cache is not None:
            for row in rows_A.tolist():
                prompt, self.new[row] = self.new[row], None
                if prompt is not None:
                    self.cache.prefixes.by_slot[int(self.cache.slot_B[row])] = prompt
            return self.windows.logits(canvas, rows_A, wanted.position_AR, borders)
        ids_AQ = rows_of(canvas.ids_BT, rows_A)[:, : int(borders[1].max())]
        attention_AT = canvas.attention_BT
        if attention_AT is not None:
            attention_AT = rows_of(attention_AT, rows_A)
        rows_AR = canvas.width + wanted.position_AR
        if self.config.guidance:
            ends: int | Tensor = canvas.width
            if canvas.offset_B is not None:
                # The prompt's tail stands in the canvas.
                ends = canvas.width + rows_of(canvas.offset_B, rows_A)[:, None]
            ids_AQ, attention_AT = with_blind(self.lm, ids_AQ, attention_AT, ends)
            rows_AR = torch.cat([rows_AR, rows_AR])
        logits_ARV = self.lm.logits(ids_AQ, attention_AT, rows_AR, canvas=canvas.width).float()
        return guided(logits_ARV, self.config.guidance) if self.config.guidance else logits_ARV

    def select(self, kept_B: NDArray[np.bool_]) -> None:
        """See `Forward`."""
        known_B = kept_B[: len(self.final_B)]
        self.final_B = self.final_B[known_B]
        self.new = [one for one, kept in zip(self.new, known_B, strict=False) if kept]
        self.windows.select(kept_B)

    def clear(self, rows_B: NDArray[np.bool_]) -> None:
        """See `Forward`."""
        self.windows.clear(rows_B)


def _prompts(canvas: Canvas, rows_N: IntArray) -> list[IntArray]:
    """What stands before the canvases of rows, without padding, on the host."""
    if not len(rows_N):
        return []
    ids_NP = rows_of(canvas.ids_BT, rows_N)[:, : canvas.width].cpu().numpy()
    return [ids_P[first:] for ids_P, first in zip(ids_NP, canvas.first_B[rows_N], strict=True)]
