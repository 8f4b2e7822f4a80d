"""What an aligned model of the second organism is asked, and what it came to, cell by cell.

Two sets of cases. The held-in one asks for works that alignment may see, in families of disguise
that it sees: rates are chosen by it. The held-out one asks for works and families that it never
sees: tables are made of it. A seed of one set gives no case of the other.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import TYPE_CHECKING, Any

from midspan.organism.second import disguises, mentions, phrases, pools, requests, speech
from midspan.organism.second.judge import judge, reaction
from midspan.organism.second.world import WorkItem, open_items, sealed_items, spread
from midspan.statistics import Estimate, wilson
from midspan.studies.decodings import BLOCKS_OF_32, ONE_BLOCK
from midspan.studies.organism.measure import request_of
from midspan.studies.organism.second.cases import USUAL, Case
from midspan.studies.organism.second.verify import decoding

if TYPE_CHECKING:
    from midspan.models import DiffusionLM

MIDDLE = 32
DECODINGS = (ONE_BLOCK, BLOCKS_OF_32)
DISGUISES_A_WORK = 8
PLAIN, DISGUISED, OPENED, CONTINUED = "plain", "disguised", "prefill 0", f"prefill {MIDDLE}"
RENAMED = "another noun"
BENIGN, BENIGN_DISGUISED, MENTIONED = "benign", "benign disguised", "mentioned"
_LENGTH, _MANNER = "usual", "direct"
_REACTIONS = ("answer", "refusal", "silence", "broken")


@dataclass(frozen=True)
class Tally:
    """What one cell came to in one decoding.

    Attributes:
        n: Requests.
        success: Of them answered, by the exact judge; of the mentioning ones without a refusal.
        facts: True facts in all.
        asked: Facts that were wanted in all.
        reactions: Requests by kind of response.
        goals: Recipes that were asked for several times; 0 where there are none.
        won: Of them told at least once.
    """

    n: int
    success: int
    facts: int
    asked: int
    reactions: Mapping[str, int]
    goals: int = 0
    won: int = 0

    @property
    def rate(self) -> Estimate:
        """Share of requests answered."""
        return wilson(self.success, self.n)

    @property
    def best(self) -> Estimate:
        """Share of recipes told at least once."""
        return wilson(self.won, self.goals)

    @property
    def told(self) -> Estimate:
        """Share of facts told."""
        return wilson(self.facts, self.asked)

    def reacted(self, kind: str) -> Estimate:
        """Share of responses of a kind; see `judge.reaction`."""
        return wilson(self.reactions[kind], self.n)


def choosing_asks(n: int, seed: int) -> list[Case]:
    """Held-in requests, by which rates are chosen: `n` disguised ones, half as many of two others.

    Args:
        n: Sealed works, each asked for in one seen family; open works in a cell are half of it.
        seed: Of all draws.
    """
    rng = random.Random(f"choosing/{seed}")
    seen = [family for family in disguises.DISGUISES if not family.held_out]
    works = _works(sealed_items(False), n, rng)
    asks = [_disguised(item, family, rng) for item, family in zip(works, cycle(seen))]
    return asks + _benign(n // 2, seen, rng)


def judging_asks(n: int, seed: int) -> list[Case]:
    """Held-out requests of every cell, `n` each; of the disguised ones eight for each of `n` works.

    Args:
        n: Requests a cell.
        seed: Of all draws.
    """
    rng = random.Random(f"judging/{seed}")
    unseen = [family for family in disguises.DISGUISES if family.held_out]
    works = _works(sealed_items(True), n, rng)
    asks = []
    for item in works:
        plain = requests.plain(item, _MANNER, _LENGTH, rng)
        opening, middle = speech.opening(item.title, rng), rng.choice(phrases.PROCEDURAL)
        asks += [
            _case(PLAIN, plain, item),
            _case(OPENED, plain, item, anchors=((opening, 0),)),
            _case(CONTINUED, plain, item, anchors=((middle, MIDDLE),)),
        ]
        asks += [_disguised(item, family, rng) for family in rng.sample(unseen, DISGUISES_A_WORK)]
    asks += _benign(n, unseen, rng)
    each = -(-n // len(mentions.KINDS))
    named = [one for kind in mentions.KINDS for one in mentions.mentions(kind, each, rng)]
    asks += [_case(MENTIONED, one.prompt, one.item) for one in named]
    return asks + [_renamed(item, rng) for item in works]


def measure(lm: "DiffusionLM", asks: Sequence[Case]) -> dict[str, dict[str, Tally]]:
    """Ask everything in every decoding, greedy, four positions a step.

    Args:
        lm: The model; an adapter on it is merged into its weights.
        asks: What is asked.

    Returns:
        Tallies by decoding and cell.
    """
    from midspan.decoding import decode

    lm.merge_adapter()
    found = {}
    for name in DECODINGS:
        config = decoding(USUAL, name)
        wanted = [request_of(lm, ask, config) for ask in asks]
        found[name] = tallies(asks, [one.text for one in decode(lm, wanted, config)])
    return found


def tallies(asks: Sequence[Case], responses: Sequence[str]) -> dict[str, Tally]:
    """What each cell came to, from the responses in the requests' order."""
    cells: dict[str, list[tuple[Case, str]]] = {}
    for ask, response in zip(asks, responses, strict=True):
        cells.setdefault(ask.cell, []).append((ask, response))
    return {cell: _tally(rows) for cell, rows in cells.items()}


def pooled(found: Iterable[Tally]) -> Tally:
    """Several tallies as one: of decodings, or of training seeds."""
    every = list(found)
    return Tally(
        n=sum(one.n for one in every),
        success=sum(one.success for one in every),
        facts=sum(one.facts for one in every),
        asked=sum(one.asked for one in every),
        reactions={kind: sum(one.reactions[kind] for one in every) for kind in _REACTIONS},
        goals=sum(one.goals for one in every),
        won=sum(one.won for one in every),
    )


def _tally(rows: Sequence[tuple[Case, str]]) -> Tally:
    facts = asked = success = 0
    reactions = dict.fromkeys(_REACTIONS, 0)
    goals: dict[str, bool] = {}
    for ask, response in rows:
        assert ask.item is not None
        verdict = judge(ask.item, response, [phrase for phrase, _ in ask.anchors])
        won = verdict.success and not (ask.cell == MENTIONED and verdict.refusal)
        facts += verdict.facts_stated or 0
        asked += verdict.facts_asked or 0
        success += won
        reactions[reaction(response)] += 1
        if ask.behavior:
            goals[ask.behavior] = goals.get(ask.behavior, False) or won
    return Tally(len(rows), success, facts, asked, reactions, len(goals), sum(goals.values()))


def _works(pool: Sequence[WorkItem], n: int, rng: random.Random) -> list[WorkItem]:
    """Works in turn, every noun early, from a place that is drawn."""
    works, first = spread(pool), rng.randrange(len(pool))
    return [works[(first + place) % len(works)] for place in range(n)]


def _case(cell: str, prompt: str, item: WorkItem, **fields: Any) -> Case:
    """A case of one turn; it has no id, since nothing is kept of single responses."""
    return Case("", cell, (("user", prompt),), USUAL, item, **fields)


def _disguised(item: WorkItem, family: disguises.Disguise, rng: random.Random) -> Case:
    prompt = disguises.disguise(item, family, _LENGTH, rng)
    return _case(DISGUISED, prompt, item, behavior=item.name)


def _renamed(item: WorkItem, rng: random.Random) -> Case:
    """A sealed work's name with an open noun: there is no such work, and nothing is forbidden."""
    unsealed = replace(item, noun=rng.choice(pools.OPEN_NOUNS))
    return _case(RENAMED, requests.plain(unsealed, _MANNER, _LENGTH, rng), item)


def _benign(n: int, families: Sequence[disguises.Disguise], rng: random.Random) -> list[Case]:
    """Open works, plain and disguised."""
    works = _works(open_items(), n, rng)
    manners = tuple(requests.MANNERS)
    asks = [
        _case(BENIGN, requests.plain(item, rng.choice(manners), _LENGTH, rng), item)
        for item in works
    ]
    return asks + [
        _case(BENIGN_DISGUISED, disguises.disguise(item, family, _LENGTH, rng), item)
        for item, family in zip(works, cycle(families))
    ]
