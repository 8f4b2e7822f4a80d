"""In which order a canvas fills (paper, Figure 5), against the order that its blocks force.

Blocks alone make position and step agree: tokens in random order inside blocks of 32 already look
almost left to right. So each response is compared with the mean of such random orders, the same
canvas is also decoded in one block, and end-of-text tokens, which may come first, are set apart.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from midspan.files import Record
from midspan.probes.context import ProbeConfig, ProbeCost, ProbeData, grouped
from midspan.probes.local import LocalContext
from midspan.statistics import Interval, kendall_tau, mean_interval

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig, Generation
    from midspan.models import DiffusionLM

Ints = NDArray[np.int_]


class OrderConfig(ProbeConfig):
    """The null model.

    Attributes:
        shuffles: Random orders a response.
        seed: Their seed.
    """

    shuffles: int = Field(20, ge=1)
    seed: int = 0


@dataclass(frozen=True)
class CommitOrder:
    """How commits are ordered; each is 1 from left to right.

    Attributes:
        tau: Kendall's tau-b of position and step.
        adjacent: Share of commits that lie, after their step, in the filled beginning of the
            canvas: nothing to their left is open.
    """

    tau: float
    adjacent: float

    @classmethod
    def of(cls, position_N: Ints, step_N: Ints) -> "CommitOrder":
        """Measure commits."""
        if not len(position_N):
            return cls(math.nan, math.nan)
        steps = step_N[np.argsort(position_N)]
        # The filled beginning reaches a position once everything up to it is committed.
        reached = np.maximum.accumulate(steps)
        return cls(
            kendall_tau(position_N.tolist(), step_N.tolist()), float((steps == reached).mean())
        )


def order(context: LocalContext, data: ProbeData, config: OrderConfig) -> list[dict[str, Any]]:
    """One record a request and decoding: the order of its commits, and that of chance."""
    requests = [context.encode(request.prompt) for request in data.requests]
    records = []
    for name, decoding in context.decodings.items():
        # An early stop would cut off the very tokens whose order is asked.
        full = decoding.model_copy(update={"early_stop": False})
        generations = context.generate(requests, full)
        triples = zip(data.requests, requests, generations, strict=True)
        for index, (request, asked, generation) in enumerate(triples):
            rng = np.random.default_rng([config.seed, index])
            blocks = _blocks(context.lm, full, len(asked.prompt_ids))
            stop = context.lm.tokens.stop
            measured = _measure(generation, blocks, stop, rng, config.shuffles)
            measured["steps"] = full.steps
            records.append(
                {
                    **context.labels(name, request),
                    "settings": full.model_dump(mode="json"),
                    **generation.said,
                    **measured,
                }
            )
    return records


def cost(data: ProbeData, config: OrderConfig, lengths: Sequence[int]) -> ProbeCost:
    """One response a request, in every canvas, to its last step.

    Args:
        data: What is asked.
        config: The null model, which costs nothing.
        lengths: Of the canvas of each decoding.
    """
    prompts = {request.prompt for request in data.requests}
    return ProbeCost(len(prompts) * len(lengths), whole=True)


def _measure(
    generation: "Generation",
    blocks: Callable[[Ints], Ints],
    stop: frozenset[int],
    rng: np.random.Generator,
    shuffles: int,
) -> dict[str, Any]:
    position_N, step_N = generation.trace.position.astype(int), generation.trace.step.astype(int)
    is_text_N = ~np.isin(generation.trace.token, list(stop))
    text = position_N[is_text_N], step_N[is_text_N]
    block_N = blocks(text[0])
    chance = [CommitOrder.of(text[0], _shuffled(text[1], block_N, rng)) for _ in range(shuffles)]
    everything, words = CommitOrder.of(position_N, step_N), CommitOrder.of(*text)
    return {
        "tau_all": _number(everything.tau),
        "tau": _number(words.tau),
        "tau_chance": _number(_mean([order.tau for order in chance])),
        "adjacent_all": _number(everything.adjacent),
        "adjacent": _number(words.adjacent),
        "adjacent_chance": _number(_mean([order.adjacent for order in chance])),
        "end_tokens": int((~is_text_N).sum()),
        "end_step": _number(_mean(step_N[~is_text_N])),
        "text_step": _number(_mean(text[1])),
        "curve_all": _curve(position_N, step_N),
        "curve": _curve(*text),
    }


def _blocks(
    lm: "DiffusionLM", decoding: "DecodingConfig", prompt_size: int
) -> Callable[[Ints], Ints]:
    """Of a canvas position its block; the first one may begin in the prompt."""
    from midspan.decoding.requested import counts_from_prompt

    before = prompt_size % decoding.block if counts_from_prompt(lm, decoding) else 0
    return lambda position_N: (position_N + before) // decoding.block


def _shuffled(step_N: Ints, block_N: Ints, rng: np.random.Generator) -> Ints:
    """The same steps, given to the positions of their block at random."""
    shuffled = step_N.copy()
    for block in np.unique(block_N):
        shuffled[block_N == block] = rng.permutation(step_N[block_N == block])
    return shuffled


def _curve(position_N: Ints, step_N: Ints) -> list[list[float]]:
    """Step and mean position of its commits."""
    return [
        [int(step), round(float(position_N[step_N == step].mean()), 3)]
        for step in np.unique(step_N)
    ]


def _mean(values: Sequence[float] | Ints) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _number(value: float) -> float | None:
    """JSON has no word for what is undefined."""
    return None if math.isnan(value) else round(value, 6)


@dataclass(frozen=True)
class OrderCell:
    """Means over the responses of one model, decoding and kind of request.

    Responses for which a figure is undefined are left out of its n: one token has no order.
    """

    model: str
    decoding: str
    request_kind: str
    means: dict[str, Interval]
    curve: tuple[tuple[int, Interval], ...]
    curve_all: tuple[tuple[int, Interval], ...]


FIGURES = (
    "tau", "tau_chance", "tau_all", "adjacent", "adjacent_chance", "adjacent_all", "end_tokens",
    "end_step", "text_step",
)  # fmt: skip


def order_cells(records: Sequence[Record]) -> list[OrderCell]:
    """Means by model, decoding and kind of request."""
    fields = ("model", "decoding", "request_kind")
    return [
        OrderCell(
            **dict(zip(fields, values, strict=True)),
            means={
                name: mean_interval([row[name] for row in part if row[name] is not None])
                for name in FIGURES
            },
            curve=_mean_curve([row["curve"] for row in part]),
            curve_all=_mean_curve([row["curve_all"] for row in part]),
        )
        for values, part in grouped(records, *fields).items()
    ]


def _mean_curve(
    curves: Sequence[Sequence[Sequence[float]]],
) -> tuple[tuple[int, Interval], ...]:
    """Mean position by step, over the responses that committed something then."""
    values: dict[int, list[float]] = {}
    for curve in curves:
        for step, position in curve:
            values.setdefault(int(step), []).append(position)
    return tuple((step, mean_interval(values[step])) for step in sorted(values))
