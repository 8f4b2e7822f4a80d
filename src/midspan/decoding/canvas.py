"""Canvases: what is asked of a row, and the state of a batch of rows being filled.

Shapes: B rows, A rows of a step, R positions of a step, P prompt width, L canvas length, T = P + L.
Under block diffusion the canvas begins at a block's border: it takes in the prompt's tail, `offset`
tokens that are given, and reaches to the end of the last block.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from midspan.decoding.rule import Rule
from midspan.decoding.trace import ANCHOR_STEP, Trace
from midspan.models.finite import faults
from midspan.models.model import DiffusionLM
from midspan.models.padding import left_padded

IntArray = NDArray[np.int64]
# In place of a token.
_OPEN = -1
# What is known of the rows, on the device.
_KNOWN = ("open_BL", "step_BL", "confidence_BL", "fault_B")


@dataclass(frozen=True)
class Copies:
    """Prompts that are all answered in place of one.

    Attributes:
        rule: What chooses one of the answers.
        prompts: Their ids.
    """

    rule: Rule
    prompts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Request:
    """One canvas to fill.

    Attributes:
        prompt_ids: The prompt. Mask tokens in it are read by the model and never filled.
        anchors: Canvas position to the token id fixed there before decoding.
        seed: Seed of this row's own random draws.
        rules: What changes the decoding of this row alone, after the config's rules.
        copies: What is decoded in place of the prompt.
        rejected_by: The rule that rejected the conversation, so that nothing is decoded.
    """

    prompt_ids: tuple[int, ...]
    anchors: Mapping[int, int] = field(default_factory=dict)
    seed: int = 0
    rules: tuple[Rule, ...] = ()
    copies: Copies | None = None
    rejected_by: str = ""


def _padded_rows(
    lm: DiffusionLM, chosen: Sequence[Request], offset: IntArray, length: int
) -> tuple[Tensor, Tensor | None]:
    """Ids and attention of prompts and masked canvases of `length`, both [B, T]."""
    assert lm.tokens.mask is not None
    rows = []
    for request, tail in zip(chosen, offset.tolist(), strict=True):
        canvas = [lm.tokens.mask] * (length - tail)
        for position, token in request.anchors.items():
            canvas[position] = token
        rows.append([*request.prompt_ids, *canvas])
    return left_padded(rows, lm.tokens.pad, lm.device)


@dataclass
class Canvas:
    """The rows of a batch, left padded, and what is known of each canvas position.

    Attributes:
        ids_BT: Prompt and canvas.
        attention_BT: 1 at real positions; None where nothing is padded.
        open_BL: True where nothing is committed yet.
        step_BL: The step that committed the token.
        confidence_BL: Its confidence.
        fault_B: 0, and NaN once a row's logits were not finite.
        rows: Indices into the requests, [B].
        real_B: Columns of each row that are not padding, on the host.
        offset_B: Tokens of the prompt's tail in the canvas; None where there are none.
        size: Length of a request's own canvas; None where it is L.
    """

    ids_BT: Tensor
    attention_BT: Tensor | None
    open_BL: Tensor
    step_BL: Tensor
    confidence_BL: Tensor
    fault_B: Tensor
    rows: IntArray
    real_B: IntArray
    offset_B: Tensor | None = None
    size: int | None = None

    @classmethod
    def create(
        cls,
        lm: DiffusionLM,
        requests: Mapping[int, Request] | Sequence[Request],
        rows: Sequence[int],
        length: int,
        block: int | None = None,
    ) -> Self:
        """Canvases with nothing but anchors, for the requests at `rows`.

        Args:
            lm: The model.
            requests: All requests, by the numbers that `rows` has.
            rows: Those of this batch.
            length: Of a request's canvas.
            block: Where given, canvases begin and end at borders of blocks of this length.
        """
        chosen = [requests[row] for row in rows]
        sizes = np.array([len(request.prompt_ids) for request in chosen])
        offset = sizes % block if block else np.zeros_like(sizes)
        ends = -(-(offset + length) // block) * block if block else offset + length
        # The longest that any prompt makes it, so that canvases can join.
        longest = -(-(block - 1 + length) // block) * block if block else length
        ids_BT, attention_BT = _padded_rows(lm, chosen, offset, longest)
        position_L = np.arange(longest)
        is_open = (position_L >= offset[:, None]) & (position_L < ends[:, None])
        for row, request in enumerate(chosen):
            is_open[row, offset[row] + np.array(list(request.anchors), dtype=np.int64)] = False
        shape, device = is_open.shape, lm.device
        return cls(
            ids_BT=ids_BT,
            attention_BT=attention_BT,
            open_BL=torch.from_numpy(is_open).to(device),
            step_BL=torch.full(shape, ANCHOR_STEP, device=device),
            confidence_BL=torch.ones(shape, device=device),
            fault_B=torch.zeros(len(rows), device=device),
            rows=np.asarray(rows),
            real_B=sizes - offset + longest,
            offset_B=torch.from_numpy(offset).to(device) if block else None,
            size=length if block else None,
        )

    @property
    def length(self) -> int:
        """L."""
        return self.open_BL.shape[1]

    @property
    def first_B(self) -> IntArray:
        """Each row's first column that is not padding, on the host."""
        return self.ids_BT.shape[1] - self.real_B

    @property
    def width(self) -> int:
        """P, the padded prompt's width."""
        return self.ids_BT.shape[1] - self.length

    @property
    def tokens_BL(self) -> Tensor:
        """The canvases, a view."""
        return self.ids_BT[:, self.width :]

    def of_requests(self, values_BL: Tensor) -> Tensor:
        """What belongs to the requests' own canvases, without prompt tails and filling."""
        if self.offset_B is None or self.size is None:
            return values_BL
        position_L = torch.arange(self.size, device=values_BL.device)
        return values_BL.gather(1, self.offset_B[:, None] + position_L)

    def own_positions(self, position_AR: Tensor, row_A1: Tensor | None = None) -> Tensor:
        """Positions as the requests count them, without the prompt's tail.

        Args:
            position_AR: Canvas positions.
            row_A1: Their rows; None for all, in order.
        """
        if self.offset_B is None:
            return position_AR
        return position_AR - (self.offset_B[:, None] if row_A1 is None else self.offset_B[row_A1])

    def commit(self, id_at_AR: Tensor, at_AR: Tensor, token_AR: Tensor, chosen_AR: Tensor) -> None:
        """Fix the chosen tokens; those of a row are at distinct places, counted row after row."""
        _put(self.ids_BT, id_at_AR, chosen_AR, token_AR)
        _put(self.open_BL, at_AR, chosen_AR, ~chosen_AR)

    def record(self, at_AR: Tensor, chosen_AR: Tensor, step_A1: Tensor, value_AR: Tensor) -> None:
        """Note step and confidence of what was committed."""
        _put(self.step_BL, at_AR, chosen_AR, step_A1)
        _put(self.confidence_BL, at_AR, chosen_AR, value_AR)

    def check(self, logits_BRV: Tensor, open_BR: Tensor) -> Tensor:
        """The logits, of all rows; those not finite at open positions are noted, and cleared."""
        fault_B = torch.where(open_BR, faults(logits_BRV), 0.0).sum(1)
        self.fault_B += fault_B
        return logits_BRV.masked_fill_(fault_B.isnan()[:, None, None], 0.0)

    @property
    def broken_B(self) -> NDArray[np.bool_]:
        """Rows whose logits were not finite, [B], on the host."""
        broken_B: NDArray[np.bool_] = np.isnan(self.fault_B.cpu().numpy())
        return broken_B

    def reopen(self, at: tuple[Tensor, Tensor], mask: int) -> None:
        """Mask the positions again at rows and positions `at`."""
        self.tokens_BL[at] = mask
        self.open_BL[at] = True
        # As at first: what a hook anchors there is an anchor.
        self.step_BL[at] = ANCHOR_STEP
        self.confidence_BL[at] = 1.0

    def on_host(self) -> tuple[IntArray, NDArray[np.bool_]]:
        """Tokens and what is open, [B, L] each, in one round trip; nothing there may be changed."""
        if self.ids_BT.device.type == "cpu":
            return self.tokens_BL.numpy(), self.open_BL.numpy()
        state_BL = self.tokens_BL.masked_fill(self.open_BL, _OPEN).cpu().numpy()
        return state_BL, state_BL == _OPEN

    def ends(
        self, stop: Collection[int], tokens_BL: IntArray, open_BL: NDArray[np.bool_]
    ) -> IntArray:
        """The stop token of each row, [B], with nothing open before; L if none; see `on_host`."""
        end_BL = np.zeros_like(open_BL)
        for token in stop:
            end_BL |= tokens_BL == token
        if self.offset_B is not None:
            end_BL &= np.arange(self.length) >= self.offset_B.cpu().numpy()[:, None]
        end_BL &= ~np.logical_or.accumulate(open_BL, axis=1)
        return np.where(end_BL.any(1), end_BL.argmax(1), self.length)

    def select(self, kept: NDArray[np.bool_]) -> "Canvas":
        """The kept rows, [B]."""
        index = torch.from_numpy(np.flatnonzero(kept)).to(self.ids_BT.device)
        names = (*_KNOWN, "ids_BT", "attention_BT", "offset_B")
        held: dict[str, Tensor | None] = {name: getattr(self, name) for name in names}
        chosen: dict[str, Any] = {
            name: None if values is None else values[index] for name, values in held.items()
        }
        return Canvas(rows=self.rows[kept], real_B=self.real_B[kept], size=self.size, **chosen)

    def join(self, other: "Canvas") -> "Canvas":
        """These rows and those of another canvas of the same length, as wide as they need."""
        ids_BT, real_BT = self.ids_BT, self._real_BT
        unused = int(self.first_B.min())
        total = max(self.width - unused, other.width) + self.length
        joined_BT, attention_BT = (
            torch.cat([pad(part, (total - part.shape[1], 0)) for part in parts])
            for parts in (
                (ids_BT[:, unused:], other.ids_BT),
                (real_BT[:, unused:], other._real_BT),
            )
        )
        offset_B = None
        if self.offset_B is not None and other.offset_B is not None:
            offset_B = torch.cat([self.offset_B, other.offset_B])
        real_B = np.concatenate([self.real_B, other.real_B])
        return Canvas(
            ids_BT=joined_BT,
            attention_BT=None if (real_B == total).all() else attention_BT,
            **{name: torch.cat([getattr(self, name), getattr(other, name)]) for name in _KNOWN},
            rows=np.concatenate([self.rows, other.rows]),
            real_B=real_B,
            offset_B=offset_B,
            size=self.size,
        )

    @property
    def _real_BT(self) -> Tensor:
        return torch.ones_like(self.ids_BT) if self.attention_BT is None else self.attention_BT

    def traces(self) -> list[tuple[tuple[int, ...], Trace]]:
        """Tokens and trace of every row."""
        columns = (self.tokens_BL, ~self.open_BL, self.step_BL, self.confidence_BL)
        arrays = [self.of_requests(column).cpu().numpy() for column in columns]
        return [
            (tuple(row[0].tolist()), Trace.from_canvas(*row)) for row in zip(*arrays, strict=True)
        ]


def _put(held_BX: Tensor, place_AR: Tensor, chosen_AR: Tensor, new_AX: Tensor) -> None:
    """Write at the chosen places; `put_` has no deterministic kernel."""
    new_AR = torch.where(chosen_AR, new_AX, held_BX.take(place_AR))
    held_BX.view(-1).scatter_(0, place_AR.view(-1), new_AR.view(-1))
