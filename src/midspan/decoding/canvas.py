"""Canvases: what is asked of a row, and the state of a batch of rows being filled.

Shapes: B rows, P prompt width, L canvas length, T = P + L.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from midspan.decoding.config import DecodingConfig
from midspan.decoding.trace import ANCHOR_STEP, Trace
from midspan.errors import MidspanError
from midspan.models.model import DiffusionLM


@dataclass(frozen=True)
class Request:
    """One canvas to fill.

    Attributes:
        prompt_ids: The prompt. Mask tokens in it are read by the model and never filled.
        anchors: Canvas position to the token id fixed there before decoding.
        seed: Seed of this row's own random draws.
    """

    prompt_ids: tuple[int, ...]
    anchors: Mapping[int, int] = field(default_factory=dict)
    seed: int = 0


def anchor_phrase(lm: DiffusionLM, text: str, start: int) -> dict[int, int]:
    """Anchors that fix a phrase from canvas position `start` on.

    Raises:
        MidspanError: If the phrase is empty or starts before the canvas.
    """
    ids = lm.encode_phrase(text)
    if not ids:
        raise MidspanError(f"anchors: the phrase {text!r} has no tokens")
    if start < 0:
        raise MidspanError(f"anchors: position {start} is before the canvas; start at 0 or later")
    return dict(enumerate(ids, start))


def merge_anchors(*parts: Mapping[int, int]) -> dict[int, int]:
    """All anchors in one mapping.

    Raises:
        MidspanError: If two parts claim the same position.
    """
    merged: dict[int, int] = {}
    for part in parts:
        overlap = sorted(merged.keys() & part.keys())
        if overlap:
            raise MidspanError(f"anchors overlap at canvas position {overlap[0]}; move one phrase")
        merged |= part
    return merged


def check_requests(lm: DiffusionLM, requests: Sequence[Request], config: DecodingConfig) -> None:
    """Refuse what cannot be decoded, before work starts.

    Raises:
        MidspanError: Naming the request, the field and the fix.
    """
    if lm.tokens.mask is None:
        raise MidspanError(f"model: family {lm.family.name} has no mask token to denoise from")
    vocab_size = lm.model.get_input_embeddings().num_embeddings
    for index, request in enumerate(requests):
        for problem in _problems(request, config.length, lm, vocab_size):
            raise MidspanError(f"requests[{index}].{problem}")


def _problems(request: Request, length: int, lm: DiffusionLM, vocab_size: int) -> list[str]:
    prompt, anchors = request.prompt_ids, request.anchors
    problems = []
    if not prompt:
        problems.append("prompt_ids is empty; give at least one token")
    elif min(prompt) < 0 or max(prompt) >= vocab_size:
        problems.append(f"prompt_ids has an id outside the vocabulary of {vocab_size}")
    if len(prompt) + length > lm.max_length:
        problems.append(
            f"prompt_ids has {len(prompt)} tokens, and with length={length} exceeds the model's "
            f"{lm.max_length}; shorten the prompt or lower decoding.length"
        )
    for position, token in anchors.items():
        if not 0 <= position < length:
            problems.append(f"anchors: position {position} is outside the canvas 0..{length - 1}")
        if token == lm.tokens.mask:
            problems.append(f"anchors: position {position} holds the mask token; leave it out")
        elif not 0 <= token < vocab_size:
            problems.append(f"anchors: token {token} is outside the vocabulary of {vocab_size}")
    return problems


@dataclass
class Canvas:
    """The rows of a batch, left padded, and what is known of each canvas position.

    Attributes:
        ids_BT: Prompt and canvas.
        attention_BT: 1 at real positions; None where nothing is padded.
        open_BL: True where nothing is committed yet.
        step_BL: The step that committed the token.
        confidence_BL: Its confidence.
        rows: Indices into the requests, [B].
    """

    ids_BT: Tensor
    attention_BT: Tensor | None
    open_BL: Tensor
    step_BL: Tensor
    confidence_BL: Tensor
    rows: np.ndarray[Any, np.dtype[np.int64]]

    @classmethod
    def create(
        cls, lm: DiffusionLM, requests: Sequence[Request], rows: Sequence[int], length: int
    ) -> Self:
        """Canvases with nothing but anchors, for the requests at `rows`."""
        chosen = [requests[row] for row in rows]
        width = max(len(request.prompt_ids) for request in chosen)
        ids = np.full((len(chosen), width + length), lm.tokens.mask)
        attention = np.ones_like(ids)
        for row, request in enumerate(chosen):
            pads = width - len(request.prompt_ids)
            ids[row, :pads] = lm.tokens.pad
            ids[row, pads:width] = request.prompt_ids
            attention[row, :pads] = 0
            for position, token in request.anchors.items():
                ids[row, width + position] = token
        ids_BT = torch.from_numpy(ids).to(lm.device)
        return cls(
            ids_BT=ids_BT,
            attention_BT=None if attention.all() else torch.from_numpy(attention).to(lm.device),
            open_BL=ids_BT[:, width:] == lm.tokens.mask,
            step_BL=torch.full((len(chosen), length), ANCHOR_STEP, device=lm.device),
            confidence_BL=torch.ones(len(chosen), length, device=lm.device),
            rows=np.asarray(rows),
        )

    @property
    def length(self) -> int:
        """L."""
        return self.open_BL.shape[1]

    @property
    def width(self) -> int:
        """P, the padded prompt's width."""
        return self.ids_BT.shape[1] - self.length

    @property
    def tokens_BL(self) -> Tensor:
        """The canvases, a view."""
        return self.ids_BT[:, self.width :]

    def commit(self, position_BR: Tensor, token_BR: Tensor, chosen_BR: Tensor) -> None:
        """Fix the chosen tokens at their positions; the positions of a row are distinct."""
        current_BR = self.tokens_BL.gather(1, position_BR)
        new_BR = torch.where(chosen_BR, token_BR, current_BR)
        self.tokens_BL.scatter_(1, position_BR, new_BR)
        still_open_BR = self.open_BL.gather(1, position_BR) & ~chosen_BR
        self.open_BL.scatter_(1, position_BR, still_open_BR)

    def record(self, position_BR: Tensor, chosen_BR: Tensor, step: int, value_BR: Tensor) -> None:
        """Note step and confidence of what was committed."""
        step_BR = self.step_BL.gather(1, position_BR).masked_fill(chosen_BR, step)
        self.step_BL.scatter_(1, position_BR, step_BR)
        old_BR = self.confidence_BL.gather(1, position_BR)
        self.confidence_BL.scatter_(1, position_BR, torch.where(chosen_BR, value_BR, old_BR))

    def ended(self, stop: Collection[int]) -> Tensor:
        """Rows [B] in which everything up to the first committed stop token is committed."""
        # One comparison a token keeps the ids off the device.
        end_BL = torch.stack([self.tokens_BL == token for token in stop]).any(0)
        position_L = torch.arange(self.length, device=end_BL.device)
        first_end_B = torch.where(end_BL, position_L, self.length).amin(1)
        first_open_B = torch.where(self.open_BL, position_L, self.length).amin(1)
        return first_end_B < first_open_B

    def select(self, kept: np.ndarray[Any, np.dtype[np.bool_]]) -> "Canvas":
        """The kept rows, [B]."""
        index = torch.from_numpy(np.flatnonzero(kept)).to(self.ids_BT.device)
        attention = self.attention_BT
        return Canvas(
            ids_BT=self.ids_BT[index],
            attention_BT=None if attention is None else attention[index],
            open_BL=self.open_BL[index],
            step_BL=self.step_BL[index],
            confidence_BL=self.confidence_BL[index],
            rows=self.rows[kept],
        )

    def traces(self) -> list[tuple[tuple[int, ...], Trace]]:
        """Tokens and trace of every row."""
        tokens = self.tokens_BL.cpu().numpy()
        committed = (~self.open_BL).cpu().numpy()
        step, confidence = self.step_BL.cpu().numpy(), self.confidence_BL.cpu().numpy()
        return [
            (tuple(row[0].tolist()), Trace.from_canvas(*row))
            for row in zip(tokens, committed, step, confidence, strict=True)
        ]
