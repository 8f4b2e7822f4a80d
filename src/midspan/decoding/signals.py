"""What monitors read of a step.

Shapes: A rows, R positions of a step, V vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from midspan.decoding.hooks import View


def end_probability(
    view: View, position_AR: Tensor, logits_ARV: Tensor, stop: Sequence[int]
) -> Tensor:
    """Probability of all end tokens together at each row's leftmost masked position, [A]."""
    open_AR = open_at(view, position_AR)
    first_A1 = position_AR.masked_fill(~open_AR, torch.iinfo(position_AR.dtype).max)
    first_A1 = first_A1.argmin(1, keepdim=True)
    index_A1V = first_A1[..., None].expand(-1, 1, logits_ARV.shape[-1])
    logits_AV = logits_ARV.gather(1, index_A1V)[:, 0]
    return logits_AV.softmax(-1)[:, list(stop)].sum(-1)


def log_odds(
    view: View,
    position_AR: Tensor,
    logits_ARV: Tensor,
    first: Sequence[int],
    second: Sequence[int],
) -> Tensor:
    """Log-odds of two sets of tokens, by their mass over the step's masked positions, [A]."""
    closed_AR = ~open_at(view, position_AR)
    masses = []
    total_AR = logits_ARV.logsumexp(-1)
    for tokens in (first, second):
        mass_AR = logits_ARV[..., list(tokens)].logsumexp(-1) - total_AR
        masses.append(mass_AR.masked_fill(closed_AR, -torch.inf).logsumexp(1))
    # What rules forbid altogether must leave a number.
    lowest = torch.finfo(logits_ARV.dtype).tiny
    one_A, other_A = (mass_A.exp().clamp(min=lowest).log() for mass_A in masses)
    return one_A - other_A


def open_at(view: View, position_AR: Tensor) -> Tensor:
    """True at positions of a step that are the canvas's own and masked, [A, R]."""
    size = view.open_AL.shape[1]
    inside_AR = (position_AR >= 0) & (position_AR < size)
    return view.open_AL.gather(1, position_AR.clamp(0, size - 1)) & inside_AR
