"""The rows of one width, in slots of fixed shape.

Shapes: see `fixed_step.py`; B rows that enter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from midspan.decoding.batch import Filled, drawn_order
from midspan.decoding.canvas import Canvas, Request
from midspan.decoding.config import DecodingConfig
from midspan.decoding.fixed_step import Kept, Network, Rules, Slots, settled
from midspan.decoding.schedule import block_commits, drawn_commits
from midspan.decoding.step import StepSettings
from midspan.decoding.trace import ANCHOR_STEP, Trace
from midspan.errors import MidspanError
from midspan.models.model import DiffusionLM
from midspan.models.trunk import signed, trunk_of

# Prompts are as wide as a multiple of this; long ones of an eighth of the power of two below.
_NARROWEST = 32


def bucket(tokens: int) -> int:
    """The width that a prompt is padded to: by its own length, whatever stands beside it."""
    unit = max(_NARROWEST, (1 << (tokens.bit_length() - 1)) // 8)
    return -(-tokens // unit) * unit


@dataclass(eq=False)
class Row:
    """A row under way, as far as the host knows.

    Attributes:
        number: The caller's.
        frame: Where it stands.
        slot: Its slot there.
        forwards: Forwards that the schedule gives each block; 0 for full ones.
        block: The block that it is in.
        forward: Its forwards there.
        held: The block for which its keys and values hold.
        age: Forwards since they were new.
        unread: Steps whose outcome has not been read.
        is_done: Whether it needs no further forward.
        turn: Its last step, in steps of all rows.
    """

    number: int
    frame: "Frame"
    slot: int
    forwards: tuple[int, ...]
    block: int
    forward: int = 0
    held: int = -1
    age: int = 0
    unread: int = 0
    is_done: bool = False
    turn: int = -1

    def count(self) -> None:
        """Count a forward of the schedule."""
        self.forward += 1
        if self.forward < self.forwards[self.block]:
            return
        later = [n for n in range(self.block + 1, len(self.forwards)) if self.forwards[n]]
        self.forward, self.block = 0, later[0] if later else len(self.forwards)

    @property
    def is_spent(self) -> bool:
        """Whether the schedule has nothing left for it."""
        return self.block == len(self.forwards)


class Frame:
    """Slots for rows of one width, their network, and their keys and values.

    Args:
        lm: The model.
        config: How rows are decoded.
        width: P.
        capacity: The most rows.

    Raises:
        MidspanError: The model is none that steps of fixed shapes are written for.
    """

    def __init__(self, lm: DiffusionLM, config: DecodingConfig, width: int, capacity: int) -> None:
        self.lm, self.config, self.width = lm, config, width
        assert lm.tokens.mask is not None
        self.rules = Rules(
            settings=StepSettings.of(config, lm.tokens, lm.unspelled),
            block=config.block,
            draws_positions=config.alg_temp > 0,
            stop=tuple(sorted(lm.tokens.stop)) if config.early_stop else (),
        )
        trunk = trunk_of(lm.base)
        if trunk is None or lm.block_length is not None:
            raise MidspanError(
                f"decoding.shapes: {config.shapes!r} is for dense models of Llama's and Qwen's "
                f"shape with full attention, and family {lm.family.name} is none, or has been "
                "compiled or hooked; use 'ragged'"
            )
        total = width + config.length
        self.network = Network(
            trunk=trunk,
            head=lm.head,
            turns=_turns(trunk.rotary, trunk.embedding, total),
            shift=int(lm.family.logit_shift),
            mask=lm.tokens.mask,
            guidance=config.guidance,
        )
        self.slots = self._slots(capacity + 1, total)
        self.kept = None if config.cache == "none" else self._kept(capacity + 1, total)
        self._free = list(range(capacity))

    @property
    def nobody(self) -> int:
        """The slot that fills steps up."""
        return len(self.slots.first_S) - 1

    @property
    def is_half(self) -> bool:
        """Whether rounding is coarse enough to tip choices."""
        return self.network.trunk.embedding.dtype != torch.float32

    def _slots(self, size: int, total: int) -> Slots:
        config, device = self.config, self.lm.device
        shape = (size, config.length)
        forwards = 1 if config.commits_by_confidence else config.steps_per_block + 1

        def zeros(*sizes: int) -> Tensor:
            return torch.zeros(*sizes, dtype=torch.long, device=device)

        is_random = config.remasking == "random"
        return Slots(
            ids_ST=torch.full((size, total), self.network.mask, device=device),
            first_S=zeros(size),
            open_SL=torch.zeros(shape, dtype=torch.bool, device=device),
            step_SL=zeros(*shape),
            confidence_SL=torch.ones(shape, device=device),
            plan_SNF=torch.ones(
                (size, config.num_blocks, forwards), dtype=torch.long, device=device
            ),
            seed_S=zeros(size),
            order_SL=torch.zeros(shape, device=device) if is_random else None,
            block_S=zeros(size),
            forward_S=zeros(size),
            steps_S=zeros(size),
            done_S=torch.ones(size, dtype=torch.bool, device=device),
            fault_S=torch.zeros(size, device=device),
        )

    def _kept(self, size: int, total: int) -> Kept:
        weight, layers = self.network.trunk.embedding, self.network.trunk.layers
        heads = self.lm.base.config.num_key_value_heads
        shape = (size, heads, total, layers[0].attention.head_dim)
        keys, values = ([weight.new_zeros(shape) for _ in layers] for _ in range(2))
        return Kept(tuple(keys), tuple(values))

    def enter(
        self, requests: Mapping[int, Request] | Sequence[Request], numbers: Sequence[int]
    ) -> list[Row]:
        """Give requests slots."""
        config, slots = self.config, self.slots
        canvas = Canvas.create(self.lm, requests, numbers, config.length)
        taken = [self._free.pop(0) for _ in numbers]
        at_B = torch.tensor(taken, device=self.lm.device)
        seed_B = torch.tensor([requests[n].seed % (1 << 63) for n in numbers]).to(at_B.device)
        order_BL, times_BL = drawn_order(config, canvas, seed_B)
        plans = _plans(config, canvas.open_BL.cpu().numpy(), times_BL)
        total = slots.ids_ST.shape[1]
        slots.ids_ST[at_B] = self.lm.tokens.pad
        slots.ids_ST[at_B, -canvas.ids_BT.shape[1] :] = canvas.ids_BT
        slots.first_S[at_B] = torch.from_numpy(total - canvas.real_B).to(at_B.device)
        slots.open_SL[at_B] = canvas.open_BL
        slots.step_SL[at_B] = ANCHOR_STEP
        slots.confidence_SL[at_B] = 1.0
        slots.plan_SNF[at_B] = self._padded(plans).to(at_B.device)
        slots.seed_S[at_B] = seed_B
        if slots.order_SL is not None and order_BL is not None:
            slots.order_SL[at_B] = order_BL
        for held_S in _begun(slots):
            held_S[at_B] = 0
        done, blocks = settled(self.rules, slots, at_B).tolist()
        return [
            Row(number, self, slot, tuple(map(len, plan)), block, is_done=bool(is_done))
            for number, slot, plan, block, is_done in zip(
                numbers, taken, plans, blocks, done, strict=True
            )
        ]

    def _padded(self, plans: Sequence[Sequence[tuple[int, ...]]]) -> Tensor:
        plan_BNF = torch.ones(len(plans), *self.slots.plan_SNF.shape[1:], dtype=torch.long)
        if plan_BNF.shape[2] > 1:
            for row, plan in enumerate(plans):
                for block, counts in enumerate(plan):
                    plan_BNF[row, block, : len(counts)] = torch.tensor(counts, dtype=torch.long)
        return plan_BNF

    def leave(self, rows: Sequence[Row]) -> list[tuple[int, Filled]]:
        """Requests and results of these rows, whose slots are free again."""
        slots, at_B = self.slots, torch.tensor([row.slot for row in rows], device=self.lm.device)
        slots.done_S[at_B] = True
        columns = (
            *(slots.ids_ST[at_B, self.width :], ~slots.open_SL[at_B]),
            *(slots.step_SL[at_B], slots.confidence_SL[at_B]),
        )
        arrays = [column.cpu().numpy() for column in columns]
        forwards = (slots.steps_S[at_B] * self.config.forwards_per_step).tolist()
        self._free = sorted([*self._free, *(row.slot for row in rows)])
        left: list[tuple[int, Filled]] = []
        broken = slots.fault_S[at_B].isnan().tolist()
        for row, count, is_broken, *values in zip(rows, forwards, broken, *arrays, strict=True):
            trace, is_cut = Trace.from_canvas(*values), not values[1].all()
            filled = Filled(tuple(values[0].tolist()), trace, count, is_cut, is_broken=is_broken)
            left.append((row.number, filled))
        return left


def _begun(slots: Slots) -> tuple[Tensor, ...]:
    """What is 0 of a row that enters."""
    return slots.block_S, slots.forward_S, slots.steps_S, slots.done_S, slots.fault_S


def _turns(rotary: torch.nn.Module, weight: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines of the first positions, [T, E] each."""
    position_1T = torch.arange(count, device=weight.device)[None]
    cos, sin = signed(*rotary(weight, position_1T))
    return cos[0, :, 0], sin[0, :, 0]


def _plans(
    config: DecodingConfig, open_BL: NDArray[np.bool_], times_BL: NDArray[np.int64] | None
) -> list[list[tuple[int, ...]]]:
    """What each forward of each block commits, for every row."""
    if times_BL is not None:
        return [[drawn_commits(*pair)] for pair in zip(times_BL, open_BL, strict=True)]
    open_BN = open_BL.reshape(len(open_BL), -1, config.block).sum(2)
    return [
        [block_commits(int(count), config) if count else () for count in row] for row in open_BN
    ]
