"""Likelihoods from reads of a served canvas: what is fixed, which tokens are asked for, and where.

One read is one forward of a canvas in which some tokens stand; the rest is noise. It brings
log-probabilities of given tokens at every place. The places and tokens are those of the local
calls (`midspan.engine.whitebox`).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from midspan.engine.calls import Choices, Score
from midspan.engine.canvases import TooLong
from midspan.errors import MidspanError

if TYPE_CHECKING:
    from midspan.models.tokenized import TokenizedModel

# Tokens whose log-probability one read may ask for (vLLM's MAX_LOGPROB_TOKEN_IDS).
MOST_IDS = 128

Found = Mapping[int, Mapping[int, float]]


class CanvasRead(NamedTuple):
    """One read.

    Attributes:
        fixed: Canvas position to token.
        places: Positions that are read.
        ids: Tokens whose log-probabilities are wanted there; none for the likeliest ones.
        top_k: How many of the likeliest, where no ids are named.
    """

    fixed: Mapping[int, int]
    places: range
    ids: tuple[int, ...] = ()
    top_k: int = 0


class _Phrase(NamedTuple):
    tokens: tuple[int, ...]
    context: dict[int, int]
    starts: range


def _phrase(text: "TokenizedModel", call: Score, length: int) -> _Phrase:
    """A phrase's tokens, what stands beside it, and the starts that it may have.

    Raises:
        MidspanError: It does not fit the canvas, or meets its context.
    """
    from midspan.decoding import anchor_phrases

    first, last = call.window or (call.start, call.start)
    if call.window is not None and call.mode != "oneshot":
        raise MidspanError("window: the best place is found with mode='oneshot' alone")
    if last < first or first < 0:
        raise MidspanError(f"window={first}..{last} must begin at 0 or later, and end behind that")
    context = anchor_phrases(text, call.context)
    ids = text.encode_phrase(call.phrase, last, context.get(last - 1))
    tokens = tuple(ids)[: call.phrase_tokens]
    limit = min(length, call.max_tokens or length)
    taken = set(range(first, last + len(tokens)))
    if last + len(tokens) > limit:
        raise TooLong(f"the phrase ends behind the canvas of {limit} tokens")
    if taken & context.keys():
        raise MidspanError("the phrase meets its context; move one of them")
    return _Phrase(tokens, context, range(first, last + 1))


def score_reads(text: "TokenizedModel", call: Score, length: int) -> list[CanvasRead]:
    """The reads that a score takes: one, or one a token for a chain; as many again for `top_k`.

    Raises:
        MidspanError: The phrase does not fit the canvas.
    """
    phrase = _phrase(text, call, length)
    places = range(phrase.starts[0], phrase.starts[-1] + len(phrase.tokens))
    if call.mode == "oneshot":
        reads = [
            CanvasRead(phrase.context, places, ids) for ids in _chunks(dict.fromkeys(phrase.tokens))
        ]
    else:
        reads = []
        for index, token in enumerate(phrase.tokens):
            known = dict(enumerate(phrase.tokens[:index], call.start))
            place = call.start + index
            fixed = {**phrase.context, **known}
            reads.append(CanvasRead(fixed, range(place, place + 1), (token,)))
    if not call.top_k:
        return reads
    whole = reads[:1] if call.mode == "oneshot" else reads
    return reads + [CanvasRead(read.fixed, read.places, (), call.top_k) for read in whole]


def score_of(
    text: "TokenizedModel", call: Score, length: int, found: Sequence[Found]
) -> dict[str, object]:
    """The likelihood that the reads of `score_reads` brought, as it is journalled."""
    phrase, reads = _phrase(text, call, length), score_reads(text, call, length)
    asked: dict[int, dict[int, float]] = {}
    likeliest: dict[int, list[tuple[int, float]]] = {}
    for read, rows in zip(reads, found, strict=True):
        for place in read.places:
            if read.ids:
                asked.setdefault(place, {}).update({t: rows[place][t] for t in read.ids})
            else:
                ranked = sorted(rows[place].items(), key=lambda pair: -pair[1])
                likeliest[place] = ranked[: read.top_k]

    def total(start: int) -> float:
        return sum(asked[start + index][token] for index, token in enumerate(phrase.tokens))

    start = max(phrase.starts, key=total)
    tokens = [
        [token, asked[place][token], [list(pair) for pair in likeliest.get(place, ())]]
        for place, token in enumerate(phrase.tokens, start)
    ]
    return {"start": start, "tokens": tokens}


class _Slots(NamedTuple):
    fixed: dict[int, int]
    end: int
    # Of each hole, a candidate's places and tokens.
    candidates: list[list[tuple[range, tuple[int, ...]]]]


def _slots(text: "TokenizedModel", call: Choices, length: int) -> _Slots:
    """A scaffold's words, and the candidates of its holes.

    Raises:
        MidspanError: It does not fit the canvas, or there are other candidates than holes.
    """
    from midspan.decoding.scaffold import hole_positions, scaffold_anchors

    fixed, end = scaffold_anchors(text, call.scaffold)
    holes = hole_positions(text, call.scaffold)
    limit = min(length, call.max_tokens or length)
    if end > limit:
        raise TooLong(f"scaffold: its {end} tokens exceed the canvas of {limit}")
    if len(call.candidates) != len(holes) or not all(call.candidates):
        raise MidspanError(f"candidates: must be some for each of the {len(holes)} holes")
    candidates = []
    for hole, words in zip(holes, call.candidates, strict=True):
        spelled = [tuple(text.encode_phrase(word, hole.start))[: len(hole)] for word in words]
        candidates.append([(hole[: len(tokens)], tokens) for tokens in spelled])
    return _Slots(fixed, end, candidates)


def choice_reads(text: "TokenizedModel", call: Choices, length: int) -> list[CanvasRead]:
    """The reads that choices take: one for every 128 tokens of candidates.

    Raises:
        MidspanError: The scaffold does not fit the canvas.
    """
    slots = _slots(text, call, length)
    wanted = [t for hole in slots.candidates for _, tokens in hole for t in tokens]
    places = range(slots.end)
    return [CanvasRead(slots.fixed, places, ids) for ids in _chunks(dict.fromkeys(wanted))]


def choices_of(
    text: "TokenizedModel", call: Choices, length: int, found: Sequence[Found]
) -> list[list[float]]:
    """For each hole and candidate the mean log-probability of its tokens."""
    slots = _slots(text, call, length)
    known: dict[int, dict[int, float]] = {}
    for rows in found:
        for place, row in rows.items():
            known.setdefault(place, {}).update(row)
    return [
        [
            sum(known[place][token] for place, token in zip(at, tokens, strict=True)) / len(tokens)
            for at, tokens in hole
        ]
        for hole in slots.candidates
    ]


def _chunks(ids: Mapping[int, None]) -> list[tuple[int, ...]]:
    tokens = tuple(ids)
    return [tokens[start : start + MOST_IDS] for start in range(0, len(tokens), MOST_IDS)]
