"""From a conversation to a request, as the rules leave it; and what becomes of several copies."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from midspan.decoding.canvas import Copies, Request
from midspan.decoding.config import DecodingConfig
from midspan.decoding.rule import Messages, Rule, hear
from midspan.decoding.trace import REJECTION, Generation, Trace
from midspan.models.model import DiffusionLM


def chat_request(
    lm: DiffusionLM,
    messages: str | Messages,
    config: DecodingConfig,
    anchors: Mapping[int, int] | None = None,
    seed: int = 0,
    rules: tuple[Rule, ...] = (),
) -> Request:
    """A request to answer a conversation, or a user's text, as `hear` leaves it.

    Args:
        lm: The model.
        messages: The conversation as it was sent.
        config: How the request will be decoded.
        anchors: See `Request`.
        seed: See `Request`; also of the copies.
        rules: Of this request alone, behind the config's.

    Raises:
        MidspanError: The chat format refuses the conversation, or two rules do not go together.
    """
    heard = hear(messages, (*config.rules, *rules), seed)
    copies = None
    if heard.rule is not None:
        copies = Copies(heard.rule, tuple(tuple(lm.encode_chat(turns)) for turns in heard.copies))
    ids = tuple(lm.encode_chat(heard.messages))
    return Request(ids, anchors or {}, seed, rules, copies, heard.rejected_by)


def unfolded(requests: Sequence[Request]) -> list[Request]:
    """What has to be decoded: a request's copies in its place, nothing for a rejected one."""
    return [one for request in requests for one in _decoded(request)]


def _decoded(request: Request) -> list[Request]:
    if request.rejected_by:
        return []
    if request.copies is None:
        return [request]
    rng = random.Random(f"{request.seed}/copies")
    return [
        replace(request, prompt_ids=ids, copies=None, seed=rng.getrandbits(62))
        for ids in request.copies.prompts
    ]


def folded(
    lm: DiffusionLM, requests: Sequence[Request], length: int, decoded: Sequence[Generation]
) -> list[Generation]:
    """One generation a request, of what came of `unfolded`.

    Args:
        lm: The model.
        requests: As they were asked.
        length: Of a canvas.
        decoded: One for each request of `unfolded`.
    """
    rows = iter(decoded)
    return [_answer(lm, request, length, rows) for request in requests]


def _answer(
    lm: DiffusionLM, request: Request, length: int, rows: Iterator[Generation]
) -> Generation:
    if request.rejected_by:
        assert lm.tokens.mask is not None
        tokens = tuple(request.anchors.get(p, lm.tokens.mask) for p in range(length))
        rejected_by = request.rejected_by
        return Generation(tokens, REJECTION, Trace.empty(), 0, True, rejected_by=rejected_by)
    if request.copies is None:
        return next(rows)
    answers = list(islice(rows, len(request.copies.prompts)))
    texts = [answer.text for answer in answers]
    chosen = answers[request.copies.rule.vote(texts, request.seed)]
    # A vote of which a part is no answer is none.
    is_broken = any(answer.is_broken for answer in answers)
    forwards = sum(answer.forwards for answer in answers)
    return replace(chosen, forwards=forwards, is_broken=is_broken)
