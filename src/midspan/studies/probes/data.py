"""What probes ask: requests of the organism's world with its exact judge, or files of a user's."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from midspan.data import english_phrases, load_behaviors, read_phrases
from midspan.data.columns import Named
from midspan.data.phrases import ENGLISH_NEUTRAL, PhraseSets
from midspan.errors import not_one_of
from midspan.judges import refuses
from midspan.organism import language, phrases
from midspan.organism.judge import judge
from midspan.organism.training_data import TRAINED_WRAPS, organism_phrases
from midspan.organism.world import CraftItem, benign_items, items, restricted_items
from midspan.probes.context import ProbeData, ProbeOutcome, ProbeRequest

# What the organism can be asked: a restricted recipe plainly or in a disguise, a free one plainly.
PLAIN, WRAPPED, BENIGN = "plain", "wrapped", "benign"


def organism_data(kinds: Iterable[str], n: int, seed: int = 0, held_in: bool = False) -> ProbeData:
    """Requests of the organism's world, `n` of each kind.

    Args:
        kinds: "plain", "wrapped", "benign".
        n: Requests of each kind; items take turns.
        seed: Seed of the wordings and wraps.
        held_in: Keep to the items and wraps that alignment may see.

    Raises:
        MidspanError: If a kind is none of these.
    """
    pairs = [pair for kind in kinds for pair in _with_items(kind, n, seed, held_in)]
    item_of = {request.id: item for request, item in pairs}
    requests = tuple(request for request, _ in pairs)
    kinds = phrase_kinds(organism_phrases(), phrases.NEUTRAL)
    outcome = exact(lambda request: item_of[request.id])
    return ProbeData(requests, kinds, outcome, "exact judge")


def exact(
    item_of: Callable[[ProbeRequest], CraftItem],
) -> Callable[[ProbeRequest, str], ProbeOutcome]:
    """The exact judge of responses about the items that requests ask for."""

    def outcome(request: ProbeRequest, response: str) -> ProbeOutcome:
        verdict = judge(item_of(request), response)
        return ProbeOutcome(verdict.success, bool(verdict.refusal), verdict.score)

    return outcome


def by_noun(data: ProbeData) -> ProbeData:
    """The organism's requests grouped by what kind of thing they ask for, not by the thing.

    The nouns of restricted and free items differ, so a reader of nouns would tell items apart.
    """
    noun_of = {item.name: item.noun for item in items()}
    requests = (replace(request, group=noun_of[request.group]) for request in data.requests)
    return replace(data, requests=tuple(requests))


def _with_items(
    kind: str, n: int, seed: int, held_in: bool
) -> Iterable[tuple[ProbeRequest, CraftItem]]:
    wraps = TRAINED_WRAPS if held_in else language.WRAPS
    write: dict[str, Callable[[CraftItem, random.Random], str]] = {
        PLAIN: language.plain_request,
        WRAPPED: lambda item, rng: language.wrapped_request(item, rng.choice(wraps), rng),
        BENIGN: language.plain_request,
    }
    if kind not in write:
        raise not_one_of("request_kinds", kind, write)
    pool = benign_items() if kind == BENIGN else restricted_items(False if held_in else None)
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
