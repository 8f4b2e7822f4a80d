"""The nucleus filter (top-p; Holtzman et al. 2020) without sorting whole vocabularies.

Dream's published filter sorts every row. The likeliest tokens alone mostly fill the nucleus, so the
sort is left to the rows in which they do not, or in which rounding could move the border.
Shapes: N rows, V vocabulary, K likeliest tokens, M tokens as likely as the last one that stays.
"""

import torch
from torch import Tensor

_LIKELIEST = 1024
# Sums of probabilities differ by less than this, whatever the order in which they are taken.
_ROUNDING = 1e-5


def within_nucleus(logits_NV: Tensor, top_p: float, likeliest: int = _LIKELIEST) -> Tensor:
    """Logits with minus infinity outside the nucleus, [N, V].

    A token stays while those before it do not fill the nucleus; the first always stays. Of equally
    likely tokens the lower come first.

    Args:
        logits_NV: Logits, single precision.
        top_p: The nucleus' probability.
        likeliest: Tokens that are looked at before a row is sorted; vocabularies of no more than
            these are always sorted, and then no branch depends on values.
    """
    if logits_NV.shape[1] <= likeliest:
        return logits_NV.masked_fill(_outside(logits_NV, top_p), -torch.inf)
    out_NV, sure_N = _outside_of_likeliest(logits_NV, top_p, likeliest)
    if not sure_N.all():
        out_NV[~sure_N] = _outside(logits_NV[~sure_N], top_p)
    return logits_NV.masked_fill(out_NV, -torch.inf)


def _outside(logits_NV: Tensor, top_p: float) -> Tensor:
    """True outside the nucleus, by sorting the rows."""
    sorted_NV, order_NV = logits_NV.sort(dim=-1, descending=True, stable=True)
    probs_NV = sorted_NV.softmax(-1)
    out_NV = probs_NV.cumsum(-1) - probs_NV > top_p
    return torch.zeros_like(out_NV).scatter(-1, order_NV, out_NV)


def _outside_of_likeliest(logits_NV: Tensor, top_p: float, likeliest: int) -> tuple[Tensor, Tensor]:
    """True outside the nucleus [N, V], and the rows [N] where the likeliest tokens settle it."""
    best_NK = logits_NV.topk(likeliest, dim=-1).values
    probs_NK = (best_NK - logits_NV.logsumexp(-1, keepdim=True)).exp()
    before_NK = probs_NK.cumsum(-1) - probs_NK
    stays_NK = before_NK <= top_p
    is_clear_N = (before_NK - top_p).abs().amin(-1) >= _ROUNDING
    sure_N = is_clear_N & ~stays_NK[:, -1]

    count_N = stays_NK.sum(-1).clamp(min=1)
    last_N1 = best_NK.gather(-1, count_N[:, None] - 1)
    out_NV = logits_NV < last_N1
    # Of those as likely as the last one, the lowest stay, as many as the nucleus holds.
    row_M, token_M = ((logits_NV == last_N1) & sure_N[:, None]).nonzero(as_tuple=True)
    num_equal_N = torch.bincount(row_M, minlength=len(logits_NV))
    first_N = num_equal_N.cumsum(0) - num_equal_N
    rank_M = torch.arange(len(row_M), device=row_M.device) - first_N[row_M]
    room_N = count_N - (best_NK > last_N1).sum(-1)
    superfluous_M = rank_M >= room_N[row_M]
    out_NV[row_M[superfluous_M], token_M[superfluous_M]] = True
    return out_NV, sure_N
