"""The best place of a phrase in a window (MOSA, Algorithm 1, GetMaxScore).

Shapes: B rows, L positions, P tokens of the longest phrase.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def best_starts(
    logp_BLP: Tensor, phrases: Sequence[Sequence[int]], allowed_BL: Tensor
) -> tuple[Tensor, Tensor]:
    """Best log-probability of each row's phrase over its start positions.

    Args:
        logp_BLP: Log-probability of the phrase's token p at every position.
        phrases: One a row; lengths may differ.
        allowed_BL: Where the phrase may start.

    Returns:
        Scores [B] in nats, through which gradients flow, and arg-max starts [B].
    """
    score_BL = start_scores(logp_BLP, phrases)
    best_B, start_B = score_BL.masked_fill(~allowed_BL, -torch.inf).max(1)
    return best_B, start_B


def start_scores(logp_BLP: Tensor, phrases: Sequence[Sequence[int]]) -> Tensor:
    """Log-probability [B, L] of each row's phrase from every start.

    Starts from which a phrase leaves the L positions have values without meaning.

    Args:
        logp_BLP: Log-probability of the phrase's token p at every position.
        phrases: One a row; lengths may differ.
    """
    length, longest = logp_BLP.shape[1:]
    offset_P = torch.arange(longest, device=logp_BLP.device)
    size_B11 = torch.tensor([[[len(phrase)]] for phrase in phrases], device=logp_BLP.device)
    # Token p of a phrase that starts at k stands at k + p: one read along diagonals.
    position_LP = torch.arange(length, device=logp_BLP.device)[:, None] + offset_P
    token_BLP = logp_BLP[:, position_LP.clamp(max=length - 1), offset_P]
    return token_BLP.masked_fill(offset_P >= size_B11, 0.0).sum(2)
