"""Draw which tokens are committed early, audit the first block, repair it (DiffuGuard)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from midspan.decoding.commit_rules import by_schedule
from midspan.decoding.hooks import Hook, Proposal, View
from midspan.decoding.rule import Rule
from midspan.errors import MidspanError
from midspan.models.model import DiffusionLM
from midspan.models.states import FINAL


class DiffuGuard(Rule):
    """DiffuGuard (arXiv 2509.24296), after its published code.

    Selection: positions compete by (1 - a) s + a u, with s the sampler's score, u uniform, and a
    falling from `alpha` to 0 over a block's steps. Audit: cosine distance between the mean of the
    last states over the plain request's prompt and over the first block in the first step. Repair,
    where it reaches the threshold: a share of the first block, once full, is masked again and
    filled in a few steps, in which the old token is all but banned at its place.

    Deviations: anchors and the prompt are never masked again (the published code does so, with a
    scaffold in the user's turn it masks the user's words); a text that ends before the block is
    full is repaired then; the second score, of words that accept and refuse, is left out, which
    the published code computes beside the distance.

    Attributes:
        alpha: Where a begins; 0 leaves the sampler's order alone.
        threshold: Of the distance; the published scripts take 0.1 and 0.2. None leaves audit and
            repair out.
        share: Of the block's positions that are masked again.
        steps: In which they are filled.
        penalty: What the old token's logit loses.
        request: The plain request, where attackers rewrite it; None takes the prompt as it came,
            which is all that a server has.
    """

    draws: ClassVar[bool] = True

    rule: Literal["diffuguard"] = "diffuguard"
    alpha: float = Field(0.3, ge=0, le=1)
    threshold: float | None = Field(0.35, ge=0, le=2)
    share: float = Field(0.9, gt=0, le=1)
    steps: int = Field(8, ge=1)
    penalty: float = Field(1e6, gt=0, allow_inf_nan=False)
    request: str | None = None

    def hook(self, lm: DiffusionLM, length: int) -> Hook:
        """See `Rule`."""
        ids = None if self.request is None else lm.encode_chat(self.request)
        if ids is not None and len(ids) > lm.max_length:
            raise MidspanError(
                f"rules.diffuguard.request: {len(ids)} tokens exceed the model's {lm.max_length}"
            )
        return _DiffuGuard(lm, self, ids)


def cosine_distance(one_D: Tensor, other_D: Tensor) -> float:
    """1 minus the cosine, in single precision."""
    return 1 - float(torch.cosine_similarity(one_D.float(), other_D.float(), dim=0, eps=1e-12))


@dataclass
class _Audit:
    """What is known of a row: its prompt's mean state, whether to repair, and the repair."""

    baseline_D: Tensor
    unsafe: bool = False
    old_L: Tensor | None = None
    steps_left: int = 0


class _DiffuGuard(Hook):
    def __init__(self, lm: DiffusionLM, rule: DiffuGuard, request_ids: list[int] | None) -> None:
        self._lm, self._rule, self._request_ids = lm, rule, request_ids
        self._audits: dict[int, _Audit] = {}
        self.layers = () if rule.threshold is None else (FINAL,)

    def on_canvas(self, view: View) -> None:
        if self._rule.threshold is None:
            return
        for row, request in enumerate(view.requests):
            ids = self._request_ids or view.prompt(row)
            states_1PD = self._lm.hidden(torch.tensor([ids], device=self._lm.device))
            self._audits[request] = _Audit(states_1PD[0].float().mean(0).to(self._lm.device))
            view.spend(row, 1)

    def edit_logits(self, view: View, position_AR: Tensor, logits_ARV: Tensor) -> None:
        for row, request in enumerate(view.requests):
            audit = self._audits.get(request)
            if audit is None:
                continue
            if view.step_A[row] == 0:
                self._inspect(view, row, audit)
            if audit.steps_left and audit.old_L is not None:
                old_R = audit.old_L[position_AR[row]]
                index_R = (old_R >= 0).nonzero()[:, 0]
                logits_ARV[row, index_R, old_R[index_R]] -= self._rule.penalty

    def _inspect(self, view: View, row: int, audit: _Audit) -> None:
        assert self._rule.threshold is not None
        block_LD = view.hidden(FINAL)[row][view.block_AL[row]]
        distance = cosine_distance(block_LD.float().mean(0), audit.baseline_D)
        audit.unsafe = distance >= self._rule.threshold

    def choose(self, view: View, proposal: Proposal) -> Tensor:
        score_AR, count_A = proposal.candidates.score_AR, proposal.chosen_AR.sum(1)
        weight_A = score_AR.new_tensor([self._rule.alpha * (1 - p) for p in view.progress_A])
        for row, request in enumerate(view.requests):
            audit = self._audits.get(request)
            if audit is not None and audit.steps_left:
                weight_A[row] = 0
                left = int(proposal.open_AR[row].sum())
                count_A[row] = count = -(-left // audit.steps_left)
                audit.steps_left = audit.steps_left - 1 if count < left else 0
        mixed_AR = torch.where(
            weight_A[:, None] > 0,
            torch.lerp(score_AR, view.uniform(proposal.position_AR), weight_A[:, None]),
            score_AR,
        )
        return by_schedule(mixed_AR, proposal.open_AR, count_A)

    def may_remask(self, view: View) -> Tensor | None:
        again_AL = torch.zeros_like(view.open_AL)
        for row, request in enumerate(view.requests):
            audit = self._audits.get(request)
            if audit is not None and audit.unsafe and self._is_due(view, row):
                audit.unsafe = False
                again_AL[row] = self._masked_again(view, row)
                audit.old_L = view.tokens_AL[row].where(again_AL[row], -1)
                audit.steps_left = self._rule.steps if again_AL[row].any() else 0
        return again_AL if again_AL.any() else None

    def _is_due(self, view: View, row: int) -> bool:
        """Whether the block is full, or the row would leave since its text has ended."""
        open_L, size = view.open_AL[row], view.open_AL.shape[1]
        if not (open_L & view.block_AL[row]).any():
            return True
        stop = torch.tensor(sorted(self._lm.tokens.stop), device=open_L.device)
        ends_L = torch.isin(view.tokens_AL[row], stop) & ~open_L
        position_L = torch.arange(size, device=open_L.device)
        first_end, first_open = (
            int(torch.where(where_L, position_L, size).min()) for where_L in (ends_L, open_L)
        )
        return first_end < first_open

    def _masked_again(self, view: View, row: int) -> Tensor:
        """A share of the block at random, anchors and what is open left out."""
        own_L = view.block_AL[row] & ~view.anchored_AL[row] & ~view.open_AL[row]
        count = int(int(own_L.sum()) * self._rule.share)
        position_AL = torch.arange(len(own_L), device=own_L.device).expand(len(view.requests), -1)
        chance_L = view.uniform(position_AL)[row].masked_fill(~own_L, 2.0)
        again_L = torch.zeros_like(own_L)
        again_L[chance_L.argsort(stable=True)[:count]] = True
        return again_L


RULE = DiffuGuard
