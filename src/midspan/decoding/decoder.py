"""Decoding requests: batches of similar length, and smaller ones where memory runs out.

Rows leave a batch when they are done, and waiting requests take their places. `batch.py` fills a
batch; `published.py` does so with the published samplers' faults.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from midspan.decoding import published
from midspan.decoding.batch import Filled
from midspan.decoding.bound import check_reading, hooks_of
from midspan.decoding.canvas import Canvas, Request
from midspan.decoding.chat import folded, unfolded
from midspan.decoding.config import DecodingConfig
from midspan.decoding.fixed import FixedStream
from midspan.decoding.hooks import Hook
from midspan.decoding.own_sampler import decode_by_own_sampler
from midspan.decoding.requested import check_requests
from midspan.decoding.stream import Stream
from midspan.decoding.trace import REJECTION, Generation, StepView
from midspan.errors import MidspanError
from midspan.models.finite import NotFiniteError
from midspan.models.memory import after_out_of_memory
from midspan.models.model import DiffusionLM

OnStep = Callable[[StepView], None]


class BrokenRowsError(NotFiniteError):
    """The logits of some requests were not finite.

    Attributes:
        generations: Those of all requests; there is no answer where one `is_broken`.
    """

    def __init__(self, generations: Sequence[Generation]) -> None:
        """An error of some of these."""
        super().__init__()
        self.generations = generations


def decode(
    lm: DiffusionLM,
    requests: Sequence[Request],
    config: DecodingConfig,
    *,
    batch_size: int = 32,
    on_step: OnStep | None = None,
    hooks: Sequence[Hook] = (),
) -> list[Generation]:
    """Fill the canvases of all requests.

    In float32 a row's result depends on its request and the config only, not on the rows beside
    it; in half precision it does so to rounding, which may tip near ties, unless `batch_size` is 1
    or the config's shapes are fixed. Where a row is done, a waiting request takes its place. Where
    memory runs out, what is not done is decoded again in half the batch, with a warning and the
    same results, again to rounding.

    Examples:
        >>> request = Request(tuple(lm.encode_chat("hello")), anchor_phrase(lm, "the next", 20))
        >>> (generation,) = decode(lm, [request], decoding_config(lm, steps=32))

    Args:
        lm: A `midspan.models.DiffusionLM`.
        requests: Prompts, anchors and seeds.
        config: How to decode.
        batch_size: Rows that go through the model together. With a cache or under block diffusion
            twice as many are under way, and have keys and values kept.
        on_step: Called after every step of every batch.
        hooks: Rules of one's own, in the order in which they act; see `Hook`. Where a rule makes
            copies, callbacks and hooks count these as requests.

    Returns:
        Generations in the order of the requests.

    Raises:
        MidspanError: If a request cannot be decoded, before any is; or if a hook does what it
            must not.
        BrokenRowsError: The model's logits are not finite at some request; the others are decoded.
    """
    rows = unfolded(requests)
    decoded = _decode(lm, rows, config, batch_size=batch_size, on_step=on_step, hooks=hooks)
    generations = folded(lm, requests, config.length, decoded)
    if any(generation.is_broken for generation in generations):
        raise BrokenRowsError(generations)
    return generations


def _decode(
    lm: DiffusionLM,
    requests: Sequence[Request],
    config: DecodingConfig,
    *,
    batch_size: int,
    on_step: OnStep | None,
    hooks: Sequence[Hook],
) -> list[Generation]:
    if lm.family.noise == "uniform":
        if hooks or hooks_of(lm, requests, config):
            raise MidspanError(
                f"hooks: the sampler of family {lm.family.name} takes no hooks or rules"
            )
        return decode_by_own_sampler(lm, requests, config, on_step)
    filled = fill(lm, requests, config, batch_size=batch_size, on_step=on_step, hooks=hooks)
    pairs = zip(filled, requests, strict=True)
    return [generation_of(lm, row, request) for row, request in pairs]


def generation_of(lm: DiffusionLM, row: Filled, request: Request) -> Generation:
    """A row with its text."""
    shown = row.tokens
    if row.past_end:
        shown = tuple(token for token in shown if token not in lm.tokens.stop)
    answer, thoughts = lm.decode_response(shown, request.prompt_ids)
    if row.rejected_by:
        answer = REJECTION
    how = (row.forwards, row.stopped_early, thoughts, row.rejected_by, row.is_broken)
    return Generation(row.tokens, answer, row.trace, *how)


@torch.inference_mode()
def fill(
    lm: DiffusionLM,
    requests: Sequence[Request],
    config: DecodingConfig,
    *,
    batch_size: int = 32,
    on_step: OnStep | None = None,
    hooks: Sequence[Hook] = (),
) -> list[Filled]:
    """`decode` without text, for models without a tokenizer."""
    if batch_size < 1:
        raise MidspanError(f"batch_size={batch_size} must be at least 1")
    for hook in hooks:
        check_reading(f"hook {type(hook).__name__}", hook, lm, config)
    hooks = [*hooks_of(lm, requests, config), *hooks]
    if config.compatibility and hooks:
        raise MidspanError("hooks, rules: the published samplers of compatibility=True have none")
    check_requests(lm, requests, config)
    work = _Work(lm, requests, config, on_step, hooks)
    rows = list(range(len(requests)))
    if not config.compatibility:  # whose global random draws depend on the order
        rows.sort(key=lambda row: len(requests[row].prompt_ids), reverse=True)
    results: dict[int, Filled] = {}
    while rows:
        is_short_of_memory = False
        try:
            results.update(work.run(rows, batch_size))
        except torch.OutOfMemoryError:
            if min(batch_size, len(rows)) == 1 or config.compatibility:
                raise
            is_short_of_memory = True
        if is_short_of_memory:
            # Outside the except clause, which would keep the failed batch's tensors alive.
            batch_size = -(-min(batch_size, len(rows)) // 2)
            after_out_of_memory(batch_size)
        rows = [row for row in rows if row not in results]
    return [results[row] for row in range(len(requests))]


@dataclass(frozen=True)
class _Work:
    """What all batches share."""

    lm: DiffusionLM
    requests: Sequence[Request]
    config: DecodingConfig
    on_step: OnStep | None
    hooks: Sequence[Hook]

    def run(self, rows: Sequence[int], batch_size: int) -> Iterator[tuple[int, Filled]]:
        """Decode as many of the rows as come into one batch, from the first on."""
        if self.config.compatibility:
            canvas = Canvas.create(self.lm, self.requests, rows[:batch_size], self.config.length)
            return _fill_as_published(self.lm, canvas, self.config, self.on_step)
        return self._until_empty(rows, batch_size)

    def _until_empty(self, rows: Sequence[int], batch_size: int) -> Iterator[tuple[int, Filled]]:
        """Results as rows are done; waiting rows take the places, the longest prompt first."""
        made = FixedStream if self.config.is_fixed else Stream
        stream: Stream | FixedStream = made(self.lm, self.config, self.hooks, batch_size)
        first, number = stream.free, 0
        stream.enter(self.requests, rows[:first])
        waiting = list(rows[first:])
        while True:
            yield from stream.settle()
            if not stream.rows:
                return
            if stream.free and waiting:
                entering = waiting[: stream.free]
                stream.enter(self.requests, entering)
                del waiting[: len(entering)]
                continue
            committed = stream.advance()
            if committed is None:
                continue
            if self.on_step is not None:
                self.on_step(stream.step_view(number, committed))
            number += 1


def _fill_as_published(
    lm: DiffusionLM, canvas: Canvas, config: DecodingConfig, on_step: OnStep | None
) -> Iterator[tuple[int, Filled]]:
    steps = 0
    for view in published.steps(lm, canvas, config):
        steps += 1
        if on_step is not None:
            on_step(view)
    forwards = steps * config.forwards_per_step
    columns = canvas.rows.tolist(), canvas.traces(), canvas.broken_B.tolist()
    for row, (tokens, trace), is_broken in zip(*columns, strict=True):
        filled = Filled(tokens, trace, forwards, stopped_early=False, is_broken=is_broken)
        yield row, filled
