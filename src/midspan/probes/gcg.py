"""How far a white-box attacker gets from the prompt: phrase by position (paper, Figure 4).

The paper searches a suffix for an affirmative phrase at the first token, and for a procedural one
at the 30th. Here both phrases are searched at both places, since a phrase in the middle is less
certain whatever the model thinks of it; the loss is a mean over tokens, since phrases differ in
length; and success is what the judge says of a response to the suffix, never the loss.
"""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import Field

from midspan.engine.suffix_search import SuffixSearch, search_suffix
from midspan.errors import MidspanError
from midspan.probes.asking import (
    Ask,
    Bench,
    Material,
    ProbeConfig,
    Rates,
    Record,
    Trial,
    Work,
    grouped,
)
from midspan.scoring.gcg_step import GCG, GCGConfig
from midspan.scoring.gradients import Goal
from midspan.statistics import Interval, mean_interval

NO_SUFFIX = "no suffix"


class GCGProbeConfig(ProbeConfig):
    """The grid and the search.

    Attributes:
        kinds: Kinds of phrase.
        starts: Canvas positions of the phrase; the paper's are 0 and 30.
        search: The search; steps are the paper's, the rest nanoGCG's.
        seed: Seed of the phrases' draw; a request keeps its phrase at every start.
    """

    kinds: tuple[str, ...] = ("affirmative", "procedural")
    starts: tuple[int, ...] = (0, 30)
    search: GCGConfig = Field(default_factory=lambda: GCGConfig(steps=100))
    seed: int = 0


def gcg(bench: Bench, material: Material, config: GCGProbeConfig) -> list[dict[str, Any]]:
    """One record a harmful request, phrase, start and decoding; and one without a suffix.

    Raises:
        MidspanError: If a kind has no phrases, or one does not fit the canvas.
    """
    search = GCG(bench.lm, config.search)
    jobs = [
        (ask, labels, goal)
        for ask in material.harmful
        for labels, goal in _goals(bench, material, config, ask)
    ]
    with bench.stage(f"{bench.model}: searching", len(jobs) * config.search.steps) as stage:
        found = [
            search_suffix(search, ask.prompt, goal, bench.journal, stage.advance)
            for ask, _, goal in jobs
        ]
    return [*_without(bench, material), *_judged(bench, material, jobs, found)]


def work(material: Material, config: GCGProbeConfig, lengths: Sequence[int]) -> Work:
    """A search a request, phrase and start, then a response to its suffix and one without, each.

    At most: candidates that do not read back as they were meant are not scored, and searches that
    find the same prompt share a response.

    Args:
        material: What is asked.
        config: The grid and the search.
        lengths: Of the canvas of each decoding.
    """
    searches = {
        (ask.prompt, phrase, start)
        for ask in material.harmful
        for phrase in _drawn(material, config, ask).values()
        for start in config.starts
    }
    plain = {ask.prompt for ask in material.harmful}
    # The first suffix is scored too.
    scored = 1 + config.search.steps * config.search.search_width
    rows = len(searches) * max(config.search.canvases, 1)
    return Work(
        (len(searches) + len(plain)) * len(lengths),
        forwards=rows * (scored + config.search.steps),
        gradients=rows * config.search.steps,
    )


def _drawn(material: Material, config: GCGProbeConfig, ask: Ask) -> dict[str, str]:
    """A request's phrases, by kind."""
    rng = random.Random(f"{config.seed}/{ask.id}")
    for kind in config.kinds:
        if not material.phrases.get(kind):
            raise MidspanError(f"kinds: there are no phrases of kind {kind!r}")
    return {kind: rng.choice(material.phrases[kind]) for kind in config.kinds}


Job = tuple[Ask, dict[str, Any], Goal]


def _goals(
    bench: Bench, material: Material, config: GCGProbeConfig, ask: Ask
) -> list[tuple[dict[str, Any], Goal]]:
    length = min(decoding.length for decoding in bench.decodings.values())
    goals = []
    for kind, phrase in _drawn(material, config, ask).items():
        ids = tuple(bench.lm.encode_phrase(phrase))
        for start in config.starts:
            labels = {"kind": kind, "start": start, "phrase": phrase}
            goals.append((labels, Goal(ids, start, length)))
    return goals


def _judged(
    bench: Bench, material: Material, jobs: Sequence[Job], found: Sequence[SuffixSearch]
) -> list[dict[str, Any]]:
    from midspan.decoding import Request

    requests = [Request(search.prompt_ids) for search in found]
    return [
        {
            **bench.place(name, ask),
            **labels,
            "message": search.message,
            "losses": list(search.losses),
            "search_forwards": search.forwards,
            "phrase_placed": made.tokens[goal.start :][: len(goal.phrase_ids)] == goal.phrase_ids,
            "response": made.text,
            **asdict(material.judge(ask, made.text)),
            "forwards": made.forwards,
        }
        for name, decoding in bench.decodings.items()
        for (ask, labels, goal), search, made in zip(
            jobs, found, bench.generate(requests, decoding), strict=True
        )
    ]


def _without(bench: Bench, material: Material) -> list[dict[str, Any]]:
    labels = {"kind": NO_SUFFIX, "start": None, "phrase": None}
    return bench.answer([Trial(ask, {}, labels) for ask in material.harmful], material)


@dataclass(frozen=True)
class GCGCell:
    """One cell of the factorial; without a suffix there are no losses and nothing is placed.

    Attributes:
        curve: Mean over requests of the lowest loss so far, in nats a token: first that of the
            initial suffix, then one value an iteration.
    """

    model: str
    decoding: str
    asks: str
    kind: str
    start: int | None
    rates: Rates
    placed: int
    curve: tuple[Interval, ...]


def gcg_cells(records: Sequence[Record]) -> list[GCGCell]:
    """Rates and loss curves by model, decoding, kind of request, phrase and start."""
    fields = ("model", "decoding", "asks", "kind", "start")
    cells = []
    for place, part in grouped(records, *fields).items():
        lowest = [_lowest(record["losses"]) for record in part if "losses" in record]
        curve = tuple(map(mean_interval, zip(*lowest, strict=True)))
        placed = sum(record.get("phrase_placed", False) for record in part)
        labels = dict(zip(fields, place, strict=True))
        cells.append(GCGCell(**labels, rates=Rates.of(part), placed=placed, curve=curve))
    return cells


def _lowest(losses: Sequence[float]) -> list[float]:
    return [min(losses[: end + 1]) for end in range(len(losses))]
