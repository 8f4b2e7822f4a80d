"""One batch as a state machine: forward, edit logits, choose, commit, re-mask.

It follows the published samplers of LLaDA (generate.py, ML-GSAI/LLaDA), Dream (generation_utils.py,
DreamLM/Dream), Fast-dLLM's parallel rules and LLaDA2's block diffusion, without their faults.
`step.py` computes a step, `decoder.py` says which requests enter. Rows may be in different blocks.
With a cache or under block diffusion those go together that have similar windows to compute
(`turns.py`), so that a batch costs no row a forward that it would not cost alone.
Shapes: B rows, A rows of a step, L canvas, R positions of the current block, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from midspan.decoding.canvas import Canvas
from midspan.decoding.config import DecodingConfig
from midspan.decoding.draws import POSITION_DRAWS, hashed_uniform
from midspan.decoding.forward import Wanted, forward_for
from midspan.decoding.hooks import (
    Hook,
    Named,
    Proposal,
    View,
    run_choose,
    run_remask,
)
from midspan.decoding.notes import RowNotes
from midspan.decoding.revision import Revision
from midspan.decoding.schedule import RowStates, random_times
from midspan.decoding.step import Candidates, Draws, StepSettings, forbid, step
from midspan.decoding.step_rows import StepRows, step_rows
from midspan.decoding.trace import StepView, Trace
from midspan.errors import MidspanError
from midspan.models.finite import faults
from midspan.models.model import DiffusionLM
from midspan.models.states import captured

# A row's draw that is not one of its steps'.
_PRIORITY_DRAW = -1


class Filled(NamedTuple):
    """A `Generation` before its tokens become text."""

    tokens: tuple[int, ...]
    trace: Trace
    forwards: int
    stopped_early: bool
    rejected_by: str = ""
    past_end: bool = False
    is_broken: bool = False


class Committed(NamedTuple):
    """What a step did: the positions it looked at, and True where it committed."""

    at: tuple[Tensor, Tensor]
    chosen_AR: Tensor


class Batch:
    """Rows being decoded together.

    Attributes:
        canvas: What is committed.
        states: Where each row stands.
        forward: Computes the logits.
        settings: Of every step.
        priority_BL: The order drawn for remasking="random", else None.
        notes: What hooks did to rows.
        budget_B: Positions that hooks may still re-mask.
        revision: Second looks at full blocks, where the config asks for them.
    """

    def __init__(
        self,
        lm: DiffusionLM,
        config: DecodingConfig,
        canvas: Canvas,
        seeds: Sequence[int],
        hooks: Sequence[Hook],
    ) -> None:
        self.lm, self.config, self.canvas, self.hooks = lm, config, canvas, hooks
        self.settings = StepSettings.of(config, lm.tokens, lm.unspelled)
        self.firsts_alone = config.sampler == "block" and bool(lm.family.logit_shift)
        self.forward = forward_for(lm, config)
        self.has_blocks = config.sampler == "block" or config.cache != "none"
        self.seed_B = torch.tensor([seed % (1 << 63) for seed in seeds], device=lm.device)
        self.notes = RowNotes.of(len(seeds))
        self.budget_B = np.full(len(seeds), config.length)
        self.priority_BL, times_BL = drawn_order(config, canvas, self.seed_B)
        open_BL = canvas.open_BL.cpu().numpy()
        self.states = RowStates(config, open_BL, times_BL, self.firsts_alone)
        self.revision = None if config.revise is None else Revision(config, lm.tokens)
        self._hidden: dict[int, Tensor] | None = None

    def view(self, rows_A: NDArray[np.int64]) -> View:
        """What hooks see of these rows."""
        return View(self.canvas, rows_A, self.states, self.notes, self.seed_B, self._hidden)

    def update(self) -> NDArray[np.bool_]:
        """Take up what is open; rows [B] that need no further forward."""
        open_BL, end_B = self._ends()
        if self.revision is not None and self.revision.reopen(self.canvas, open_BL, end_B):
            open_BL, end_B = self._ends()
        self.states.update(open_BL)
        ended_B = self.states.finished_B | self.notes.stopped_B | self.canvas.broken_B
        if not self.config.early_stop:
            return ended_B
        early_B = end_B < self.canvas.length
        if self.config.editing_threshold is not None:
            early_B &= self.states.between_blocks_B
        return ended_B | early_B

    def _ends(self) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """What is open, [B, L], and where texts that need no more have ended, [B]; else L."""
        tokens_BL, open_BL = self.canvas.on_host()
        stop = self.lm.tokens.stop if self.config.early_stop else ()
        end_B = self.canvas.ends(stop, tokens_BL, open_BL)
        return open_BL, np.where(self.notes.past_end_B, self.canvas.length, end_B)

    def select(self, kept_B: NDArray[np.bool_]) -> None:
        """Keep these rows, [B]."""
        self.forward.clear(~kept_B & self.canvas.broken_B)
        index_K = torch.from_numpy(np.flatnonzero(kept_B)).to(self.seed_B.device)
        self.canvas = self.canvas.select(kept_B)
        self.states.select(kept_B)
        self.forward.select(kept_B)
        if self.revision is not None:
            self.revision.select(kept_B)
        self.seed_B = self.seed_B[index_K]
        self.notes, self.budget_B = self.notes.select(kept_B), self.budget_B[kept_B]
        if self.priority_BL is not None:
            self.priority_BL = self.priority_BL[index_K]

    def join(self, other: "Batch") -> None:
        """Take in the rows of a batch that has taken no step."""
        self.canvas = self.canvas.join(other.canvas)
        self.states.join(other.states)
        self.seed_B = torch.cat([self.seed_B, other.seed_B])
        self.notes = self.notes.join(other.notes)
        self.budget_B = np.concatenate([self.budget_B, other.budget_B])
        if self.priority_BL is not None and other.priority_BL is not None:
            self.priority_BL = torch.cat([self.priority_BL, other.priority_BL])

    def next_rows(self, limit: int) -> NDArray[np.int64]:
        """The rows of the next step, at most `limit`."""
        return self.forward.rows(self.canvas, self.states, limit)

    def call_hooks(self, point: str, rows_A: NDArray[np.int64]) -> bool:
        """Call a point of all hooks that returns nothing; whether any of them changed a row."""
        changed = False
        for hook in self.hooks:
            view = self.view(rows_A)
            with Named(hook, point):
                getattr(hook, point)(view)
            changed |= view.changed
        return changed

    def advance(self, rows_A: NDArray[np.int64]) -> Committed:
        """One step of these rows: forward, edit logits, choose, commit, re-mask."""
        rows = step_rows(self.canvas, self.states, self.config, rows_A)
        wanted = Wanted(rows_A, rows.position_AR, rows.start_A)
        commits_A = torch.from_numpy(self.states.commits(rows_A)).to(rows.row_A1.device)
        logits_ARV = self._logits(wanted)
        fault_A = faults(logits_ARV).sum(1)
        self.canvas.fault_B.index_add_(0, rows.row_A1[:, 0], fault_A)
        if self.hooks:  # These may do anything with numbers that are none.
            logits_ARV.masked_fill_(fault_A.isnan()[:, None, None], 0.0)
        candidates, chosen_AR = step(
            self._edited(rows, logits_ARV),
            rows.open_AR,
            commits_A,
            *self._draws(rows),
        )
        if self.hooks:
            proposal = Proposal(rows.own_AR, rows.open_AR, candidates, commits_A, chosen_AR)
            chosen_AR = run_choose(self.hooks, self.view(rows_A), proposal)
        if self.config.editing_threshold is not None:
            chosen_AR = chosen_AR | self._edits(rows, candidates, self.config.editing_threshold)
        # NaN is not 0: rows whose logits are not finite commit nothing, and leave.
        chosen_AR = chosen_AR & (fault_A[:, None] == 0)
        if self.config.editing_threshold is not None:
            self.states.settle(rows_A, (chosen_AR & ~rows.open_AR).any(1).cpu().numpy())

        self.canvas.commit(rows.id_place_AR, rows.place_AR, candidates.token_AR, chosen_AR)
        step_A1 = torch.from_numpy(self.states.steps_B[rows_A, None]).to(rows.row_A1.device)
        self.canvas.record(rows.place_AR, chosen_AR, step_A1, candidates.probability_AR)
        self.states.advance(rows_A)
        if self.hooks:
            self.call_hooks("after_commit", rows_A)
            self._remask(rows)
            self._hidden = None
        return Committed(rows.at, chosen_AR)

    def _logits(self, wanted: Wanted) -> Tensor:
        """A forward's logits; the hidden states that hooks read stay until the step ends."""
        layers = sorted({layer for hook in self.hooks for layer in hook.layers})
        if not layers:
            return self.forward.logits(self.canvas, wanted)
        with captured(self.lm, layers) as states:
            logits_ARV = self.forward.logits(self.canvas, wanted)
        # The rows behind these are the guidance's, without their prompts.
        rows, width = len(wanted.rows_A), self.canvas.width
        self._hidden = {
            layer: states[layer][:rows, width:].to(logits_ARV.device) for layer in layers
        }
        return logits_ARV

    def _edited(self, rows: StepRows, logits_ARV: Tensor) -> Tensor:
        """Logits without what must never be committed, and as hooks want them.

        Raises:
            MidspanError: If a hook leaves no token at a position.
        """
        logits_ARV = forbid(logits_ARV, self.settings.forbidden)
        for hook in self.hooks:
            with Named(hook, "edit_logits"):
                hook.edit_logits(self.view(rows.rows_A), rows.own_AR, logits_ARV)
                forbid(logits_ARV, self.settings.banned)
                if not (logits_ARV.amax(-1) > -torch.inf).all():
                    name = type(hook).__name__
                    raise MidspanError(f"hook {name}: edit_logits left no token at a position")
        return logits_ARV

    def _draws(self, rows: StepRows) -> tuple[Draws, StepSettings]:
        """The random numbers that the config asks for, and the step's settings."""
        if self.firsts_alone and rows.start_A[0] % self.config.block == 0:
            return Draws(), self.settings.greedy()
        token_AR = position_AR = order_AR = None
        if self.config.temperature > 0 or self.config.alg_temp > 0:
            row_A = rows.row_A1[:, 0]
            seed_A = self.seed_B[row_A]
            steps_A = torch.from_numpy(self.states.steps_B).to(row_A.device)[row_A]
        if self.config.temperature > 0:
            token_AR = hashed_uniform(seed_A, steps_A, rows.own_AR)
        if self.config.alg_temp > 0:
            position_AR = hashed_uniform(seed_A, steps_A + POSITION_DRAWS, rows.own_AR)
        if self.priority_BL is not None:
            order_AR = self.priority_BL[rows.at]
        return Draws(token_AR, position_AR, order_AR), self.settings

    def _edits(self, rows: StepRows, candidates: Candidates, threshold: float) -> Tensor:
        """Committed tokens that give way to a likelier one (LLaDA2.1), [A, R]."""
        canvas = self.canvas
        # Given tokens, anchors and prompt, bear no step of the decoder's.
        own_AR = ~canvas.open_BL[rows.at] & (canvas.step_BL[rows.at] >= 0)
        sure_AR = candidates.probability_AR > threshold
        return own_AR & sure_AR & (candidates.token_AR != canvas.tokens_BL[rows.at])

    def _remask(self, rows: StepRows) -> None:
        """Open again what hooks ask for, within each row's budget.

        Raises:
            MidspanError: If a hook asks for an anchor, or with a cache for another block's
                position.
        """
        canvas, block = self.canvas, self.config.block
        remasked_AL = run_remask(self.hooks, self.view(rows.rows_A))
        if remasked_AL is None:
            return
        index, position = (part.cpu().numpy() for part in remasked_AL.nonzero(as_tuple=True))
        row = rows.rows_A[index]
        if canvas.offset_B is not None:
            position = position + canvas.offset_B.cpu().numpy()[row]
        if self.has_blocks and (position // block != rows.start_A[index] // block).any():
            raise MidspanError(
                "may_remask: with a cache, only the block that a row is in opens again"
            )
        order_in_row = np.arange(len(index)) - np.searchsorted(index, index)
        granted = order_in_row < self.budget_B[row]
        row, position = row[granted], position[granted]
        np.subtract.at(self.budget_B, row, 1)
        device = canvas.ids_BT.device
        at: Any = tuple(torch.from_numpy(part).to(device) for part in (row, position))
        assert self.lm.tokens.mask is not None
        canvas.reopen(at, self.lm.tokens.mask)

    def leaving(self, ended_B: NDArray[np.bool_]) -> Iterator[tuple[int, Filled]]:
        """Requests and results of these rows."""
        canvas, notes = self.canvas.select(ended_B), self.notes.select(ended_B)
        forwards_B = self.states.steps_B[ended_B] * self.config.forwards_per_step + notes.extra_B
        left_open_B = canvas.of_requests(canvas.open_BL).any(1).cpu().numpy()
        broken_B = canvas.broken_B
        for index, (row, filled) in enumerate(
            zip(canvas.rows.tolist(), canvas.traces(), strict=True)
        ):
            how = (int(forwards_B[index]), bool(left_open_B[index]))
            ends = bool(notes.past_end_B[index]), bool(broken_B[index])
            yield row, Filled(*filled, *how, notes.rejected.get(row, ""), *ends)

    def step_view(self, number: int, committed: Committed) -> StepView:
        """What a callback sees after step `number` of the batch."""
        canvas = self.canvas
        committed_BL = torch.zeros_like(canvas.open_BL)
        committed_BL[committed.at] = committed.chosen_AR
        return StepView(
            number,
            max(self.states.total, number + 1),
            canvas.of_requests(canvas.tokens_BL),
            canvas.of_requests(committed_BL),
            tuple(canvas.rows.tolist()),
        )


def drawn_order(
    config: DecodingConfig, canvas: Canvas, seed_B: Tensor
) -> tuple[Tensor | None, NDArray[np.int64] | None]:
    """For remasking="random", what positions compete by, and the step of each where it is drawn.

    An order drawn in advance commits the same positions as random picks at each step.
    """
    if config.remasking != "random":
        return None, None
    position_BL = torch.arange(canvas.length, device=seed_B.device).expand(len(seed_B), -1)
    draw_B = torch.full_like(seed_B, _PRIORITY_DRAW)
    priority_BL = hashed_uniform(seed_B, draw_B, canvas.own_positions(position_BL))
    if config.sampler != "dream":
        return priority_BL, None
    times_BL = random_times(priority_BL.cpu().numpy(), config.steps, config.eps)
    return -torch.from_numpy(times_BL).float().to(seed_B.device), times_BL
