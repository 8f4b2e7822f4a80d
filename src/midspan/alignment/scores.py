"""Log-probabilities and KL at the positions that an objective needs, a tile of words at a time.

A vocabulary of 126,464 makes one float32 tensor of B x L x V the largest thing in training. Here
the head runs on wanted rows alone, and for all of them on a few words after another: each part of
the head is read once for every product with it, and what gradients with respect to the hidden
states need is summed on the way, so nothing of the vocabulary's size is kept.

Shapes: B rows, L response positions, N wanted positions of all rows, K tokens asked for at each,
M rows of policy and reference, D hidden width, V vocabulary, v words of a tile.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Direction = Literal["forward", "reverse"]
# Elements of one float32 tensor of rows x words: 4 MiB stay in a CPU's caches, and a GPU wants
# larger products.
TILE_ELEMENTS = {"cpu": 2**20, "cuda": 2**25}
# Words of a tile are a multiple of this.
ALIGNED = 64


@dataclass(frozen=True)
class Scores:
    """What was asked for, zero at positions that were not.

    Attributes:
        logp_BLK: Log-probabilities of the tokens under the policy, with gradient.
        reference_BLK: The same under the reference; zero without one.
        kl_BL: KL between policy and reference in nats, with gradient; zero where not asked for.
    """

    logp_BLK: Tensor
    reference_BLK: Tensor
    kl_BL: Tensor


@dataclass(frozen=True)
class ResponseStates:
    """What one forward pass leaves of the response: the hidden states that predict each position.

    Attributes:
        policy_BLD: With the adapter on.
        reference_BLD: With the adapter off; None where the objective needs no reference.
        head_VD: The frozen output layer.
        masked_BL: Positions that the model has to predict.
        direction: "forward" is KL(policy || reference), "reverse" the other way.
    """

    policy_BLD: Tensor
    reference_BLD: Tensor | None
    head_VD: Tensor
    masked_BL: Tensor
    direction: Direction = "forward"

    def score(
        self, where_BL: Tensor, tokens_BLK: Tensor | None = None, *, kl: bool = False
    ) -> Scores:
        """Score the positions where ``where_BL`` is true; no other goes through the head."""
        if tokens_BLK is None:
            tokens_BLK = torch.zeros(*where_BL.shape, 0, dtype=torch.long, device=where_BL.device)
        reference = self.reference_BLD
        assert reference is not None or not kl, "KL needs a reference"
        logp_NK, reference_NK, kl_N = _RowScores.apply(
            self.policy_BLD[where_BL],
            None if reference is None else reference[where_BL],
            self.head_VD,
            tokens_BLK[where_BL],
            self.direction if kl else None,
        )
        index = where_BL.nonzero(as_tuple=True)
        shape, size = where_BL.shape, tokens_BLK.shape[2]
        return Scores(
            logp_NK.new_zeros(*shape, size).index_put(index, logp_NK),
            reference_NK.new_zeros(*shape, size).index_put(index, reference_NK),
            kl_N.new_zeros(shape).index_put(index, kl_N),
        )


class _RowScores(torch.autograd.Function):
    """Scores of hidden states, whose gradients are vectors of the hidden width.

    With p and q the distributions of policy and reference, W the head and g the policy's logits
    minus the reference's: d log p(k) / dh = W[k] - E_p[W], d KL(p || q) / dh = E_p[g W] - E_p[g]
    E_p[W] and d KL(q || p) / dh = E_p[W] - E_q[W].
    """

    @staticmethod
    def forward(
        ctx: Any,
        policy_ND: Tensor,
        reference_ND: Tensor | None,
        head_VD: Tensor,
        tokens_NK: Tensor,
        direction: Direction | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        states = [policy_ND] if reference_ND is None else [policy_ND, reference_ND]
        softmax = _Softmax(torch.cat(states).to(head_VD.dtype), tokens_NK, direction)
        elements = TILE_ELEMENTS.get(head_VD.device.type, TILE_ELEMENTS["cuda"])
        # A tile as wide as the states is no larger than they are. Rows that begin at cache lines
        # make its products up to twice as fast.
        width = max(head_VD.shape[1], elements // max(1, len(softmax.states_MD)))
        width = max(ALIGNED, width - width % ALIGNED)
        for start in range(0, len(head_VD), width):
            softmax.add(head_VD[start : start + width], start)
        logp_MK, size = softmax.log_probabilities(), len(policy_ND)
        logp_NK = logp_MK[:size]
        other_NK = torch.zeros_like(logp_NK) if reference_ND is None else logp_MK[size:]
        kl_N, slope_ND = logp_NK.new_zeros(size), None
        if direction:
            kl_N, slope_ND = softmax.kl()
        ctx.save_for_backward(softmax.mean_ND(), slope_ND, head_VD, tokens_NK)
        ctx.mark_non_differentiable(other_NK)
        return logp_NK, other_NK, kl_N

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        logp_NK, _, kl_N = gradients
        mean_ND, slope_ND, head_VD, tokens_NK = ctx.saved_tensors
        gradient_ND = head_VD.new_zeros(len(tokens_NK), head_VD.shape[1])
        if tokens_NK.numel():
            weight_NK = logp_NK.to(head_VD.dtype)
            gradient_ND += F.embedding_bag(
                tokens_NK, head_VD, per_sample_weights=weight_NK, mode="sum"
            )
            gradient_ND -= weight_NK.sum(1, keepdim=True) * mean_ND
        if slope_ND is not None:
            gradient_ND += kl_N[:, None].to(head_VD.dtype) * slope_ND
        return gradient_ND, None, None, None, None


class _Softmax:
    """Sums over the vocabulary under M rows' distributions, one tile of words after another.

    The N rows of the policy come first, those of the reference behind them, so that one product
    gives the logits of both. A word weighs e^(logit - top), with top the highest logit so far; a
    higher one shrinks the sums.

    Args:
        states_MD: In the head's precision.
        direction: Of the KL, or None without one. It is the mean of g under one of the two
            distributions, and its slope needs g W there (forward), or W under both (reverse).
    """

    def __init__(self, states_MD: Tensor, tokens_NK: Tensor, direction: Direction | None) -> None:
        self.states_MD, self.direction = states_MD, direction
        self.size, rows = len(tokens_NK), len(states_MD)
        self.tokens_MK = torch.cat([tokens_NK, tokens_NK])[:rows]
        self.gap_rows = slice(self.size) if direction == "forward" else slice(self.size, rows)
        # Half precision is widened to float32; float64 stays, for numerical tests.
        precise = torch.promote_types(states_MD.dtype, torch.float32)
        self.token_MK = states_MD.new_zeros(self.tokens_MK.shape, dtype=precise)
        self.top_M1 = states_MD.new_full((rows, 1), -torch.inf, dtype=precise)
        self.mass_M1 = torch.zeros_like(self.top_M1)
        means = rows if direction == "reverse" else self.size
        self.sum_W = states_MD.new_zeros(means, states_MD.shape[1], dtype=precise)
        self.sum_g = torch.zeros_like(self.top_M1[: self.size])
        self.sum_gW = torch.zeros_like(self.sum_W[: self.size])

    def add(self, head_vD: Tensor, start: int) -> None:
        """Add the words from ``start`` on."""
        logits_Mv = (self.states_MD @ head_vD.T).to(self.mass_M1.dtype)
        word_MK = self.tokens_MK - start
        here_MK = (word_MK >= 0) & (word_MK < len(head_vD))
        logit_MK = logits_Mv.gather(1, word_MK.clamp(0, len(head_vD) - 1))
        self.token_MK = torch.where(here_MK, logit_MK, self.token_MK)
        if self.direction:
            gap_Nv = logits_Mv[: self.size] - logits_Mv[self.size :]
        top_M1 = torch.maximum(self.top_M1, logits_Mv.amax(1, keepdim=True))
        shrink_M1 = (self.top_M1 - top_M1).exp()
        self.top_M1 = top_M1
        weight_Mv = logits_Mv.sub_(top_M1).exp_()
        self.mass_M1.mul_(shrink_M1).add_(weight_Mv.sum(1, keepdim=True))
        means = len(self.sum_W)
        self.sum_W.mul_(shrink_M1[:means]).add_(weight_Mv[:means].to(head_vD.dtype) @ head_vD)
        if self.direction:
            gap_Nv.mul_(weight_Mv[self.gap_rows])
            shrink_N1 = shrink_M1[self.gap_rows]
            self.sum_g.mul_(shrink_N1).add_(gap_Nv.sum(1, keepdim=True))
            if self.direction == "forward":
                self.sum_gW.mul_(shrink_N1).add_(gap_Nv.to(head_vD.dtype) @ head_vD)

    def log_probabilities(self) -> Tensor:
        """Of the tokens asked for [M, K]."""
        return self.token_MK - self._log_mass()

    def mean_ND(self) -> Tensor:
        """E[W] under the policy."""
        return self.sum_W[: self.size] / self.mass_M1[: self.size]

    def kl(self) -> tuple[Tensor, Tensor]:
        """KL [N] and its derivative with respect to the policy's states."""
        mass_N1 = self.mass_M1[self.gap_rows]
        log_M1 = self._log_mass()
        change_N1 = log_M1[: self.size] - log_M1[self.size :]
        gap_N1 = self.sum_g / mass_N1
        if self.direction == "reverse":
            slope_ND = self.mean_ND() - self.sum_W[self.size :] / mass_N1
            return (change_N1 - gap_N1)[:, 0], slope_ND
        slope_ND = self.sum_gW / mass_N1 - gap_N1 * self.mean_ND()
        return (gap_N1 - change_N1)[:, 0], slope_ND

    def _log_mass(self) -> Tensor:
        """Log-normalisers [M, 1]."""
        return self.top_M1 + self.mass_M1.log()
