"""Rows of different lengths in one batch, their last tokens in line.

Shapes: B rows, T tokens of the longest.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def batches_by_length(sizes: Sequence[int], batch_size: int) -> list[list[int]]:
    """Which rows go together so that little is padded: the longest first.

    A batch ends where lengths change, unless it would be less than half full: rows of one length
    need no mask, and get what they get alone.

    Args:
        sizes: Tokens of each row.
        batch_size: The most rows.
    """
    order = sorted(range(len(sizes)), key=lambda row: -sizes[row])
    length = [sizes[row] for row in order] + [0]
    batches, start = [], 0
    while start < len(order):
        end = min(start + batch_size, len(order))
        changes = [
            at for at in range(start + -(-batch_size // 2), end) if length[at - 1] != length[at]
        ]
        if length[end - 1] == length[end] and changes:
            end = changes[-1]
        batches.append(order[start:end])
        start = end
    return batches


def left_padded(
    rows: Sequence[Sequence[int] | Tensor], pad: int, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor | None]:
    """Ids and attention of left-padded rows, both int64, [B, T].

    Args:
        rows: Token ids.
        pad: The token that fills rows up.
        device: Where the result is wanted.

    Returns:
        The ids, and 1 at the rows' own tokens and 0 at pads; None where nothing is padded.
    """
    reversed_rows = [torch.as_tensor(row, device="cpu").flip(0) for row in rows]
    ids_BT = pad_sequence(reversed_rows, batch_first=True, padding_value=pad).flip(1).to(device)
    sizes = [len(row) for row in rows]
    if len(set(sizes)) == 1:
        return ids_BT, None
    pads_B1 = max(sizes) - torch.tensor(sizes)[:, None]
    attention_BT = (torch.arange(max(sizes)) >= pads_B1).long().to(device)
    return ids_BT, attention_BT
