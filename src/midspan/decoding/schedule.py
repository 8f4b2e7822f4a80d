"""How many tokens each forward commits, known before the first one.

A row's plan follows from its open positions alone, so that no step need look at the device and no
forward is spent on committing nothing. Rows of a batch advance through their own plans together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from midspan.decoding.config import DecodingConfig


class Stage(NamedTuple):
    """One forward of one row.

    Attributes:
        start: Canvas position at which the current block begins.
        open: Open positions of the block before the forward.
        commits: Positions that it commits, at least 1.
    """

    start: int
    open: int
    commits: int


def even_commits(masks: int, steps: int) -> list[int]:
    """LLaDA's schedule: `masks` spread evenly over `steps`, the remainder on the first ones."""
    base, remainder = divmod(masks, steps)
    return [base + (step < remainder) for step in range(steps)]


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


@lru_cache(maxsize=1024)
def _stages(
    open_per_block: tuple[int, ...], counts: tuple[tuple[int, ...], ...], block: int
) -> tuple[Stage, ...]:
    stages = []
    for index, masks in enumerate(open_per_block):
        for count in counts[index]:
            if count:
                stages.append(Stage(index * block, masks, count))
                masks -= count
    return tuple(stages)


def plan_row(
    open_L: NDArray[np.bool_], config: DecodingConfig, times_L: NDArray[np.int64] | None = None
) -> tuple[Stage, ...]:
    """The forwards of one row.

    Args:
        open_L: Canvas positions to fill.
        config: Says sampler, blocks and steps.
        times_L: The step of each position, where it was drawn (`random_times`).
    """
    per_block = tuple(open_L.reshape(config.num_blocks, config.block).sum(1).tolist())
    if times_L is not None:
        counts = [np.bincount(times_L[open_L], minlength=config.steps).tolist()]
    elif config.sampler == "dream":
        counts = [linear_commits(masks, config.steps, config.eps) for masks in per_block]
    else:
        counts = [even_commits(masks, config.steps_per_block) for masks in per_block]
    return _stages(per_block, tuple(map(tuple, counts)), config.block)


@dataclass
class Plan:
    """The plans of a batch, side by side: B rows, N forwards, zeros after a row's last.

    Attributes:
        start_BN: See `Stage`; on the device.
        commits_BN: See `Stage`; on the device.
        open_BN: See `Stage`.
        forwards_B: Length of each row's plan.
    """

    start_BN: Tensor
    commits_BN: Tensor
    open_BN: NDArray[np.int64]
    forwards_B: NDArray[np.int64]

    @classmethod
    def stack(cls, plans: Sequence[tuple[Stage, ...]], device: torch.device) -> Self:
        """Bring the plans of rows side by side."""
        forwards_B = np.array([len(plan) for plan in plans])
        table = np.zeros((len(plans), int(forwards_B.max()), len(Stage._fields)), dtype=np.int64)
        for row, plan in enumerate(plans):
            if plan:
                table[row, : len(plan)] = plan
        start_BN, commits_BN = (
            torch.from_numpy(column.copy()).to(device) for column in (table[..., 0], table[..., 2])
        )
        return cls(start_BN, commits_BN, table[..., 1], forwards_B)

    @property
    def total(self) -> int:
        """N."""
        return self.open_BN.shape[1]

    def select(self, kept: NDArray[np.bool_]) -> "Plan":
        """The kept rows, [B]."""
        index = torch.from_numpy(np.flatnonzero(kept)).to(self.start_BN.device)
        return Plan(
            self.start_BN[index], self.commits_BN[index], self.open_BN[kept], self.forwards_B[kept]
        )
