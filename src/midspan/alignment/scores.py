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
    minus the reference's: d log p(k) / dh = W[k] - E_p[W], d KL(p || q) / dh = E_p[(g - E_p[g]) W]
    and d KL(q || p) / dh = E_p[W] - E_q[W].
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
        width = _tile_width(head_VD, len(softmax.states_MD))
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


def _tile_width(head_VD: Tensor, rows: int) -> int:
    """Words of a tile."""
    elements = TILE_ELEMENTS.get(head_VD.device.type, TILE_ELEMENTS["cuda"])
    states = head_VD.shape[1]
    # A tile as wide as the states is no larger than they are; one that is widened is a copy.
    is_copy = head_VD.device.type != "cuda" and head_VD.dtype.itemsize < 4
    width = elements // max(rows, states) if is_copy else max(states, elements // max(1, rows))
    # Rows that begin at cache lines make its products up to twice as fast.
    return max(ALIGNED, width - width % ALIGNED)


class _Softmax:
    """Sums over the vocabulary under M rows' distributions, one tile of words after another.

    The N rows of the policy come first, those of the reference behind them, so that one product
    gives the logits of both. A word weighs e^(logit - top), with top the highest logit so far; a
    higher one shrinks the sums.

    The KL's slope is (sum_xW - c sum_W) / mass with c = sum_x / sum_w: x is w g under the policy
    (forward) or w under the reference (reverse). Where all logits move together, or the two
    distributions are close, both sums are much larger than what is left of them, which products
    of half precision would lose: there a tile's product is (x - c w) W with the c of the words so
    far, and c w W is added back in float32.

    Args:
        states_MD: In the head's precision.
        direction: Of the KL, or None without one.
    """

    def __init__(self, states_MD: Tensor, tokens_NK: Tensor, direction: Direction | None) -> None:
        self.states_MD, self.direction = states_MD, direction
        self.size, rows = len(tokens_NK), len(states_MD)
        self.tokens_MK = torch.cat([tokens_NK, tokens_NK])[:rows]
        self.gap_rows = slice(self.size) if direction == "forward" else slice(self.size, rows)
        # Half precision is widened to float32; float64 stays, for numerical tests.
        precise = torch.promote_types(states_MD.dtype, torch.float32)
        self.is_half = states_MD.dtype != precise
        self.token_MK = states_MD.new_zeros(self.tokens_MK.shape, dtype=precise)
        self.top_M1 = states_MD.new_full((rows, 1), -torch.inf, dtype=precise)
        self.mass_M1 = torch.zeros_like(self.top_M1)
        self.sum_W = states_MD.new_zeros(self.size, states_MD.shape[1], dtype=precise)
        self.sum_g = torch.zeros_like(self.top_M1[: self.size])
        self.sum_xW = torch.zeros_like(self.sum_W)

    def add(self, head_vD: Tensor, start: int) -> None:
        """Add the words from ``start`` on."""
        if self.is_half and head_vD.device.type != "cuda":
            # Elsewhere products of half precision are rounded to it, and on CPUs no faster.
            head_vD = head_vD.to(self.mass_M1.dtype)
        logits_Mv = self._product(self.states_MD, head_vD.T)
        word_MK = self.tokens_MK - start
        here_MK = (word_MK >= 0) & (word_MK < len(head_vD))
        logit_MK = logits_Mv.gather(1, word_MK.clamp(0, len(head_vD) - 1))
        self.token_MK = torch.where(here_MK, logit_MK, self.token_MK)
        gap_Nv = logits_Mv[: self.size] - logits_Mv[self.size :] if self.direction else None
        top_M1 = torch.maximum(self.top_M1, logits_Mv.amax(1, keepdim=True))
        shrink_M1 = (self.top_M1 - top_M1).exp()
        self.top_M1 = top_M1
        weight_Mv = logits_Mv.sub_(top_M1).exp_()
        self.mass_M1.mul_(shrink_M1).add_(weight_Mv.sum(1, keepdim=True))
        tile_W = self._product(weight_Mv[: self.size], head_vD)
        self.sum_W.mul_(shrink_M1[: self.size]).add_(tile_W)
        if gap_Nv is not None:
            gap_Nv.mul_(weight_Mv[self.gap_rows])
            self.sum_g.mul_(shrink_M1[self.gap_rows]).add_(gap_Nv.sum(1, keepdim=True))
            x_Nv = gap_Nv if self.direction == "forward" else weight_Mv[self.size :]
            if self.is_half:
                center_N1 = self._sum_x() / self.mass_M1[: self.size]
                x_Nv.addcmul_(center_N1, weight_Mv[: self.size], value=-1)
                tile_W.mul_(center_N1).add_(self._product(x_Nv, head_vD))
            else:
                tile_W = x_Nv @ head_vD
            self.sum_xW.mul_(shrink_M1[self.gap_rows]).add_(tile_W)

    def _product(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Factors in the head's precision, sums of half precision in float32."""
        if not self.is_half:
            return rows @ columns
        rows = rows.to(self.states_MD.dtype)
        if rows.device.type == "cuda":
            return torch.mm(rows, columns, out_dtype=self.mass_M1.dtype)
        return rows.to(columns.dtype) @ columns

    def _sum_x(self) -> Tensor:
        """[N, 1]."""
        return self.sum_g if self.direction == "forward" else self.mass_M1[self.size :]

    def log_probabilities(self) -> Tensor:
        """Of the tokens asked for [M, K]."""
        return self.token_MK - self._log_mass()

    def mean_ND(self) -> Tensor:
        """E[W] under the policy."""
        return self.sum_W / self.mass_M1[: self.size]

    def kl(self) -> tuple[Tensor, Tensor]:
        """KL [N] and its derivative with respect to the policy's states."""
        mass_N1 = self.mass_M1[self.gap_rows]
        log_M1 = self._log_mass()
        change_N1 = log_M1[: self.size] - log_M1[self.size :]
        gap_N1 = self.sum_g / mass_N1
        slope_ND = self.sum_xW / mass_N1 - self._sum_x() / mass_N1 * self.mean_ND()
        if self.direction == "reverse":
            return (change_N1 - gap_N1)[:, 0], -slope_ND
        return (gap_N1 - change_N1)[:, 0], slope_ND

    def _log_mass(self) -> Tensor:
        """Log-normalisers [M, 1]."""
        return self.top_M1 + self.mass_M1.log()
