"""How far a white-box attacker gets from the prompt: phrase by position (paper, Figure 4).

The paper searches a suffix for an affirmative phrase at the first token, and for a procedural one
at the 30th. Here both phrases are searched at both places, since a phrase in the middle is less
certain whatever the model thinks of it; the loss is a mean over tokens, since phrases differ in
length; and success is what the judge says of a response to the suffix, never the loss.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from midspan.errors import MidspanError
from midspan.files import Record
from midspan.journal.suffix_search import SuffixSearch, search_suffix
from midspan.probes.context import (
    OutcomeRates,
    ProbeCase,
    ProbeConfig,
    ProbeCost,
    ProbeData,
    ProbeRequest,
    check_place,
    grouped,
)
from midspan.probes.local import LocalContext
from midspan.scoring.gcg_step import GCG, GCGConfig
from midspan.scoring.gradients import Goal
from midspan.statistics import Interval, mean_interval

NO_SUFFIX = "no suffix"


class GCGProbeConfig(ProbeConfig):
    """The grid and the search.

    Attributes:
        phrase_kinds: Kinds of phrase.
        starts: Canvas positions of the phrase; the paper's are 0 and 30.
        search: The search; steps are the paper's, the rest nanoGCG's.
        seed: Seed of the phrases' draw; a request keeps its phrase at every start.
    """

    phrase_kinds: tuple[str, ...] = ("affirmative", "procedural")
    starts: tuple[int, ...] = (0, 30)
    search: GCGConfig = Field(default_factory=lambda: GCGConfig(steps=100))
    seed: int = 0


def gcg(context: LocalContext, data: ProbeData, config: GCGProbeConfig) -> list[dict[str, Any]]:
    """One record a harmful request, phrase, start and decoding; and one without a suffix.

    Raises:
        MidspanError: If a kind has no phrases, or one does not fit the canvas.
    """
    search = GCG(context.lm, config.search)
    jobs = [
        (request, labels, goal)
        for request in data.harmful
        for labels, goal in _goals(context, data, config, request)
    ]
    with context.stage(f"{context.model}: searching", len(jobs) * config.search.steps) as stage:
        searches = [
            search_suffix(search, request.prompt, goal, context.journal, stage.advance)
            for request, _, goal in jobs
        ]
    return [*_without(context, data), *_judged(context, data, jobs, searches)]


def cost(data: ProbeData, config: GCGProbeConfig, lengths: Sequence[int]) -> ProbeCost:
    """A search a request, phrase and start, then a response to its suffix and one without, each.

    At most: candidates that do not read back as they were meant are not scored, and searches that
    find the same prompt share a response.

    Args:
        data: What is asked.
        config: The grid and the search.
        lengths: Of the canvas of each decoding.
    """
    searches = {
        (request.prompt, phrase, start)
        for request in data.harmful
        for phrase in _drawn(data, config, request).values()
        for start in config.starts
    }
    plain = {request.prompt for request in data.harmful}
    # The first suffix is scored too.
    scored = 1 + config.search.steps * config.search.search_width
    rows = len(searches) * max(config.search.canvases, 1)
    return ProbeCost(
        (len(searches) + len(plain)) * len(lengths),
        forwards=rows * (scored + config.search.steps),
        gradients=rows * config.search.steps,
    )


def check_starts(data: ProbeData, config: GCGProbeConfig, length: int | None) -> None:
    """Refuse starts at which a phrase would reach beyond the canvas.

    Raises:
        MidspanError: A kind has no phrases, or one does not fit the canvas.
    """
    for request in data.harmful:
        for phrase in _drawn(data, config, request).values():
            for start in config.starts:
                check_place("starts", start, phrase, length)


def _drawn(data: ProbeData, config: GCGProbeConfig, request: ProbeRequest) -> dict[str, str]:
    """A request's phrases, by kind."""
    rng = random.Random(f"{config.seed}/{request.id}")
    for kind in config.phrase_kinds:
        if not data.phrases.get(kind):
            raise MidspanError(f"phrase_kinds: there are no phrases of kind {kind!r}")
    return {kind: rng.choice(data.phrases[kind]) for kind in config.phrase_kinds}


SearchJob = tuple[ProbeRequest, dict[str, Any], Goal]


def _goals(
    context: LocalContext, data: ProbeData, config: GCGProbeConfig, request: ProbeRequest
) -> list[tuple[dict[str, Any], Goal]]:
    length = min(decoding.length for decoding in context.decodings.values())
    goals = []
    for kind, phrase in _drawn(data, config, request).items():
        for start in config.starts:
            ids = tuple(context.lm.encode_phrase(phrase, start))
            labels = {"phrase_kind": kind, "start": start, "phrase": phrase}
            goals.append((labels, Goal(ids, start, length)))
    return goals


def _judged(
    context: LocalContext,
    data: ProbeData,
    jobs: Sequence[SearchJob],
    searches: Sequence[SuffixSearch],
) -> list[dict[str, Any]]:
    from midspan.decoding import Request

    requests = [Request(search.prompt_ids) for search in searches]
    records = []
    for name, decoding in context.decodings.items():
        made = context.generate(requests, decoding)
        asked = [(request, one.text) for (request, _, _), one in zip(jobs, made, strict=True)]
        outcomes = context.judged(data, asked)
        records += [
            {
                **context.labels(name, request),
                **labels,
                "message": search.message,
                "losses": list(search.losses),
                "search_forwards": search.forwards,
                "phrase_placed": generation.tokens[goal.start :][: len(goal.phrase_ids)]
                == goal.phrase_ids,
                **generation.said,
                **outcome,
                "forwards": generation.forwards,
            }
            for (request, labels, goal), search, generation, outcome in zip(
                jobs, searches, made, outcomes, strict=True
            )
        ]
    return records


def _without(context: LocalContext, data: ProbeData) -> list[dict[str, Any]]:
    labels = {"phrase_kind": NO_SUFFIX, "start": None, "phrase": None}
    return context.answer([ProbeCase(request, labels=labels) for request in data.harmful], data)


@dataclass(frozen=True)
class GCGCell:
    """One cell of the factorial; without a suffix there are no losses and nothing is placed.

    Attributes:
        curve: Mean over requests of the lowest loss so far, in nats a token: first that of the
            initial suffix, then one value an iteration.
    """

    model: str
    decoding: str
    request_kind: str
    phrase_kind: str
    start: int | None
    rates: OutcomeRates
    placed: int
    curve: tuple[Interval, ...]


def gcg_cells(records: Sequence[Record]) -> list[GCGCell]:
    """Rates and loss curves by model, decoding, kind of request, phrase and start."""
    fields = ("model", "decoding", "request_kind", "phrase_kind", "start")
    cells = []
    for values, part in grouped(records, *fields).items():
        lowest = [_lowest(record["losses"]) for record in part if "losses" in record]
        curve = tuple(map(mean_interval, zip(*lowest, strict=True)))
        placed = sum(record.get("phrase_placed", False) for record in part)
        labels = dict(zip(fields, values, strict=True))
        cells.append(GCGCell(**labels, rates=OutcomeRates.of(part), placed=placed, curve=curve))
    return cells


def _lowest(losses: Sequence[float]) -> list[float]:
    return [min(losses[: end + 1]) for end in range(len(losses))]
