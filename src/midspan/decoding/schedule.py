"""How many tokens each forward commits, and where every row of a batch stands.

A span is what a step looks at: a block, or a part of one. What its forwards commit follows from its
open positions when the row enters it, so no forward is spent on committing nothing. What hooks, a
threshold or token editing change of that is taken up at the next step: a span is left when nothing
in it is open. Everything here rests on the host.
Shapes: B rows, L canvas, N spans, F forwards of a span.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from midspan.decoding.config import DecodingConfig

# LLaDA2.1's limit on forwards that only edit.
MAX_POST_STEPS = 16


def even_commits(masks: int, steps: int) -> list[int]:
    """LLaDA's schedule: `masks` spread evenly over `steps`, the remainder on the first ones."""
    base, remainder = divmod(masks, steps)
    return [base + (step < remainder) for step in range(steps)]


@lru_cache(maxsize=64)
def revealed_shares(steps: int) -> NDArray[np.float64]:
    """The share of the masks left that each step of dllm's linear schedule reveals, [steps].

    In single precision as published, whose rounding decides between halves.
    """
    left = np.arange(steps, 0, -1)
    masked_before, masked_after = (
        np.float32(1) - (np.float32(1) - (count / steps).astype(np.float32))
        for count in (left, left - 1)
    )
    return 1 - (masked_after / masked_before).astype(np.float64)


def rounded_commits(masks: int, steps: int) -> list[int]:
    """Dllm's schedule: what is masked over the steps left, halves rounded to even."""
    counts = []
    for share in revealed_shares(steps):
        counts.append(min(masks, round(float(masks * share))))
        masks -= counts[-1]
    return counts


@lru_cache(maxsize=64)
def linear_fractions(steps: int, eps: float) -> NDArray[np.float32]:
    """Dream's schedule: the share 1 - s/t of the open positions that each step commits, [steps].

    In torch's single precision, as published; the last step commits everything.
    """
    times = torch.linspace(1, eps, steps + 1)
    fractions = (1 - times[1:] / times[:-1]).numpy()
    fractions[-1] = 1
    return fractions


def linear_commits(masks: int, steps: int, eps: float) -> list[int]:
    """The counts that follow from `linear_fractions`, rounded down as published."""
    counts = []
    for fraction in linear_fractions(steps, eps):
        counts.append(int(np.float32(masks) * fraction))
        masks -= counts[-1]
    return counts


def random_times(uniform_L: NDArray[Any], steps: int, eps: float) -> NDArray[np.int64]:
    """The step at which each position is unmasked if every step unmasks each independently.

    Dream's "origin" rule. Step i leaves a position masked with probability s/t, so it is still
    masked after step i with probability t_(i+1): one uniform draw decides.
    """
    unmasked_by = 1 - np.linspace(1, eps, steps + 1)[1:]
    return np.searchsorted(unmasked_by, uniform_L, side="right").clip(max=steps - 1)


@lru_cache(maxsize=4096)
def block_commits(num_open: int, config: DecodingConfig) -> tuple[int, ...]:
    """What each forward of a span commits, at least 1 a forward.

    Args:
        num_open: Its open positions when it is entered.
        config: Says sampler, blocks and steps.
    """
    if config.commits_by_confidence:
        return (1,) * num_open
    if config.sampler == "dream":
        counts = linear_commits(num_open, config.steps, config.eps)
    elif config.schedule == "linear":
        counts = rounded_commits(num_open, config.steps_per_block)
    elif config.sampler == "block":  # LLaDA2 spreads the block, not what is open of it.
        counts = even_commits(config.block, config.steps_per_block)
    else:
        counts = even_commits(num_open, config.steps_per_block)
    return tuple(count for count in counts if count)


def drawn_commits(times_L: NDArray[np.int64], open_L: NDArray[np.bool_]) -> tuple[int, ...]:
    """What each forward commits where the step of each position was drawn (`random_times`)."""
    return tuple(count for count in np.bincount(times_L[open_L]).tolist() if count)


def span_starts(config: DecodingConfig, length: int, firsts_alone: bool) -> NDArray[np.int64]:
    """Where the spans of a canvas begin, [N].

    Args:
        config: Says blocks and what a step looks at of them.
        length: Of the canvas.
        firsts_alone: Whether the first position of each block is a span of its own, since the
            block before predicts it.
    """
    starts = np.arange(0, length, config.sub_block_length or config.block)
    if firsts_alone:
        starts = np.union1d(starts, np.arange(1, length, config.block))
    return starts


_ROW_STATE = ("open_BL", "block_B", "open_BN", "steps_B", "_forward_B", "_held_B", "_post_B")


class RowStates:
    """Where the rows of a batch stand.

    Attributes:
        open_BL: What is open, as last taken up.
        block_B: The span that a row is in; N where it has none left.
        open_BN: Open positions of each span.
        starts_N: Where the spans begin.
        steps_B: Forwards that a row took part in.
        times_BL: The drawn step of each position, else None.
        total: The most forwards that the schedule gives a row.
    """

    def __init__(
        self,
        config: DecodingConfig,
        open_BL: NDArray[np.bool_],
        times_BL: NDArray[np.int64] | None,
        firsts_alone: bool = False,
    ) -> None:
        rows = len(open_BL)
        self.config, self.firsts_alone = config, firsts_alone
        self.starts_N = span_starts(config, open_BL.shape[1], firsts_alone)
        self._sizes_N = np.diff(self.starts_N, append=open_BL.shape[1])
        self.times_BL = times_BL
        self.steps_B = np.zeros(rows, dtype=np.int64)
        self.block_B = np.full(rows, -1)
        self._forward_B = np.zeros(rows, dtype=np.int64)
        # Held in its block, though it is full: token editing goes on.
        self._held_B = np.zeros(rows, dtype=bool)
        self._post_B = np.zeros(rows, dtype=np.int64)
        self._plan_BF = np.ones((rows, 1), dtype=np.int64)
        self.update(open_BL)
        self.total = max(map(self._planned, range(rows)), default=0)

    def _planned(self, row: int) -> int:
        if self.times_BL is not None:
            return len(np.unique(self.times_BL[row]))
        return sum(len(block_commits(int(n), self.config)) for n in self.open_BN[row] if n)

    def update(self, open_BL: NDArray[np.bool_]) -> None:
        """Take up what is open now; rows move to the first span that has something open."""
        self.open_BL = open_BL
        self.open_BN = np.add.reduceat(open_BL.astype(np.int64), self.starts_N, axis=1)
        is_open_BN = self.open_BN > 0
        first_B = np.where(is_open_BN.any(1), is_open_BN.argmax(1), self.open_BN.shape[1])
        block_B = np.where(self._held_B, self.block_B, first_B)
        for row in np.flatnonzero((block_B != self.block_B) & (block_B < self.open_BN.shape[1])):
            if self.times_BL is not None:
                plan = drawn_commits(self.times_BL[row], open_BL[row])
            else:
                plan = block_commits(int(self.open_BN[row, block_B[row]]), self.config)
            self._enter(int(row), plan)
        self.block_B = block_B

    def _enter(self, row: int, plan: tuple[int, ...]) -> None:
        self._widen(len(plan) + 1)
        self._plan_BF[row] = 1
        self._plan_BF[row, : len(plan)] = plan
        self._forward_B[row] = self._post_B[row] = 0
        self._held_B[row] = self.config.editing_threshold is not None

    def _widen(self, forwards: int) -> None:
        missing = forwards - self._plan_BF.shape[1]
        if missing > 0:  # What a plan does not say is one token a forward.
            self._plan_BF = np.pad(self._plan_BF, ((0, 0), (0, missing)), constant_values=1)

    @property
    def between_blocks_B(self) -> NDArray[np.bool_]:
        """Rows that have just left a block."""
        return self._forward_B == 0

    @property
    def finished_B(self) -> NDArray[np.bool_]:
        """Rows with nothing left to do."""
        return self.block_B >= self.open_BN.shape[1]

    @property
    def kind_B(self) -> NDArray[np.int64]:
        """Equal for rows that may share a step, [B]."""
        if not self.firsts_alone and self.config.editing_threshold is None:
            # All spans are of one size, but for the last, which is filled up.
            return np.zeros_like(self.block_B)
        is_first_B = self.starts_N[self.block_B] % self.config.block == 0
        return 2 * self._sizes_N[self.block_B] + (is_first_B & self.firsts_alone)

    def spans(self, rows_A: NDArray[np.int64] | slice) -> tuple[NDArray[np.int64], int]:
        """Where the span of each row begins, [A], and the positions of the longest."""
        span_A = self.block_B[rows_A]
        return self.starts_N[span_A], int(self._sizes_N[span_A].max())

    def borders(self, rows_A: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """First and behind-last position of each row's span, [A]; both 0 where it has none."""
        starts_N = np.append(self.starts_N, 0)
        first_A = starts_N[self.block_B[rows_A]]
        last_A = first_A + np.append(self._sizes_N, 0)[self.block_B[rows_A]]
        return torch.from_numpy(first_A), torch.from_numpy(last_A)

    def progress(self, rows_A: NDArray[np.int64]) -> NDArray[np.float64]:
        """Share n / (N - 1) of a span's N steps that each row has behind it, [A], at most 1."""
        last = max(1, self.config.steps_per_block - 1)
        return np.minimum(self._forward_B[rows_A] / last, 1.0)

    def commits(self, rows_A: NDArray[np.int64]) -> NDArray[np.int64]:
        """What the next forward of each row commits by the schedule."""
        # The last column says what every later forward commits.
        forward_A = np.minimum(self._forward_B[rows_A], self._plan_BF.shape[1] - 1)
        planned_A = self._plan_BF[rows_A, forward_A]
        return np.minimum(planned_A, self.open_BN[rows_A, self.block_B[rows_A]])

    def advance(self, rows_A: NDArray[np.int64]) -> None:
        """Count a forward."""
        self.steps_B[rows_A] += 1
        self._forward_B[rows_A] += 1

    def settle(self, rows_A: NDArray[np.int64], edited_A: NDArray[np.bool_]) -> None:
        """Let rows leave a block that was full before the forward, where nothing was edited."""
        full_A = self.open_BN[rows_A, self.block_B[rows_A]] == 0
        self._post_B[rows_A] += full_A
        self._held_B[rows_A] = ~full_A | (edited_A & (self._post_B[rows_A] < MAX_POST_STEPS))

    def join(self, other: "RowStates") -> None:
        """Take in the rows of another batch."""
        forwards = max(self._plan_BF.shape[1], other._plan_BF.shape[1])
        for states in (self, other):
            states._widen(forwards)
        for name in (*_ROW_STATE, "_plan_BF"):
            setattr(self, name, np.concatenate([getattr(self, name), getattr(other, name)]))
        if self.times_BL is not None and other.times_BL is not None:
            self.times_BL = np.concatenate([self.times_BL, other.times_BL])
        self.total = max(self.total, other.total)

    def select(self, kept_B: NDArray[np.bool_]) -> None:
        """Keep these rows."""
        for name in (*_ROW_STATE, "_plan_BF"):
            setattr(self, name, getattr(self, name)[kept_B])
        if self.times_BL is not None:
            self.times_BL = self.times_BL[kept_B]
