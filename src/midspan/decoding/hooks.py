"""Hooks: where rules of one's own enter the decoder, and what they see and may do.

Every step goes through the same points: `before_forward`, `edit_logits`, `choose`, `after_commit`,
`may_remask`. The built-in rules (`commit_rules.py`) have chosen before a hook's `choose`.
Shapes: B rows, A rows of a step, L a request's canvas, R positions of a step, V vocabulary.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from midspan.decoding.canvas import Canvas
from midspan.decoding.commit_rules import by_schedule
from midspan.decoding.draws import hashed_uniform
from midspan.decoding.notes import RowNotes
from midspan.decoding.schedule import RowStates
from midspan.decoding.step import Candidates
from midspan.decoding.trace import ANCHOR_STEP, CLOSED_STEP
from midspan.errors import MidspanError

IntArray = NDArray[np.int64]
# Draws of hooks, beside those of the sampler.
_HOOK_DRAWS = 2 << 32


class View:
    """What a hook sees of the rows of a step, and what it may do to them.

    Rows are numbered 0..A-1 within the view. Tensors are copies, made when asked for.

    Args:
        canvas: Of the batch.
        rows_A: The rows' places in the batch.
        states: Where each row of the batch stands.
        notes: What hooks have done to the batch's rows.
        seed_B: Seeds of the batch's rows.
        hidden: Hidden states of the rows by layer, [A, L, D]; None where no forward was.

    Attributes:
        requests: The rows' indices into the requests, A.
        step_A: The forwards that each row has behind it.
        changed: Whether `anchor`, `close`, `stop` or `reject` did anything.
    """

    def __init__(
        self,
        canvas: Canvas,
        rows_A: IntArray,
        states: RowStates,
        notes: RowNotes,
        seed_B: Tensor,
        hidden: Mapping[int, Tensor] | None = None,
    ) -> None:
        self._canvas, self._states, self._notes = canvas, states, notes
        self._seed_B, self._hidden = seed_B, hidden
        self._host_rows_A = rows_A
        self._rows_A = torch.from_numpy(rows_A).to(canvas.ids_BT.device)
        self.requests: tuple[int, ...] = tuple(canvas.rows[rows_A].tolist())
        self.step_A: tuple[int, ...] = tuple(states.steps_B[rows_A].tolist())
        self.changed = False

    def of(self, rows: Sequence[int]) -> "View":
        """The same of some rows alone."""
        kept, hidden = list(rows), self._hidden
        if hidden is not None:
            hidden = {layer: states_ALD[kept] for layer, states_ALD in hidden.items()}
        rows_A = self._host_rows_A[kept]
        return View(self._canvas, rows_A, self._states, self._notes, self._seed_B, hidden)

    def hidden(self, layer: int) -> Tensor:
        """Hidden states of the canvases in the step's forward, [A, L, D], D the hidden width.

        From `edit_logits` to `may_remask`, of layers that a hook's `layers` names: 0 for the
        embeddings, i for the i-th layer's output, -1 for what the output layer takes. Under
        guidance, those behind the prompt.

        Raises:
            MidspanError: There are none.
        """
        if self._hidden is None or layer not in self._hidden:
            raise MidspanError(
                f"hidden: layer {layer} is there from edit_logits on, where a hook's layers name it"
            )
        return self._hidden[layer]

    def prompt(self, row: int) -> list[int]:
        """The ids that stand before a row's canvas, without padding."""
        canvas, index = self._canvas, self._rows_A[row]
        end = canvas.width + (0 if canvas.offset_B is None else int(canvas.offset_B[index]))
        ids_T = canvas.ids_BT[index, :end]
        if canvas.attention_BT is not None:
            ids_T = ids_T[canvas.attention_BT[index, :end].bool()]
        ids: list[int] = ids_T.tolist()
        return ids

    def uniform(self, position_AR: Tensor) -> Tensor:
        """Numbers in [0, 1) by each request's own seed, the step and the position, [A, R]."""
        seed_A = self._seed_B[self._rows_A]
        step_A = torch.tensor(self.step_A, device=seed_A.device) + _HOOK_DRAWS
        return hashed_uniform(seed_A, step_A, position_AR)

    @property
    def block_AL(self) -> Tensor:
        """True in the block that each row is in."""
        first_A, last_A = self._states.borders(self._host_rows_A)
        position_L = torch.arange(self._canvas.length)
        block_AL = (position_L >= first_A[:, None]) & (position_L < last_A[:, None])
        whole_BL = torch.zeros_like(self._canvas.open_BL)
        whole_BL[self._rows_A] = block_AL.to(whole_BL.device)
        return self._canvas.of_requests(whole_BL)[self._rows_A]

    @property
    def progress_A(self) -> tuple[float, ...]:
        """How far each row is in the steps of its block: 0 in the first, 1 in the last."""
        return tuple(self._states.progress(self._host_rows_A).tolist())

    @property
    def tokens_AL(self) -> Tensor:
        """The canvases; the mask token where open."""
        return self._canvas.of_requests(self._canvas.tokens_BL)[self._rows_A]

    @property
    def open_AL(self) -> Tensor:
        """True where nothing is committed."""
        return self._canvas.of_requests(self._canvas.open_BL)[self._rows_A]

    @property
    def anchored_AL(self) -> Tensor:
        """True at anchors, the request's and those of hooks."""
        step_AL = self._canvas.of_requests(self._canvas.step_BL)[self._rows_A]
        return (step_AL == ANCHOR_STEP) & ~self.open_AL

    @property
    def confidence_AL(self) -> Tensor:
        """Confidence of what is committed, 1 at anchors and open positions."""
        return self._canvas.of_requests(self._canvas.confidence_BL)[self._rows_A]

    def anchor(self, row: int, position: int, token: int) -> None:
        """Fix a token at an open position; to anchor what an anchor already holds does nothing.

        Raises:
            MidspanError: If the position is outside the canvas, or is committed.
        """
        size = self._canvas.size or self._canvas.length
        if not 0 <= position < size:
            raise MidspanError(f"anchor: position {position} is outside the canvas 0..{size - 1}")
        offset_B, index = self._canvas.offset_B, self._rows_A[row]
        canvas_position = position if offset_B is None else position + int(offset_B[index])
        at = (index, torch.tensor(canvas_position, device=index.device))
        held, is_open = int(self._canvas.tokens_BL[at]), bool(self._canvas.open_BL[at])
        is_anchor = not is_open and int(self._canvas.step_BL[at]) == ANCHOR_STEP
        if is_anchor and held == token:
            return
        if not is_open:
            what = "an anchor" if is_anchor else "a committed token"
            raise MidspanError(f"anchor: position {position} holds {what} and cannot be changed")
        self._canvas.tokens_BL[at] = token
        self._canvas.open_BL[at] = False
        self.changed = True

    def anchor_where_open(self, row: int, tokens: Sequence[int], start: int) -> None:
        """Fix tokens from a position on, and leave out those whose position is committed."""
        open_L = self.open_AL[row].tolist()
        for position, token in enumerate(tokens, start):
            if open_L[position]:
                self.anchor(row, position, token)

    def close(self, positions: Sequence[int]) -> None:
        """Leave these positions masked in all rows where they are open: they are not filled."""
        own_L = torch.zeros(self.open_AL.shape[1], dtype=torch.bool)
        own_L[list(positions)] = True
        row_N, position_N = (self.open_AL & own_L.to(self._rows_A.device)).nonzero(as_tuple=True)
        index_N, offset_B = self._rows_A[row_N], self._canvas.offset_B
        if offset_B is not None:
            position_N = position_N + offset_B[index_N]
        self._canvas.open_BL[index_N, position_N] = False
        self._canvas.step_BL[index_N, position_N] = CLOSED_STEP
        self.changed |= len(index_N) > 0

    def stop(self, row: int) -> None:
        """Let a row leave as it is, with what is open left open."""
        self._notes.stopped_B[self._host_rows_A[row]] = True
        self.changed = True

    def reject(self, row: int, by: str) -> None:
        """Stop a row, whose answer is then a refusal; `by` names the monitor."""
        self._notes.rejected.setdefault(self.requests[row], by)
        self.stop(row)

    def read_past_end(self) -> None:
        """Decode all rows to their last position, and read their text beyond end tokens."""
        self._notes.past_end_B[self._host_rows_A] = True

    def spend(self, row: int, forwards: int) -> None:
        """Count forwards that a hook takes of its own for a row."""
        self._notes.extra_B[self._host_rows_A[row]] += forwards


@dataclass
class Proposal:
    """What a step is about to commit.

    Attributes:
        position_AR: Canvas positions looked at; under block diffusion the last block's may lie
            behind the canvas.
        open_AR: True where they are open; the others fill up rows that have fewer.
        candidates: Token, probability and score of each.
        commits_A: How many the schedule commits.
        chosen_AR: True where committed, as the sampler and the hooks so far have it.
    """

    position_AR: Tensor
    open_AR: Tensor
    candidates: Candidates
    commits_A: Tensor
    chosen_AR: Tensor


class Hook:
    """What acts in the decoder; override what it needs. A named one is made by a `Rule`.

    A hook's exception ends decoding and reaches the caller as it is, with a note that names hook
    and point. A hook that must not make rows depend on each other looks at each row alone. Where
    a batch is decoded again because memory ran out, hooks see its rows again.

    Attributes:
        layers: Layers whose hidden states it reads from its views (`View.hidden`); a forward
            leaves none where no hook names any. Not with a cache or sampler "block", whose
            forwards do not take the whole canvas.
    """

    layers: tuple[int, ...] = ()

    def on_canvas(self, view: View) -> None:
        """Before anything is decoded: may anchor and stop."""

    def before_forward(self, view: View) -> None:
        """Before a forward: may anchor and stop. Called again where it did."""

    def edit_logits(self, view: View, position_AR: Tensor, logits_ARV: Tensor) -> None:
        """Change logits in place; minus infinity bans a token. One at least must stay."""

    def choose(self, view: View, proposal: Proposal) -> Tensor:
        """The open positions to commit, [A, R].

        A row in which nothing is chosen commits its best position all the same.
        """
        return proposal.chosen_AR

    def after_commit(self, view: View) -> None:
        """After a step: may anchor and stop."""

    def may_remask(self, view: View) -> Tensor | None:
        """Committed positions to open again, [A, L], or None; anchors cannot be.

        With a cache, only in the block that a row is in. A row's canvas length is the most that
        is opened again; what is asked for beyond has no effect, so that decoding ends.
        """
        return None


class Named:
    """Adds to an exception which hook raised it, and where."""

    def __init__(self, hook: Hook, point: str) -> None:
        self._note = f"raised by the hook {type(hook).__name__}.{point}"

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            error.add_note(self._note)


def run_choose(hooks: Iterable[Hook], view: View, proposal: Proposal) -> Tensor:
    """What the hooks choose, one after the other.

    Raises:
        MidspanError: If a hook chooses a position that is not open.
    """
    open_AR, score_AR = proposal.open_AR, proposal.candidates.score_AR
    best_AR = by_schedule(score_AR, open_AR, torch.ones_like(proposal.commits_A))
    for hook in hooks:
        with Named(hook, "choose"):
            chosen_AR = hook.choose(view, proposal)
            if (chosen_AR & ~open_AR).any():
                raise MidspanError(f"hook {type(hook).__name__}: chose a position that is not open")
            idle_A1 = ~chosen_AR.any(1, keepdim=True)
            proposal.chosen_AR = torch.where(idle_A1, best_AR, chosen_AR)
    return proposal.chosen_AR


def run_remask(hooks: Iterable[Hook], view: View) -> Tensor | None:
    """Positions that hooks open again, [A, L]; None where there are none.

    Raises:
        MidspanError: If one of them holds an anchor.
    """
    all_AL = None
    for hook in hooks:
        with Named(hook, "may_remask"):
            remasked_AL = hook.may_remask(view)
            if remasked_AL is None:
                continue
            if (remasked_AL & view.anchored_AL).any():
                raise MidspanError(f"hook {type(hook).__name__}: would re-mask an anchor")
            all_AL = remasked_AL if all_AL is None else all_AL | remasked_AL
    return None if all_AL is None else all_AL & ~view.open_AL
