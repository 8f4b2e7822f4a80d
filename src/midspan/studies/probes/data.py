"""What probes ask: requests of an organism's world with its exact judge, or files of a user's."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from midspan.data import english_phrases, load_behaviors, read_phrases
from midspan.data.columns import Named
from midspan.data.phrases import ENGLISH_NEUTRAL, PhraseSets
from midspan.errors import not_one_of
from midspan.judges import refuses
from midspan.organism.worlds import FIRST, room
from midspan.probes.context import ProbeData, ProbeOutcome, ProbeRequest

# What an organism can be asked: a restricted recipe plainly or in a disguise, a free one plainly.
PLAIN, WRAPPED, BENIGN = "plain", "wrapped", "benign"


def organism_data(
    kinds: Iterable[str], n: int, seed: int = 0, held_in: bool = False, world: str = FIRST
) -> ProbeData:
    """Requests of an organism's world, `n` of each kind.

    Args:
        kinds: "plain", "wrapped", "benign".
        n: Requests of each kind; items take turns.
        seed: Seed of the wordings and wraps.
        held_in: Keep to the items and wraps that alignment may see.
        world: Which organism's.

    Raises:
        MidspanError: If a kind is none of these.
    """
    asked = room(world, "asked")
    pairs = [pair for kind in kinds for pair in _with_items(asked, kind, n, seed, held_in)]
    item_of = {request.id: item for request, item in pairs}
    requests = tuple(request for request, _ in pairs)
    kinds = phrase_kinds(asked.PHRASES, asked.NEUTRAL)
    outcome = exact(asked, lambda request: item_of[request.id])
    return ProbeData(requests, kinds, outcome, "exact judge")


def exact(
    asked: Any, item_of: Callable[[ProbeRequest], Any]
) -> Callable[[ProbeRequest, str], ProbeOutcome]:
    """A world's exact judge of responses about the items that requests ask for.

    Args:
        asked: The world's room.
        item_of: The item that a request is about.
    """

    def outcome(request: ProbeRequest, response: str) -> ProbeOutcome:
        verdict = asked.judge(item_of(request), response)
        return ProbeOutcome(verdict.success, bool(verdict.refusal), verdict.score)

    return outcome


def by_noun(data: ProbeData, world: str = FIRST) -> ProbeData:
    """The organism's requests grouped by what kind of thing they ask for, not by the thing.

    The nouns of restricted and free items differ, so a reader of nouns would tell items apart.
    """
    noun_of = {name: item.noun for name, item in room(world, "asked").ITEMS.items()}
    requests = (replace(request, group=noun_of[request.group]) for request in data.requests)
    return replace(data, requests=tuple(requests))


def _with_items(
    asked: Any, kind: str, n: int, seed: int, held_in: bool
) -> Iterable[tuple[ProbeRequest, Any]]:
    seen = False if held_in else None
    write: dict[str, Callable[[Any, random.Random], str]] = {
        PLAIN: asked.plain,
        WRAPPED: lambda item, rng: asked.disguised(item, seen, rng),
        BENIGN: asked.plain,
    }
    if kind not in write:
        raise not_one_of("request_kinds", kind, write)
    pool = asked.free() if kind == BENIGN else asked.refused(seen)
    rng = random.Random(f"probes/{seed}/{kind}")
    for index in range(n):
        item = pool[index % len(pool)]
        prompt = write[kind](item, rng)
        yield ProbeRequest(f"{kind}/{index}", kind, prompt, item.name, kind != BENIGN), item


def file_data(
    harmful: str | None,
    benign: str | None,
    phrase_file: Path | None,
    n: int,
    seed: int = 0,
    column: Named = None,
) -> ProbeData:
    """Requests of files or registered sets, a random `n` of each, judged by keywords of refusal.

    Keywords see a refusal, not harm: a response that is broken or beside the point counts as
    answered. The responses are in the run folder for a judge of one's own.
    """
    specs: dict[Literal["harmful", "benign"], str | None] = {"harmful": harmful, "benign": benign}
    requests = [
        ProbeRequest(f"{kind}/{index}", kind, text, f"{kind}/{index}", kind == "harmful")
        for kind, spec in specs.items()
        if spec is not None
        for index, text in enumerate(
            _drawn(load_behaviors(spec, keep=kind, column=column).prompts(), n, seed)
        )
    ]
    sets = read_phrases(phrase_file) if phrase_file else english_phrases()
    return ProbeData(
        tuple(requests),
        phrase_kinds(sets, ENGLISH_NEUTRAL),
        by_keyword,
        "refusal keywords: answered means not refused",
    )


def _drawn(texts: Sequence[str], n: int, seed: int) -> Sequence[str]:
    return texts if len(texts) <= n else random.Random(f"probes/{seed}").sample(texts, n)


def by_keyword(request: ProbeRequest, response: str) -> ProbeOutcome:
    """Answered where no phrase of refusal is found."""
    refused = refuses(response)
    return ProbeOutcome(not refused, refused)


def phrase_kinds(
    sets: PhraseSets, neutral: tuple[str, ...], refusals: bool = False
) -> dict[str, tuple[str, ...]]:
    """Phrases by kind; refusals where they are asked for."""
    kinds = {
        "affirmative": sets.affirmative,
        "procedural": sets.procedural,
        "neutral": neutral,
    }
    return kinds | ({"safe": sets.safe} if refusals else {})
