"""Log-probabilities and KL at the positions that an objective needs, a tile of words at a time.

A vocabulary of 126,464 makes one float32 tensor of B x L x V the largest thing in training. Here
the head runs on wanted rows alone, and for all of them on a few words after another: each part of
the head is read once for every product with it, and what gradients with respect to the hidden
states need is summed on the way, so nothing of the vocabulary's size is kept.

Shapes: B rows, L response positions, N wanted positions of all rows, K tokens asked for at each,
D hidden width, V vocabulary, v words of a tile.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Direction = Literal["forward", "reverse"]
# Elements of one float32 tensor of rows x words: 4 MiB stay in a CPU's caches, and a GPU wants
# larger products.
TILE_ELEMENTS = {"cpu": 2**20, "cuda": 2**25}


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
        place = where_BL.nonzero(as_tuple=True)
        shape, size = where_BL.shape, tokens_BLK.shape[2]
        return Scores(
            logp_NK.new_zeros(*shape, size).index_put(place, logp_NK),
            reference_NK.new_zeros(*shape, size).index_put(place, reference_NK),
            kl_N.new_zeros(shape).index_put(place, kl_N),
        )


class _RowScores(torch.autograd.Function):
    """Scores of hidden states, whose gradients are vectors of the hidden width.

    With p and q the distributions of policy and reference, W the head and g the policy's logits
    less the reference's: d log p(k) / dh = W[k] - E_p[W], d KL(p || q) / dh = E_p[g W] - E_p[g]
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
        wants = {"mean", "gap", "slope"} if direction == "forward" else {"mean"}
        policy = _Softmax(policy_ND, tokens_NK, wants)
        reference = None
        if reference_ND is not None:
            wants = {"mean", "gap"} if direction == "reverse" else set()
            reference = _Softmax(reference_ND, tokens_NK, wants)
        elements = TILE_ELEMENTS.get(head_VD.device.type, TILE_ELEMENTS["cuda"])
        # A tile as wide as the states is no larger than they are.
        width = max(head_VD.shape[1], elements // max(1, len(policy_ND)))
        for start in range(0, len(head_VD), width):
            head_vD = head_VD[start : start + width]
            logits_Nv, gap_Nv = policy.logits(head_vD, start), None
            if reference is not None:
                other_Nv = reference.logits(head_vD, start)
                gap_Nv = logits_Nv - other_Nv if direction else None
                reference.add(other_Nv, head_vD, gap_Nv)
            policy.add(logits_Nv, head_vD, gap_Nv)
        logp_NK, mean_ND = policy.log_probabilities(), policy.expected("mean")
        other_NK, kl_N = torch.zeros_like(logp_NK), logp_NK.new_zeros(len(logp_NK))
        slope_ND = None
        if reference is not None:
            other_NK = reference.log_probabilities()
            if direction:
                kl_N, slope_ND = _kl(policy, reference, direction)
        ctx.save_for_backward(mean_ND, slope_ND, head_VD, tokens_NK)
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
    """Sums over the vocabulary under some rows' distributions, one tile of words after another.

    A word weighs e^(logit - top), with top the highest logit so far; a higher one shrinks the sums.

    Args:
        wants: Sums beside the weights' own: "mean" of W, "gap" of g, "slope" of g W.
    """

    def __init__(self, states_ND: Tensor, tokens_NK: Tensor, wants: Collection[str]) -> None:
        self.states_ND, self.tokens_NK, self.wants = states_ND, tokens_NK, wants
        # Half precision is widened to float32; float64 stays, for numerical tests.
        precise = torch.promote_types(states_ND.dtype, torch.float32)
        self.token_NK = states_ND.new_zeros(tokens_NK.shape, dtype=precise)
        self.top_N1 = states_ND.new_full((len(states_ND), 1), -torch.inf, dtype=precise)
        self.sums = dict.fromkeys(("mass", *wants), torch.zeros_like(self.top_N1))

    def logits(self, head_vD: Tensor, start: int) -> Tensor:
        """Logits of the words from ``start`` on; those of the tokens asked for are kept."""
        logits_Nv = (self.states_ND.to(head_vD.dtype) @ head_vD.T).to(self.token_NK.dtype)
        word_NK = self.tokens_NK - start
        here_NK = (word_NK >= 0) & (word_NK < len(head_vD))
        found_NK = logits_Nv.gather(1, word_NK.clamp(0, len(head_vD) - 1))
        self.token_NK = torch.where(here_NK, found_NK, self.token_NK)
        return logits_Nv

    def add(self, logits_Nv: Tensor, head_vD: Tensor, gap_Nv: Tensor | None) -> None:
        """Add a tile, whose logits are used up."""
        top_N1 = torch.maximum(self.top_N1, logits_Nv.amax(1, keepdim=True))
        shrink_N1 = (self.top_N1 - top_N1).exp()
        self.top_N1 = top_N1
        weight_Nv = logits_Nv.sub_(top_N1).exp_()
        terms = {"mass": weight_Nv.sum(1, keepdim=True)}
        if "mean" in self.wants:
            terms["mean"] = weight_Nv.to(head_vD.dtype) @ head_vD
        if "gap" in self.wants:
            assert gap_Nv is not None
            terms["gap"] = weight_Nv.mul_(gap_Nv).sum(1, keepdim=True)
        if "slope" in self.wants:
            terms["slope"] = weight_Nv.to(head_vD.dtype) @ head_vD
        self.sums = {name: self.sums[name] * shrink_N1 + term for name, term in terms.items()}

    def log_mass(self) -> Tensor:
        """Log-normalisers [N, 1]."""
        return self.top_N1 + self.sums["mass"].log()

    def log_probabilities(self) -> Tensor:
        """Of the tokens asked for [N, K]."""
        return self.token_NK - self.log_mass()

    def expected(self, name: str) -> Tensor:
        """A sum as an expectation."""
        return self.sums[name] / self.sums["mass"]


def _kl(policy: _Softmax, reference: _Softmax, direction: Direction) -> tuple[Tensor, Tensor]:
    """KL [N] and its derivative with respect to the policy's states."""
    change_N1 = policy.log_mass() - reference.log_mass()
    if direction == "reverse":
        kl_N1 = change_N1 - reference.expected("gap")
        return kl_N1[:, 0], policy.expected("mean") - reference.expected("mean")
    gap_N1 = policy.expected("gap")
    slope_ND = policy.expected("slope") - gap_N1 * policy.expected("mean")
    return (gap_N1 - change_N1)[:, 0], slope_ND
