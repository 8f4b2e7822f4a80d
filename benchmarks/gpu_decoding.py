"""Decoding on random weights: tokens a second, share of the matrix-product peak, memory.

Operations are counted from shapes: 2 for each weight and each position, those of attention, and the
head on the rows that went through it. An adapter's own are not counted, so that its share is one of
the same work. Random confidences mean nothing: in threshold mode the head's weights are eight times
as large, so that some positions are confident, and the number of forwards is told.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from gpu_stages import (
    Outcome,
    peak_memory_gib,
    reset_peak_memory,
    shown_memory,
    synchronize,
)
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from midspan.decoding import DecodingConfig, Request, decoding_config, fixed
from midspan.decoding.decoder import fill
from midspan.decoding.fixed_step import Feed, fixed_step
from midspan.models import DiffusionLM

MODES: dict[str, dict[str, Any]] = {
    "exact": {},
    "dual cache": {"cache": "dual"},
    "dual cache, threshold 0.9": {"cache": "dual", "threshold": 0.9},
}
BLOCK = 32


def operations(batch: int, queries: int) -> float:
    """Of one forward of LLaDA-8B, roughly, for an estimate of its time."""
    return 2 * batch * (6.5e9 * queries + 0.5e9 * BLOCK)


@dataclass(frozen=True)
class Sizes:
    """Tokens of a prompt and of a canvas, and the steps that fill it without a threshold."""

    prompt: int = 128
    length: int = 128
    steps: int = 32


class Counter:
    """Operations of all forwards, from the shapes that go through trunk and head."""

    def __init__(self, lm: DiffusionLM) -> None:
        self.clear()
        base = lm.base
        layer = sum(weight.numel() for weight in base.model.layers[0].parameters())
        self._weights = layer * base.config.num_hidden_layers
        self._head = base.lm_head.weight.numel()
        self._attention = 4 * base.config.num_hidden_layers * base.config.hidden_size

    def clear(self) -> None:
        """Count from zero."""
        self.operations = self.forwards = 0

    @contextmanager
    def watching(self, lm: DiffusionLM) -> Iterator[None]:
        """Count a model's forwards; hooks on its modules would keep the bare trunk from running."""
        hidden = lm.hidden

        def counted(ids_BQ: Any, mask: Any = None, first: Any = 0, cache: Any = None,
                    *others: Any, **named: Any) -> Any:  # fmt: skip
            keys = ids_BQ.shape[1]
            if cache is not None:
                keys, _ = cache.get_mask_sizes(keys, 0)
            self._count(ids_BQ.numel(), keys)
            return hidden(ids_BQ, mask, first, cache, *others, **named)

        lm.hidden = counted  # type: ignore[method-assign, assignment]
        handle = lm.base.lm_head.register_forward_pre_hook(self._rows)
        try:
            with self._watching_fixed():
                yield
        finally:
            handle.remove()
            del lm.hidden

    @contextmanager
    def _watching_fixed(self) -> Iterator[None]:
        """Count steps of fixed shapes from outside: a hook within would be part of the graph."""
        compiled_step = fixed.compiled_step

        def around(step: Any) -> Any:
            def counted(network: Any, rules: Any, slots: Any, kept: Any, slot_A: Any,
                        feed: Any) -> Any:  # fmt: skip
                total = slots.ids_ST.shape[1]
                self._count(len(slot_A) * (feed.width or total), total)
                self.operations += 2 * self._head * len(slot_A) * rules.block
                return step(network, rules, slots, kept, slot_A, feed)

            return counted

        with (
            mock.patch.object(fixed, "fixed_step", around(fixed_step)),
            mock.patch.object(fixed, "compiled_step", lambda mode: around(compiled_step(mode))),
        ):
            yield

    def _count(self, positions: int, keys: int) -> None:
        self.forwards += 1
        self.operations += positions * (2 * self._weights + self._attention * keys)

    def _rows(self, module: Any, args: Any) -> None:
        self.operations += 2 * self._head * args[0].shape[:-1].numel()


@contextmanager
def confident(lm: DiffusionLM, factor: float) -> Iterator[None]:
    """Logits times a power of two, which leaves no rounding behind."""
    weight = lm.base.lm_head.weight.data
    weight *= factor
    try:
        yield
    finally:
        weight /= factor


def asked(
    lm: DiffusionLM, mode: str, batch: int, sizes: Sizes
) -> tuple[list[Request], DecodingConfig]:
    """The requests of a cell, and how they are decoded; a mode may end in how shapes are."""
    name, _, shapes = mode.partition("; ")
    config = decoding_config(
        length=sizes.length, block_length=BLOCK, steps=sizes.steps, early_stop=False,
        shapes=shapes or "ragged", **MODES[name],
    )  # fmt: skip
    generator, vocabulary = torch.Generator().manual_seed(1), lm.base.config.vocab_size
    ids = torch.randint(0, vocabulary - 3, (batch, sizes.prompt), generator=generator).tolist()
    return [Request(tuple(row)) for row in ids], config


def decode(
    lm: DiffusionLM, counter: Counter, mode: str, batch: int, sizes: Sizes, peak: float
) -> Outcome:
    """One run after a warm-up of two steps a block, which meets all kinds of forwards.

    Where steps are compiled, after a whole one.
    """
    device = str(lm.device.type)
    requests, config = asked(lm, mode, batch, sizes)
    with confident(lm, 8.0 if "threshold" in mode else 1.0):
        run = _timed(lm, requests, config, device)
        counter.clear()
        with counter.watching(lm):
            seconds = run()
    tokens = batch * sizes.length / seconds
    share, memory = counter.operations / seconds / peak, peak_memory_gib(device)
    text = (
        f"{tokens:.1f} tokens/s, {counter.forwards} forwards, "
        f"{100 * share:.1f} % of the peak{shown_memory(memory)}"
    )
    values = {
        "tokens_per_second": tokens, "forwards": counter.forwards, "share_of_peak": share,
        "seconds": seconds, "memory_gib": memory, "batch": batch, "mode": mode,
    }  # fmt: skip
    return Outcome(text, values)


def _timed(
    lm: DiffusionLM, requests: list[Request], config: DecodingConfig, device: str
) -> Callable[[], float]:
    short = {"steps": 2 * config.num_blocks}
    if config.shapes == "compiled":
        fill(lm, requests, config, batch_size=len(requests))
    elif getattr(config, "threshold", None) is None:
        fill(lm, requests, config.model_copy(update=short), batch_size=len(requests))
    reset_peak_memory(device)
    synchronize(device)

    def run() -> float:
        start = time.perf_counter()
        fill(lm, requests, config, batch_size=len(requests))
        synchronize(device)
        return time.perf_counter() - start

    return run


@torch.inference_mode()
def kernels(lm: DiffusionLM, mode: str, batch: int, sizes: Sizes) -> Outcome:
    """What a decode's steps launch: kernels on the GPU and calls that launch them, a forward."""
    requests, config = asked(lm, mode, batch, sizes)
    fill(lm, requests, config, batch_size=batch)
    is_gpu = lm.device.type == "cuda"
    kinds = [ProfilerActivity.CUDA] if is_gpu else []
    with profile(activities=[ProfilerActivity.CPU, *kinds]) as profiler:
        found = fill(lm, requests, config, batch_size=batch)
        synchronize(str(lm.device.type))
    steps = max(row.forwards for row in found)
    events = profiler.events()
    on_gpu = sum(event.device_type == DeviceType.CUDA for event in events)
    calls = sum("Launch" in event.name for event in events)
    # On a CPU, operations that no other one asked for.
    whole = sum(event.name.startswith("aten::") and event.cpu_parent is None for event in events)
    counts = {"kernels": on_gpu, "launches": calls, "operations": whole}
    shown = ("kernels", "launches") if is_gpu else ("operations",)
    a_step = {name: count / steps for name, count in counts.items()}
    text = ", ".join(f"{a_step[name]:.0f} {name}" for name in shown)
    return Outcome(f"{text} a forward", {**a_step, "forwards": steps, "batch": batch, "mode": mode})


@torch.inference_mode()
def step_graph(lm: DiffusionLM, batch: int, sizes: Sizes) -> Outcome:
    """A whole step of fixed shapes over a block, launched and as a CUDA graph, not compiled."""
    requests, config = asked(lm, "dual cache; fixed", batch, sizes)
    stream = fixed.FixedStream(lm, config, [], batch)
    stream.enter(requests, range(batch))
    for _ in range(3):
        stream.advance()
    frame = next(iter(stream._frames.values()))
    slot_A = torch.arange(batch, device=lm.device)
    feed = Feed(config.block)

    def work() -> Any:
        return fixed_step(frame.network, frame.rules, frame.slots, frame.kept, slot_A, feed)

    eager = _milliseconds(work)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    replayed = _milliseconds(graph.replay)
    text = f"{eager:.2f} ms launched, {replayed:.2f} ms as a graph"
    return Outcome(text, {"eager_ms": eager, "graph_ms": replayed, "batch": batch})


@torch.inference_mode()
def graphs(lm: DiffusionLM, batch: int, length: int) -> Outcome:
    """One forward of a fixed shape, launched kernel by kernel and as a CUDA graph."""
    ids_BT = torch.randint(0, 1000, (batch, length), device="cuda")
    eager = _milliseconds(lambda: lm.hidden(ids_BT))
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            lm.hidden(ids_BT)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured_BTD = lm.hidden(ids_BT)
    replayed = _milliseconds(graph.replay)
    graph.replay()
    difference = float((captured_BTD.float() - lm.hidden(ids_BT).float()).abs().max())
    text = (
        f"{eager:.2f} ms launched, {replayed:.2f} ms as a graph, states differ by {difference:.1e}"
    )
    return Outcome(text, {"eager_ms": eager, "graph_ms": replayed, "difference": difference})


def _milliseconds(work: Callable[[], Any]) -> float:
    """The median of twenty runs."""
    times = []
    for _ in range(22):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1000 * sorted(times[2:])[10]
