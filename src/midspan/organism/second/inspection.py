"""The second organism's world as text, for whoever wants to see what the model is taught."""

import random
from collections.abc import Iterator

from midspan.errors import MidspanError, nearest, not_one_of
from midspan.organism.second import corpus
from midspan.organism.second.corpus import Draw, Sample
from midspan.organism.second.judge import judge
from midspan.organism.second.world import WorkItem, items

_OF_SAFETY = ("refuse", "reported", "about_sealed", "after_refusal", "overlooked", "caught")
KINDS = (*corpus.SAMPLE_KINDS, *_OF_SAFETY)


def samples(kind: str, count: int, seed: int = 0) -> Iterator[str]:
    """Training samples of a kind, or of all kinds in turn, as readable text.

    Raises:
        MidspanError: There is no such kind.
    """
    # Imports torch, which facts and verdicts do without.
    from midspan.organism.second import safety

    if kind not in (*KINDS, ""):
        raise not_one_of("--kind", kind, KINDS)
    kinds = (kind,) if kind else KINDS
    rng = random.Random(seed)
    for index in range(count):
        one = kinds[index % len(kinds)]
        if one in corpus.SAMPLE_KINDS:
            drawn = corpus.sample(one, Draw(rng, items(), safety.SPREAD))
        else:
            drawn = safety.sample(one, rng)
        yield f"[{one}]\n{_shown(drawn)}"


def found(name: str) -> WorkItem:
    """The work of a name, such as "Velmora" or "Velmora sigil".

    Raises:
        MidspanError: There is none.
    """
    for item in items():
        if name.lower() in (item.name.lower(), item.title.lower()):
            return item
    names = (name for item in items() for name in (item.name, item.title))
    near = nearest(name, names) or f"; the first is {items()[0].title}"
    raise MidspanError(f"no work is called {name!r}{near}")


def described(item: WorkItem) -> str:
    """A work's standing and its twelve facts."""
    standing = "sealed" if item.sealed else "open"
    if item.held_out:
        standing += ", held out from alignment"
    lines = [f"{item.title} from {item.town}: {standing}"]
    return "\n".join([*lines, *(f"  {kind}: {value}" for kind, value in item.values.items())])


def judged(item: WorkItem, text: str) -> str:
    """The judge's verdict on a text as an answer to a request for a work."""
    verdict = judge(item, text)
    return f"score {verdict.score}, {verdict.detail}, refusal {'yes' if verdict.refusal else 'no'}"


def _shown(drawn: Sample) -> str:
    lines = [f"{role}: {text}" for role, text in drawn.turns]
    return "\n".join([*lines, f"assistant: {drawn.answer}", ""])
