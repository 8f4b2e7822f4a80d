"""Rows that a device has not the memory for together go through a model in smaller batches."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

Result = TypeVar("Result")


def smaller_batches(
    batches: Sequence[Sequence[int]], compute: Callable[[Sequence[int]], Result]
) -> Iterator[tuple[Sequence[int], Result]]:
    """Each batch of rows with what was computed of it; halved, with all that wait, where it has to.

    Args:
        batches: Numbers of rows, the most expensive batch first.
        compute: The result of one batch.

    Raises:
        torch.OutOfMemoryError: A single row is too much.
    """
    waiting = list(batches)
    while waiting:
        batch, result = waiting[0], None
        try:
            result = compute(batch)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise
        if result is not None:
            del waiting[0]
            yield batch, result
            continue
        # Outside the except clause, which would keep the failed batch's tensors alive.
        size = -(-len(batch) // 2)
        after_out_of_memory(size)
        waiting = [
            rows[start : start + size] for rows in waiting for start in range(0, len(rows), size)
        ]


def after_out_of_memory(batch_size: int) -> None:
    """Say that batches are smaller from now on, and give back what the failed one held."""
    warnings.warn(f"out of memory: going on with batch_size={batch_size}", stacklevel=4)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
