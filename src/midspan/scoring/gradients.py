"""How unlikely phrases are under prompts, many at a time, and how each prompt token moves that.

What greedy coordinate gradient needs of a masked-diffusion model: the response is masked, so there
is no cached prefix, no shift by one and no target among the inputs.
Shapes: N prompts with goals, B rows, C canvases of a goal, F free tokens, K phrase tokens,
D hidden width, T prompt and canvas, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from midspan.errors import MidspanError
from midspan.models.finite import check_read
from midspan.models.model import DiffusionLM
from midspan.models.padding import batches_by_length, left_padded
from midspan.scoring.block_states import reached_states
from midspan.scoring.likelihood import ScoreOptions, check_place, hiding_patterns, masked_canvas


@dataclass(frozen=True)
class Goal:
    """A phrase that is wanted at a place of the canvas.

    Attributes:
        phrase_ids: The phrase.
        start: Canvas position of its first token.
        length: Length of the canvas.
        hidden: One row a canvas: which of the phrase's tokens are masked and scored, the others
            being shown. By default one canvas with nothing shown, the state before the first step.
    """

    phrase_ids: tuple[int, ...]
    start: int
    length: int
    hidden: tuple[tuple[bool, ...], ...] = ()

    @property
    def canvases(self) -> tuple[tuple[bool, ...], ...]:
        """What each canvas hides of the phrase."""
        return self.hidden or ((True,) * len(self.phrase_ids),)

    def monte_carlo(self, samples: int, seed: int) -> "Goal":
        """The same goal over canvases that show random parts of the phrase.

        LLaDA's likelihood bound, restricted to the phrase: the numbers of hidden tokens are spread
        evenly, and each canvas counts with its mean over them.
        """
        hidden_CK, _ = hiding_patterns(len(self.phrase_ids), ScoreOptions("mc", {}, samples, seed))
        return replace(self, hidden=tuple(map(tuple, hidden_CK.tolist())))


@torch.no_grad()
def phrase_losses(
    lm: DiffusionLM, prompts: Sequence[Sequence[int]], goals: Sequence[Goal], batch_size: int = 64
) -> Tensor:
    """Cross-entropy of each goal under its prompt, in nats a token; [N], float32, on the CPU.

    A mean over the hidden tokens of a canvas, then over canvases, so that phrases of different
    lengths compare. Prompts, phrases and canvases may differ in length.

    Args:
        lm: The model.
        prompts: Token ids, N prompts.
        goals: One goal a prompt.
        batch_size: Rows that go through the model together; a goal has a row a canvas, where
            attention is block-causal a row a block that its phrase touches.

    Raises:
        MidspanError: If a phrase does not fit its canvas, or the model, or logits are not finite.
    """
    rows = [
        (index, row)
        for index, (prompt, goal) in enumerate(zip(prompts, goals, strict=True))
        for row in _rows(lm, prompt, goal)
    ]
    losses_N = torch.zeros(len(goals))
    sizes = [len(row.prompt_ids) + row.goal.length for _, row in rows]
    for numbers in batches_by_length(sizes, batch_size):
        part = [rows[number] for number in numbers]
        batch = _GoalRows.create(lm, [row for _, row in part])
        owner_B = torch.tensor([index for index, _ in part])
        losses_N.index_add_(0, owner_B, batch.losses(lm).float().cpu())
    check_read(losses_N.tolist())
    return losses_N / torch.tensor([len(goal.canvases) for goal in goals])


@torch.enable_grad()
def token_gradient(
    lm: DiffusionLM, prompt_ids: Sequence[int], free: Sequence[int], goal: Goal
) -> Tensor:
    """Gradient of a goal's loss with respect to the one-hot tokens at free places, [F, V].

    Args:
        lm: The model.
        prompt_ids: The prompt.
        free: Its places, counted from 0, whose tokens may change.
        goal: See `phrase_losses`; all its canvases go through the model together.

    Raises:
        MidspanError: If a free place is outside the prompt, the phrase does not fit, or the model's
            logits are not finite.
    """
    if not free or min(free) < 0 or max(free) >= len(prompt_ids):
        raise MidspanError(f"free: places must lie in the prompt, 0..{len(prompt_ids) - 1}")
    batch = _GoalRows.create(lm, list(_rows(lm, prompt_ids, goal)))
    embedding = lm.base.get_input_embeddings()
    position_F = torch.tensor(list(free), device=lm.device)
    free_FD = embedding.weight[batch.ids_BT[0, position_F]].detach().requires_grad_()

    def put(module: Any, arguments: Any, embedded_BTD: Tensor) -> Tensor:
        return embedded_BTD.index_copy(1, position_F, free_FD.expand(len(embedded_BTD), -1, -1))

    handle = embedding.register_forward_hook(put)
    try:
        loss = batch.losses(lm).sum() / len(goal.canvases)
    finally:
        handle.remove()
    (gradient_FD,) = torch.autograd.grad(loss, free_FD)
    check_read([float(gradient_FD.sum())])
    # One-hot rows times the embedding matrix would give the same and hold F x V numbers twice.
    return gradient_FD @ embedding.weight.detach().T


class _Row(NamedTuple):
    """One forward: what it hides of a goal's phrase, and how much each of its tokens counts."""

    prompt_ids: Sequence[int]
    goal: Goal
    hidden_K: Tensor
    weight_K: Tensor


def _rows(lm: DiffusionLM, prompt_ids: Sequence[int], goal: Goal) -> Iterator[_Row]:
    """The forwards of a goal; the weights of a canvas come to 1."""
    hidden_CK = torch.tensor(goal.canvases)
    weight_CK = hidden_CK.double() / hidden_CK.sum(1, keepdim=True)
    states = reached_states(lm, len(prompt_ids), goal.start, hidden_CK, weight_CK)
    hidden_CK, weight_CK, _ = states
    for hidden_K, weight_K in zip(hidden_CK, weight_CK, strict=True):
        yield _Row(prompt_ids, goal, hidden_K, weight_K)


@dataclass(frozen=True)
class _GoalRows:
    """Left-padded rows, and where and how much each phrase token counts."""

    ids_BT: Tensor
    attention_BT: Tensor | None
    canvas_B: Tensor
    rows_BK: Tensor
    phrase_BK: Tensor
    weight_BK: Tensor

    @classmethod
    def create(cls, lm: DiffusionLM, rows: Sequence[_Row]) -> "_GoalRows":
        ids = [_canvas(lm, row) for row in rows]
        ids_BT, attention_BT = left_padded(ids, lm.tokens.pad, lm.device)
        width = ids_BT.shape[1]
        phrases = [torch.tensor(row.goal.phrase_ids) for row in rows]
        weight_BK = pad_sequence([row.weight_K for row in rows], batch_first=True)
        canvas_B = torch.tensor(
            [width - len(own) + len(row.prompt_ids) for own, row in zip(ids, rows, strict=True)]
        )
        first_B1 = (canvas_B + torch.tensor([row.goal.start for row in rows]))[:, None]
        rows_BK = (first_B1 + torch.arange(weight_BK.shape[1])).clamp(max=width - 1)
        return cls(
            ids_BT=ids_BT,
            attention_BT=attention_BT,
            canvas_B=canvas_B,
            rows_BK=rows_BK.to(lm.device),
            phrase_BK=pad_sequence(phrases, batch_first=True).to(lm.device),
            weight_BK=weight_BK.to(lm.device),
        )

    def losses(self, lm: DiffusionLM) -> Tensor:
        """Weighted cross-entropy of the tokens of each row, [B]."""
        logits_BKV = lm.logits(self.ids_BT, self.attention_BT, self.rows_BK, canvas=self.canvas_B)
        wide_BKV = logits_BKV.to(torch.promote_types(logits_BKV.dtype, torch.float32))
        loss_BK = F.cross_entropy(wide_BKV.transpose(1, 2), self.phrase_BK, reduction="none")
        return (loss_BK * self.weight_BK.to(loss_BK.dtype)).sum(1)


def _canvas(lm: DiffusionLM, row: _Row) -> Tensor:
    """Prompt and canvas of one row, on the CPU."""
    prompt_ids, goal, hidden_K, _ = row
    check_place(goal.phrase_ids, goal.start, goal.start, goal.length, {})
    shown = {
        goal.start + index: token
        for index, (token, is_hidden) in enumerate(
            zip(goal.phrase_ids, hidden_K.tolist(), strict=True)
        )
        if not is_hidden
    }
    return masked_canvas(lm, prompt_ids, goal.phrase_ids, goal.length, shown).cpu()
