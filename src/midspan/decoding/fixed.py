"""Rows that are decoded in steps of fixed shapes: the host's side.

Every step takes one of a few numbers of rows, filled up, and feeds one of a few widths, so that it
can be one graph (`shapes="compiled"`), and in half precision a row's products never change their
shape with what stands beside it. What ends a row or its block is read one step late on a GPU, which
meanwhile works: without a cache a row goes on, and commits nothing where it is done; with one, what
a row needs next is known from the schedule, or else other rows go meanwhile. Where there are none
the host waits, since a forward in vain costs more than a round trip.
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache

import torch
from torch import Tensor

from midspan.decoding.batch import Committed, Filled
from midspan.decoding.canvas import Request
from midspan.decoding.config import DecodingConfig
from midspan.decoding.fixed_frame import Frame, Row, bucket
from midspan.decoding.fixed_step import Feed, Stepped, fixed_step
from midspan.decoding.hooks import Hook
from midspan.decoding.trace import StepView
from midspan.errors import MidspanError
from midspan.models.model import DiffusionLM

# Steps after which a row goes before all that have more company.
_PATIENCE = 256
# Graphs of one function that torch may hold: widths of prompts by kinds of steps by row numbers.
_GRAPHS = 256


class FixedStream:
    """Rows being decoded in steps of fixed shapes; to callers a `Stream`.

    Args:
        lm: The model.
        config: How all rows are decoded.
        hooks: None; what acts between steps would have to be waited for.
        size: The most rows of a step.
        late: Steps whose outcome may be unread; by default 1 on a GPU, and 0 where reading costs
            nothing.

    Raises:
        MidspanError: There are hooks.
    """

    def __init__(
        self,
        lm: DiffusionLM,
        config: DecodingConfig,
        hooks: Sequence[Hook],
        size: int,
        late: int | None = None,
    ) -> None:
        if hooks:
            raise MidspanError(
                f"decoding.shapes: {config.shapes!r} takes no hooks, and no rules that act within "
                "decoding; use 'ragged'"
            )
        self.lm, self.config, self.size = lm, config, size
        is_gpu = lm.device.type == "cuda"
        self.late = int(is_gpu) if late is None else late
        self._run: Callable[..., Stepped] = fixed_step
        if config.shapes == "compiled":
            self._run = compiled_step("reduce-overhead" if is_gpu else None)
        self._frames: dict[int, Frame] = {}
        self._rows: list[Row] = []
        self._unread: deque[tuple[list[Row], Tensor, torch.Event | None]] = deque()
        self._turn = 0
        # Without confidence the schedule alone says what a row needs next.
        self._is_planned = not config.commits_by_confidence

    @property
    def rows(self) -> list[int]:
        """The rows, as the caller numbers them."""
        return [row.number for row in self._rows]

    @property
    def free(self) -> int:
        """How many rows may enter now."""
        return self._capacity - len(self._rows)

    @property
    def _capacity(self) -> int:
        return self.size if self.config.cache == "none" else 2 * self.size

    def enter(
        self, requests: Mapping[int, Request] | Sequence[Request], rows: Sequence[int]
    ) -> None:
        """Let the requests at `rows` in."""
        widths: dict[int, list[int]] = {}
        for row in rows:
            widths.setdefault(bucket(len(requests[row].prompt_ids)), []).append(row)
        for width, numbers in widths.items():
            if width not in self._frames:
                used = {id(row.frame) for row in self._rows}
                frames = self._frames.items()
                self._frames = {key: frame for key, frame in frames if id(frame) in used}
                self._frames[width] = self._frame(width)
            self._rows += self._frames[width].enter(requests, numbers)

    def _frame(self, width: int) -> Frame:
        frame = Frame(self.lm, self.config, width, self._capacity)
        if self.config.shapes == "compiled":
            _hold(frame)
        return frame

    def settle(self) -> list[tuple[int, Filled]]:
        """Let rows out that are known to need no further forward."""
        return self._let_out([row for row in self._rows if row.is_done and not row.unread])

    def take_out(self, rows: Collection[int]) -> list[tuple[int, Filled]]:
        """Let these rows out as they are."""
        self._read(0)
        leaving = set(rows)
        return self._let_out([row for row in self._rows if row.number in leaving])

    def _let_out(self, leaving: Sequence[Row]) -> list[tuple[int, Filled]]:
        left = []
        for frame in self._frames.values():
            rows = [row for row in leaving if row.frame is frame]
            if rows:
                left += frame.leave(rows)
        self._rows = [row for row in self._rows if row not in leaving]
        return left

    def advance(self) -> Committed | None:
        """One step of the rows that go next; None where what others did had to be read first."""
        rows, feed = self._next()
        if not rows:
            self._read(0)
            return None
        frame = rows[0].frame
        filled = [row.slot for row in rows]
        filled += [frame.nobody] * (self._padded(len(rows), frame) - len(rows))
        slot_A = torch.tensor(filled).to(self.lm.device)
        stepped = self._run(frame.network, frame.rules, frame.slots, frame.kept, slot_A, feed)
        self._count(rows, feed)
        self._unread.append((rows, *_on_host(stepped.status_2A)))
        self._read(self.late)
        places = {row: place for place, row in enumerate(self._rows)}
        place_A1 = torch.tensor([[places[row]] for row in rows])
        count = len(rows)
        at = place_A1.to(slot_A.device), stepped.position_AR[:count]
        return Committed(at, stepped.chosen_AR[:count])

    def _next(self) -> tuple[list[Row], Feed]:
        """The most rows that may go together, those that wait longest first."""
        companies: dict[tuple[int, Feed], list[Row]] = {}
        for row in sorted(self._rows, key=lambda row: row.turn):
            if self._may_go(row):
                companies.setdefault((row.frame.width, self._feed(row)), []).append(row)
        if not companies:
            return [], Feed()
        first = next(iter(companies))
        is_overdue = self._turn - companies[first][0].turn > _PATIENCE
        most = max(companies, key=lambda kind: min(self.size, len(companies[kind])))
        chosen = first if is_overdue else most
        return companies[chosen][: self.size], chosen[1]

    def _may_go(self, row: Row) -> bool:
        is_known = self.config.cache == "none" or self._is_planned or not row.unread
        return is_known and not row.is_done and not (self._is_planned and row.is_spent)

    def _feed(self, row: Row) -> Feed:
        """What a row's next forward feeds."""
        config, shift = self.config, row.frame.network.shift
        limit = getattr(config, "refresh_every", None)
        is_stale = row.held != row.block or (limit is not None and row.age >= limit)
        if config.cache == "none" or is_stale:
            return Feed()
        if config.cache == "dual":
            return Feed(config.block + shift)
        return Feed(config.length - row.block * config.block + shift, is_last=True)

    def _padded(self, rows: int, frame: Frame) -> int:
        """The number of rows that a step is filled up to.

        In half precision always the same, so that a row's products are; compiled too, so that
        there are few graphs; else one of a few.
        """
        size, is_one = self.size, frame.is_half or self.config.shapes == "compiled"
        while not is_one and size > 1 and -(-size // 4) >= rows:
            size = -(-size // 4)
        return size

    def _count(self, rows: Sequence[Row], feed: Feed) -> None:
        for row in rows:
            row.age = 1 if feed.width is None else row.age + 1
            row.held, row.turn = row.block, self._turn
            row.unread += 1
            if self._is_planned:
                row.count()
        self._turn += 1

    def _read(self, most: int) -> None:
        """Read what steps did until at most so many are unread."""
        while len(self._unread) > most:
            rows, status_2A, event = self._unread.popleft()
            if event is not None:
                event.synchronize()
            done, blocks = status_2A.tolist()
            for row, is_done, block in zip(rows, done, blocks, strict=False):
                row.unread -= 1
                row.is_done |= bool(is_done)
                if not self._is_planned:
                    row.block = block

    def step_view(self, number: int, committed: Committed) -> StepView:
        """What a callback sees after step `number`."""
        length = self.config.length
        at = [(row.frame.slots, row.slot) for row in self._rows]
        tokens_BL = torch.stack([slots.ids_ST[slot, -length:] for slots, slot in at])
        committed_BL = torch.zeros_like(tokens_BL, dtype=torch.bool)
        committed_BL[committed.at] = committed.chosen_AR
        total = max(sum(row.forwards) for row in self._rows)
        return StepView(number, max(total, number + 1), tokens_BL, committed_BL, tuple(self.rows))


def _on_host(status_2A: Tensor) -> tuple[Tensor, torch.Event | None]:
    """A copy on the host, and what says that it is there."""
    if status_2A.device.type != "cuda":
        return status_2A, None
    host_2A = torch.empty(status_2A.shape, dtype=status_2A.dtype, pin_memory=True)
    host_2A.copy_(status_2A, non_blocking=True)
    event = torch.Event("cuda")
    event.record()
    return host_2A, event


@cache
def compiled_step(mode: str | None, backend: str = "inductor") -> Callable[..., Stepped]:
    """`fixed_step` as one graph for each shape, without a break.

    Args:
        mode: Of `torch.compile`; "reduce-overhead" records CUDA graphs.
        backend: Of `torch.compile`.
    """
    torch._dynamo.config.recompile_limit = max(_GRAPHS, torch._dynamo.config.recompile_limit)
    compiled: Callable[..., Stepped] = torch.compile(
        fixed_step, fullgraph=True, dynamic=False, mode=mode, backend=backend
    )
    return compiled


def _hold(frame: Frame) -> None:
    """Tell torch what stays where it is, which CUDA graphs may then change in place."""
    from torch.utils._pytree import tree_leaves

    parts = (*frame.network.trunk, *frame.network.turns, *frame.slots, *(frame.kept or ()))
    for part in tree_leaves(parts):
        if isinstance(part, Tensor):
            torch._dynamo.mark_static_address(part)
