"""The decoder: canvas, then step by step: forward, edit logits, choose, commit.

It follows the published samplers of LLaDA (generate.py, ML-GSAI/LLaDA) and Dream
(generation_utils.py, DreamLM/Dream) without their faults; `published.py` has those.
Shapes: B rows, L canvas, R open positions of the current block, T prompt and canvas, V vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from midspan.decoding import published
from midspan.decoding.canvas import Canvas, Request, check_requests
from midspan.decoding.choice import choose, edit_logits, gumbel, select
from midspan.decoding.config import DecodingConfig
from midspan.decoding.schedule import Plan, plan_row, random_times
from midspan.decoding.trace import Generation, StepView, Trace
from midspan.decoding.uniform import decode_uniform
from midspan.errors import MidspanError
from midspan.models.model import DiffusionLM

OnStep = Callable[[StepView], None]


class Filled(NamedTuple):
    """A `Generation` before its tokens become text."""

    tokens: tuple[int, ...]
    trace: Trace
    forwards: int
    stopped_early: bool


def decode(
    lm: DiffusionLM,
    requests: Sequence[Request],
    config: DecodingConfig,
    *,
    batch_size: int = 32,
    on_step: OnStep | None = None,
) -> list[Generation]:
    """Fill the canvases of all requests.

    A row's result depends on its request and the config only, not on the rows beside it.

    Args:
        lm: A `midspan.models.DiffusionLM`.
        requests: Prompts, anchors and seeds.
        config: How to decode.
        batch_size: Rows that go through the model together.
        on_step: Called after every step of every batch.

    Returns:
        Generations in the order of the requests.

    Raises:
        MidspanError: If a request cannot be decoded, before any is.
    """
    if lm.family.noise == "uniform":
        return decode_uniform(lm, requests, config, on_step)
    filled = fill(lm, requests, config, batch_size=batch_size, on_step=on_step)
    return [
        Generation(row.tokens, lm.decode_text(row.tokens), row.trace, *row[2:]) for row in filled
    ]


@torch.inference_mode()
def fill(
    lm: DiffusionLM,
    requests: Sequence[Request],
    config: DecodingConfig,
    *,
    batch_size: int = 32,
    on_step: OnStep | None = None,
) -> list[Filled]:
    """`decode` without text, for models without a tokenizer."""
    if batch_size < 1:
        raise MidspanError(f"batch_size={batch_size} must be at least 1")
    check_requests(lm, requests, config)
    rows = list(range(len(requests)))
    if not config.compatibility:  # whose global random draws depend on the order
        rows.sort(key=lambda row: len(requests[row].prompt_ids), reverse=True)
    results: dict[int, Filled] = {}
    for first in range(0, len(rows), batch_size):
        batch = rows[first : first + batch_size]
        canvas = Canvas.create(lm, requests, batch, config.length)
        if config.compatibility:
            results.update(_fill_as_published(lm, canvas, config, on_step))
        else:
            seeds = [requests[row].seed for row in batch]
            results.update(_fill_batch(_Batch.start(lm, canvas, seeds, config), on_step))
    return [results[row] for row in range(len(requests))]


def _fill_as_published(
    lm: DiffusionLM, canvas: Canvas, config: DecodingConfig, on_step: OnStep | None
) -> Iterator[tuple[int, Filled]]:
    for view in published.steps(lm, canvas, config):
        if on_step is not None:
            on_step(view)
    forwards = config.steps * config.forwards_per_step
    for row, (tokens, trace) in zip(canvas.rows.tolist(), canvas.traces(), strict=True):
        yield row, Filled(tokens, trace, forwards, stopped_early=False)


@dataclass
class _Batch:
    """Rows being decoded together: their canvases, plans and random states.

    Attributes:
        generators: One a row, so that its draws do not depend on the rows beside it.
        priority_BL: The order drawn for remasking="random", else None.
    """

    lm: DiffusionLM
    config: DecodingConfig
    canvas: Canvas
    plan: Plan
    generators: list[torch.Generator]
    priority_BL: Tensor | None

    @classmethod
    def start(
        cls, lm: DiffusionLM, canvas: Canvas, seeds: Sequence[int], config: DecodingConfig
    ) -> "_Batch":
        """Draw what is drawn in advance, and plan every forward."""
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        priority_BL = None
        times_BL: Any = [None] * len(generators)
        if config.remasking == "random":
            # An order drawn in advance commits the same positions as random picks at each step.
            priority_BL = torch.stack([torch.rand(config.length, generator=g) for g in generators])
            if config.sampler == "dream":
                times_BL = random_times(priority_BL.numpy(), config.steps, config.eps)
                priority_BL = -torch.from_numpy(times_BL).float()
            priority_BL = priority_BL.to(lm.device)
        open_BL = canvas.open_BL.cpu().numpy()
        plans = [plan_row(row, config, times) for row, times in zip(open_BL, times_BL, strict=True)]
        return cls(lm, config, canvas, Plan.stack(plans, lm.device), generators, priority_BL)

    def ended(self, step: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Rows [B] that need no further forward."""
        ended_B = self.plan.forwards_B <= step
        if self.config.early_stop:
            ended_B = ended_B | self.canvas.ended(self.lm.tokens.stop).cpu().numpy()
        return ended_B

    def keep(self, kept: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
        """Drop all rows but the kept ones, [B]."""
        self.canvas = self.canvas.select(kept)
        self.plan = self.plan.select(kept)
        self.generators = [g for g, stays in zip(self.generators, kept, strict=True) if stays]
        if self.priority_BL is not None:
            self.priority_BL = self.priority_BL[torch.from_numpy(kept).to(self.priority_BL.device)]

    def uniform(self, position_BR: Tensor) -> Tensor:
        """A uniform draw for each position, the same whatever else is drawn for."""
        draws = [torch.rand(self.config.length, generator=g) for g in self.generators]
        return torch.stack(draws).to(position_BR.device).gather(1, position_BR)


def _fill_batch(batch: _Batch, on_step: OnStep | None) -> Iterator[tuple[int, Filled]]:
    """Step until every row has ended; yield each as it leaves."""
    per_step = batch.config.forwards_per_step
    for step in range(batch.plan.total + 1):
        ended_B = batch.ended(step)
        if ended_B.any():
            yield from _leaving(batch.canvas.select(ended_B), step * per_step)
            batch.keep(~ended_B)
        if not len(batch.canvas.rows):
            return
        position_BR, chosen_BR = advance(batch, step)
        if on_step is not None:
            on_step(_view(batch, step, position_BR, chosen_BR))


def advance(batch: _Batch, step: int) -> tuple[Tensor, Tensor]:
    """One step of all rows: forward, edit logits, choose, commit.

    Returns:
        The open positions looked at and which of them were committed, both [B, R].
    """
    canvas, config, plan = batch.canvas, batch.config, batch.plan
    num_open = int(plan.open_BN[:, step].max())
    position_BR, open_BR = open_positions(canvas, plan.start_BN[:, step], config.block, num_open)

    logits_BRV = forward(batch.lm, canvas, position_BR, config.guidance)
    logits_BRV = edit_logits(logits_BRV, batch.lm.tokens, config)
    uniform_BR = batch.uniform(position_BR) if config.temperature > 0 else None
    choice = choose(logits_BRV, batch.lm.tokens, config, uniform_BR)

    score_BR = choice.score_BR
    if batch.priority_BL is not None:
        score_BR = batch.priority_BL.gather(1, position_BR)
    elif config.alg_temp > 0:
        score_BR = score_BR / config.alg_temp + gumbel(batch.uniform(position_BR))
    chosen_BR = select(score_BR.masked_fill(~open_BR, -torch.inf), plan.commits_BN[:, step])

    canvas.commit(position_BR, choice.token_BR, chosen_BR)
    canvas.record(position_BR, chosen_BR, step, choice.probability_BR)
    return position_BR, chosen_BR


def open_positions(
    canvas: Canvas, start_B: Tensor, block: int, num_open: int
) -> tuple[Tensor, Tensor]:
    """The open positions of each row's block, from left to right.

    Args:
        canvas: The batch.
        start_B: Where each row's block begins.
        block: Its length.
        num_open: R, the most open positions that a row's block has.

    Returns:
        Canvas positions [B, R], and True where they are open; rows with fewer are filled up.
    """
    window_BW = start_B[:, None] + torch.arange(block, device=start_B.device)
    open_BW = canvas.open_BL.gather(1, window_BW)
    order_BR = open_BW.int().argsort(dim=1, descending=True, stable=True)[:, :num_open]
    return start_B[:, None] + order_BR, open_BW.gather(1, order_BR)


def forward(lm: DiffusionLM, canvas: Canvas, position_BR: Tensor, guidance: float) -> Tensor:
    """Aligned logits at canvas positions, [B, R, V] in single precision."""
    ids_BT, attention_BT = canvas.ids_BT, canvas.attention_BT
    rows_BR = canvas.width + position_BR
    if not guidance:
        return lm.logits(ids_BT, attention_BT, rows=rows_BR).float()
    hidden_BT = ids_BT.clone()
    hidden_BT[:, : canvas.width] = lm.tokens.mask
    both = torch.cat([ids_BT, hidden_BT])
    attention = None if attention_BT is None else torch.cat([attention_BT, attention_BT])
    logits = lm.logits(both, attention, rows=torch.cat([rows_BR, rows_BR])).float()
    given_BRV, blind_BRV = logits.chunk(2)
    return blind_BRV + (guidance + 1) * (given_BRV - blind_BRV)


def _leaving(canvas: Canvas, forwards: int) -> Iterator[tuple[int, Filled]]:
    left_open_B = canvas.open_BL.any(1).tolist()
    for row, filled, left_open in zip(
        canvas.rows.tolist(), canvas.traces(), left_open_B, strict=True
    ):
        yield row, Filled(*filled, forwards, stopped_early=left_open)


def _view(batch: _Batch, step: int, position_BR: Tensor, chosen_BR: Tensor) -> StepView:
    canvas = batch.canvas
    committed_BL = torch.zeros_like(canvas.open_BL).scatter(1, position_BR, chosen_BR)
    rows = tuple(canvas.rows.tolist())
    return StepView(step, batch.plan.total, canvas.tokens_BL, committed_BL, rows)
