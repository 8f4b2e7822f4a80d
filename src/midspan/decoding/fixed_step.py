"""A step of fixed shapes: forward, choice and commit as one function of tensors.

Rows stand in slots, and what a step computes follows from its arguments' shapes alone: how many
rows it takes, how many columns it feeds. No branch depends on a value and nothing is read by the
host, so that the whole of it can be one graph. `fixed.py` says which rows go.
Shapes: S slots, A rows of a step, P prompt columns, L canvas, T = P + L, Q columns that are fed,
N blocks, R positions of a block, F forwards of a block, K layers, H heads, E head width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding

from midspan.decoding.draws import POSITION_DRAWS, hashed_uniform
from midspan.decoding.forward import guided
from midspan.decoding.step import Candidates, Draws, StepSettings, forbid, step
from midspan.models.finite import faults
from midspan.models.trunk import run_layers
from midspan.models.trunk_parts import Trunk


class Slots(NamedTuple):
    """The rows under way; the last slot belongs to nobody and fills steps up. Changed in place.

    Attributes:
        ids_ST: Prompt and canvas, left padded.
        first_S: First column that is not padding.
        open_SL: True where nothing is committed.
        step_SL: The step that committed the token.
        confidence_SL: Its confidence.
        plan_SNF: What the schedule commits; the last number holds for all later forwards.
        seed_S: Of a row's draws.
        order_SL: The order drawn for remasking="random"; else None.
        block_S: The block of the row's last step.
        forward_S: Its forwards in that block.
        steps_S: All its forwards.
        done_S: Whether it needs no further one.
        fault_S: 0, and NaN once its logits were not finite.
    """

    ids_ST: Tensor
    first_S: Tensor
    open_SL: Tensor
    step_SL: Tensor
    confidence_SL: Tensor
    plan_SNF: Tensor
    seed_S: Tensor
    order_SL: Tensor | None
    block_S: Tensor
    forward_S: Tensor
    steps_S: Tensor
    done_S: Tensor
    fault_S: Tensor


class Feed(NamedTuple):
    """The columns that a step feeds of each row.

    Attributes:
        width: Q; None for all columns.
        is_last: Whether they are the last columns; else they begin with the row's block.
    """

    width: int | None = None
    is_last: bool = False


@dataclass(frozen=True)
class Network:
    """What computes logits.

    Attributes:
        trunk: Its weights.
        head: From states to logits.
        turns: Cosines and signed sines of positions 0..T, see `midspan.models.trunk.signed`.
        shift: 1 where a state predicts the next position.
        mask: The mask token.
        guidance: See `LladaSampler`.
    """

    trunk: Trunk
    head: Callable[[Tensor], Tensor]
    turns: tuple[Tensor, Tensor]
    shift: int
    mask: int
    guidance: float


@dataclass(frozen=True)
class Rules:
    """How tokens and positions are chosen, and when a row ends.

    Attributes:
        settings: Of the sampler.
        block: R.
        draws_positions: Whether positions are sampled (Dream's `alg_temp`).
        stop: Tokens that end a text; none where rows go on to the canvas's end.
    """

    settings: StepSettings
    block: int
    draws_positions: bool
    stop: tuple[int, ...]


class Kept(NamedTuple):
    """Keys and values by slot and column, [K][S, H, T, E]."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]


class Stepped(NamedTuple):
    """What a step did.

    Attributes:
        status_2A: Whether each row is done, and the block that it is in.
        position_AR: The positions that it looked at.
        chosen_AR: True where it committed.
    """

    status_2A: Tensor
    position_AR: Tensor
    chosen_AR: Tensor


class _Cache:
    """The kept keys and values as a forward reads and writes them."""

    def __init__(self, kept: Kept, slot_A: Tensor, column_AQ: Tensor | None) -> None:
        self.kept, self.slot_A, self.column_AQ = kept, slot_A, column_AQ

    def update(self, key: Tensor, value: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Write the new ones; return all that the rows see."""
        return (
            self._written(self.kept.keys[layer], key),
            self._written(self.kept.values[layer], value),
        )

    def _written(self, held_SHTE: Tensor, new_AHQE: Tensor) -> Tensor:
        if self.column_AQ is None:
            held_SHTE.index_copy_(0, self.slot_A, new_AHQE)
            return new_AHQE
        heads = torch.arange(held_SHTE.shape[1], device=held_SHTE.device)[:, None]
        at = self.slot_A[:, None, None], heads, self.column_AQ[:, None]
        held_SHTE.index_put_(at, new_AHQE)
        return held_SHTE.index_select(0, self.slot_A)


def fixed_step(
    network: Network, rules: Rules, slots: Slots, kept: Kept | None, slot_A: Tensor, feed: Feed
) -> Stepped:
    """One step of the rows in some slots: at what is open in each one's first open block.

    Args:
        network: The model.
        rules: Of the sampler.
        slots: All rows; those in `slot_A` are changed.
        kept: Keys and values; None where none are kept.
        slot_A: Slots, the last one as often as it takes to fill up.
        feed: What goes through the model.
    """
    ids_AT, open_AL = slots.ids_ST[slot_A], slots.open_SL[slot_A]
    width = ids_AT.shape[1] - open_AL.shape[1]
    block_A, is_open_A = _first_open(open_AL, rules.block)
    is_live_A = is_open_A & ~slots.done_S[slot_A]
    position_AR = rules.block * block_A[:, None] + torch.arange(rules.block, device=slot_A.device)
    open_AR = open_AL.gather(1, position_AR) & is_live_A[:, None]
    is_same_A = block_A == slots.block_S[slot_A]
    forward_A = torch.where(is_same_A, slots.forward_S[slot_A], 0)
    planned_A = forward_A.clamp(max=slots.plan_SNF.shape[2] - 1)
    commits_A = slots.plan_SNF[slot_A, block_A, planned_A].minimum(open_AR.sum(1))

    logits_ARV = _logits(network, slots, kept, slot_A, feed, width + position_AR)
    fault_A = torch.where(open_AR, faults(logits_ARV), 0.0).sum(1)
    candidates, chosen_AR = step(
        forbid(logits_ARV, rules.settings.forbidden),
        open_AR,
        commits_A,
        _draws(rules, slots, slot_A, position_AR),
        rules.settings,
    )
    # NaN is not 0: rows whose logits are not finite commit nothing, and are done.
    chosen_AR = chosen_AR & (fault_A[:, None] == 0)
    _commit(slots, slot_A, position_AR, candidates, chosen_AR)
    slots.fault_S[slot_A] += fault_A
    slots.block_S[slot_A] = block_A
    slots.forward_S[slot_A] = forward_A + 1
    slots.steps_S[slot_A] += is_live_A
    return Stepped(settled(rules, slots, slot_A), position_AR, chosen_AR)


def settled(rules: Rules, slots: Slots, slot_A: Tensor) -> Tensor:
    """Take up which rows are done; see `Stepped.status_2A`."""
    open_AL = slots.open_SL[slot_A]
    block_A, is_open_A = _first_open(open_AL, rules.block)
    done_A = ~is_open_A
    if rules.stop:
        tokens_AL = slots.ids_ST[slot_A][:, -open_AL.shape[1] :]
        end_AL = tokens_AL == rules.stop[0]
        for token in rules.stop[1:]:
            end_AL = end_AL | (tokens_AL == token)
        # Nothing is open before the text's end.
        done_A = done_A | (end_AL & (open_AL.long().cumsum(1) == 0)).any(1)
    done_A = done_A | slots.done_S[slot_A] | slots.fault_S[slot_A].isnan()
    slots.done_S[slot_A] = done_A
    return torch.stack([done_A.long(), block_A])


def _first_open(open_AL: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """The first block with an open position, 0 where there is none; whether there is one."""
    open_AN = open_AL.unflatten(1, (-1, block)).any(-1)
    return open_AN.long().argmax(1), open_AN.any(1)


def _logits(
    network: Network,
    slots: Slots,
    kept: Kept | None,
    slot_A: Tensor,
    feed: Feed,
    column_AR: Tensor,
) -> Tensor:
    """Aligned logits at some columns, [A, R, V], in single precision."""
    ids_AT, first_A1 = slots.ids_ST[slot_A], slots.first_S[slot_A][:, None]
    column_T = torch.arange(ids_AT.shape[1], device=slot_A.device)
    column_1Q, written_AQ, fed_AQ = column_T[None], None, ids_AT
    if feed.width is not None:
        begin_A1 = column_AR[:, :1] - network.shift
        if feed.is_last:
            begin_A1 = torch.full_like(begin_A1, len(column_T) - feed.width)
        column_1Q = written_AQ = begin_A1 + column_T[: feed.width]
        fed_AQ = ids_AT.gather(1, written_AQ)
        column_AR = column_AR - begin_A1
    # Of rows that are done, and of nobody's, the block may lie outside of what is fed.
    index_AR = (column_AR - network.shift).clamp(0, fed_AQ.shape[1] - 1)
    if network.guidance:
        canvas = slots.open_SL.shape[1]
        blind_AT = torch.where(column_T < len(column_T) - canvas, network.mask, ids_AT)
        fed_AQ, first_A1 = torch.cat([fed_AQ, blind_AT]), torch.cat([first_A1, first_A1])
        index_AR = torch.cat([index_AR, index_AR])
    states_AQD = embedding(fed_AQ, network.trunk.embedding)
    place_AQ = (column_1Q - first_A1).clamp(min=0)
    cos, sin = (table_TE[place_AQ][:, :, None] for table_TE in network.turns)
    # Padding is always masked, whether there is any or not.
    seen_AT = states_AQD.new_zeros(first_A1.shape[0], len(column_T))
    seen_AT = seen_AT.masked_fill(column_T < first_A1, -torch.inf)
    seen = seen_AT[:, None, None].expand(-1, 1, fed_AQ.shape[1], -1)
    cache = None if kept is None else _Cache(kept, slot_A, written_AQ)
    states_AQD = run_layers(network.trunk, states_AQD, (cos, sin), seen, cache)
    index_ARD = index_AR[..., None].expand(-1, -1, states_AQD.shape[2])
    logits_ARV = network.head(states_AQD.gather(1, index_ARD)).float()
    return guided(logits_ARV, network.guidance) if network.guidance else logits_ARV


def _draws(rules: Rules, slots: Slots, slot_A: Tensor, position_AR: Tensor) -> Draws:
    """The random numbers that the sampler asks for."""
    token_AR = drawn_AR = None
    seed_A, steps_A = slots.seed_S[slot_A], slots.steps_S[slot_A]
    if rules.settings.temperature > 0:
        token_AR = hashed_uniform(seed_A, steps_A, position_AR)
    if rules.draws_positions:
        drawn_AR = hashed_uniform(seed_A, steps_A + POSITION_DRAWS, position_AR)
    order_AR = None
    if slots.order_SL is not None:
        order_AR = slots.order_SL[slot_A].gather(1, position_AR)
    return Draws(token_AR, drawn_AR, order_AR)


def _commit(
    slots: Slots, slot_A: Tensor, position_AR: Tensor, candidates: Candidates, chosen_AR: Tensor
) -> None:
    """Fix the chosen tokens, and note step and confidence."""
    column_AR = position_AR + slots.ids_ST.shape[1] - slots.open_SL.shape[1]
    step_AR = slots.steps_S[slot_A][:, None].expand_as(position_AR)
    for held_SX, at_AR, new_AR in (
        (slots.ids_ST, column_AR, candidates.token_AR),
        (slots.open_SL, position_AR, torch.zeros_like(chosen_AR)),
        (slots.step_SL, position_AR, step_AR),
        (slots.confidence_SL, position_AR, candidates.probability_AR),
    ):
        held_AX = held_SX[slot_A]
        kept_AR = held_AX.gather(1, at_AR)
        held_AX = held_AX.scatter(1, at_AR, torch.where(chosen_AR, new_AR, kept_AR))
        held_SX.index_copy_(0, slot_A, held_AX)
