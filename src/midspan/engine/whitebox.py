"""Likelihoods, losses and gradients of a diffusion model, as a role answers them.

Shapes: B rows, R read positions, K phrase tokens, S candidates, F suffix tokens, T prompt and
canvas, V vocabulary.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor

from midspan.decoding.scaffold import hole_positions, scaffold_anchors
from midspan.engine.calls import SLOT, Choices, GCGCandidates, Message, Score, SuffixLosses
from midspan.engine.roles import MissingReply, RawReply
from midspan.errors import MidspanError
from midspan.models import DiffusionLM
from midspan.models.finite import NotFiniteError, check_read
from midspan.models.padding import batches_by_length, left_padded
from midspan.scoring.block_states import reached_states
from midspan.scoring.gcg_step import GCGConfig, sample_candidates
from midspan.scoring.gradients import Goal, phrase_losses, token_gradient
from midspan.scoring.likelihood import (
    ScoreOptions,
    check_place,
    hiding_patterns,
    masked_canvas,
)
from midspan.scoring.suffix import SuffixPrompt, allowed_tokens
from midspan.scoring.window import best_starts


class Reading(NamedTuple):
    """A row through the model, and the tokens whose likelihood is read somewhere in it.

    Attributes:
        ids_T: Prompt and canvas.
        canvas: Where the canvas begins, in the row.
        position: Of the tokens' first start, in the row.
        token_ids: The tokens, one behind the other.
        num_starts: Starts of which the best is taken.
    """

    ids_T: Tensor
    canvas: int
    position: int
    token_ids: tuple[int, ...]
    num_starts: int = 1

    @property
    def span(self) -> range:
        """Positions of the row that are read."""
        return range(self.position, self.position + len(self.token_ids) + self.num_starts - 1)


def readings(
    lm: DiffusionLM,
    call: Score,
    prompt_ids: Sequence[int],
    context: Mapping[int, int],
    length: int,
) -> list[Reading]:
    """The rows that a score takes: one, or one a token for a chain.

    Where attention is block-causal, one a block that the phrase touches. The starts of a window
    are all read in one row, in which whatever comes before them is masked.

    Raises:
        MidspanError: The phrase or the window does not fit the canvas.
    """
    first, last = call.window or (call.start, call.start)
    if last < first:
        raise MidspanError(f"window={first}..{last} ends before it begins")
    phrase = tuple(lm.encode_phrase(call.phrase, last, context.get(last - 1)))[: call.phrase_tokens]
    check_place(phrase, first, last, length, context)
    blank_T = masked_canvas(lm, prompt_ids, phrase, length, context).cpu()
    position = len(prompt_ids) + first
    if call.window is not None:
        if call.mode != "oneshot":
            raise MidspanError("window: the best place is found with mode='oneshot' alone")
        return [Reading(blank_T, len(prompt_ids), position, phrase, last - first + 1)]
    phrase_N = torch.tensor(phrase)
    asked = hiding_patterns(len(phrase), ScoreOptions(call.mode))
    hidden_CN, weight_CN, _ = reached_states(lm, len(prompt_ids), first, *asked)
    rows = []
    for hidden_N, weight_N in zip(hidden_CN, weight_CN, strict=True):
        ids_T = blank_T.clone()
        span_N = ids_T[position : position + len(phrase)]
        span_N[~hidden_N] = phrase_N[~hidden_N]
        read = weight_N.nonzero()[:, 0].tolist()
        tokens = phrase[read[0] : read[-1] + 1]
        rows.append(Reading(ids_T, len(prompt_ids), position + read[0], tokens))
    return rows


@torch.inference_mode()
def score(
    lm: DiffusionLM, calls: Sequence[tuple[Score, list[Reading]]], batch_size: int
) -> list[RawReply | MissingReply]:
    """Likelihoods of phrases, their rows batched together."""
    rows = [(row, call.top_k) for call, own_rows in calls for row in own_rows]
    # All phrases and places that are read in the same canvas share its forward.
    sharing: dict[tuple[int, ...], list[int]] = {}
    for index, (row, _) in enumerate(rows):
        sharing.setdefault((row.canvas, *row.ids_T.tolist()), []).append(index)
    groups = list(sharing.values())
    scored: dict[int, tuple[int, list[list[Any]]]] = {}
    for batch in batches_by_length([len(canvas) for canvas in sharing], batch_size):
        read = [groups[number] for number in batch]
        found = _read(lm, [[rows[index] for index in group] for group in read])
        scored |= dict(zip([index for group in read for index in group], found, strict=True))
    answers, remaining = list[RawReply | MissingReply](), iter(range(len(rows)))
    for call, own_rows in calls:
        own_scores = [scored[next(remaining)] for _ in own_rows]
        start = (call.window or (call.start,))[0] + own_scores[0][0]
        tokens = [token for _, scores in own_scores for token in scores]
        reply = RawReply({"start": start, "tokens": tokens}, forwards=len(own_rows))
        answers.append(_finite(reply, (value for _, value, _ in tokens)))
    return answers


def _finite(reply: RawReply, values: Iterable[float]) -> RawReply | MissingReply:
    """A reply of these values, or why they are none."""
    try:
        check_read(values)
    except NotFiniteError as error:
        return MissingReply("failed", str(error))
    return reply


def _read(
    lm: DiffusionLM, groups: Sequence[Sequence[tuple[Reading, int]]]
) -> list[tuple[int, list[list[Any]]]]:
    """Best start, and token scores there, of all readings of the canvases of one batch."""
    shared = [group[0][0] for group in groups]
    ids_BT, attention_BT = left_padded([row.ids_T for row in shared], lm.tokens.pad, lm.device)
    pads = [ids_BT.shape[1] - len(row.ids_T) for row in shared]
    places = [sorted({place for row, _ in group for place in row.span}) for group in groups]
    canvas_B = torch.tensor([pad + row.canvas for row, pad in zip(shared, pads, strict=True)])
    logits_BRV = lm.logits(ids_BT, attention_BT, _wanted(places, pads), canvas=canvas_B)
    found = []
    for logits_RV, group, own in zip(logits_BRV, groups, places, strict=True):
        logprob_RV = logits_RV.float().log_softmax(-1)
        for row, top_k in group:
            first = own.index(row.position)
            found.append(_best(logprob_RV[first : first + len(row.span)], row, top_k))
    return found


def _wanted(places: Sequence[Sequence[int]], pads: Sequence[int]) -> Tensor:
    """Columns of the places of each row, [B, R]; rows of fewer repeat their first."""
    most = max(map(len, places))
    return torch.tensor(
        [
            [pad + place for place in [*own, *[own[0]] * (most - len(own))]]
            for own, pad in zip(places, pads, strict=True)
        ]
    )


def _best(logprob_RV: Tensor, row: Reading, top_k: int) -> tuple[int, list[list[Any]]]:
    logprob_RK = logprob_RV[:, torch.tensor(row.token_ids, device=logprob_RV.device)]
    allowed_R = torch.arange(len(logprob_RV), device=logprob_RV.device) < row.num_starts
    _, start_1 = best_starts(logprob_RK[None], [row.token_ids], allowed_R[None])
    best = int(start_1)
    end = best + len(row.token_ids)
    top = logprob_RV[best:end].topk(top_k)
    tops = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    values = zip(row.token_ids, logprob_RK[best:end].diagonal().tolist(), tops, strict=True)
    return best, [
        [token, value, list(map(list, zip(*top, strict=True)))] for token, value, top in values
    ]


class SlotReading(NamedTuple):
    """A row through the model, and the candidates that are read in its holes.

    Attributes:
        ids_T: Prompt and canvas.
        canvas: Where the canvas begins, in the row.
        candidates: Of each hole, a candidate's positions in the row and its tokens.
    """

    ids_T: Tensor
    canvas: int
    candidates: tuple[tuple[tuple[tuple[int, ...], tuple[int, ...]], ...], ...]


def slot_reading(
    lm: DiffusionLM, call: Choices, prompt_ids: Sequence[int], length: int
) -> SlotReading:
    """The row that choices take.

    Raises:
        MidspanError: The scaffold does not fit the canvas, has words that the vocabulary lacks, or
            there are other candidates than holes.
    """
    anchors, end = scaffold_anchors(lm, call.scaffold)
    holes = hole_positions(lm, call.scaffold)
    if end > length:
        raise MidspanError(f"scaffold: its {end} tokens exceed the canvas of {length}")
    if len(call.candidates) != len(holes) or not all(call.candidates):
        raise MidspanError(
            f"candidates: must be some for each of the {len(holes)} holes; got "
            f"{[len(texts) for texts in call.candidates]}"
        )
    first = len(prompt_ids)
    read = []
    for hole, texts in zip(holes, call.candidates, strict=True):
        spelled = [tuple(lm.encode_phrase(text, hole.start))[: len(hole)] for text in texts]
        places = [tuple(first + place for place in hole[: len(tokens)]) for tokens in spelled]
        read.append(tuple(zip(places, spelled, strict=True)))
    ids_T = masked_canvas(lm, prompt_ids, read[0][0][1], length, anchors).cpu()
    return SlotReading(ids_T, first, tuple(read))


@torch.inference_mode()
def choose(
    lm: DiffusionLM, rows: Sequence[SlotReading], batch_size: int
) -> list[RawReply | MissingReply]:
    """Log-probabilities of candidates in their holes, rows batched together."""
    answers: dict[int, RawReply | MissingReply] = {}
    for numbers in batches_by_length([len(row.ids_T) for row in rows], batch_size):
        batch = [rows[number] for number in numbers]
        ids_BT, attention_BT = left_padded([row.ids_T for row in batch], lm.tokens.pad, lm.device)
        pads = [ids_BT.shape[1] - len(row.ids_T) for row in batch]
        places = [
            sorted({place for hole in row.candidates for at, _ in hole for place in at})
            for row in batch
        ]
        rows_BR = _wanted(places, pads)
        canvas_B = torch.tensor([pad + row.canvas for row, pad in zip(batch, pads, strict=True)])
        logits_BRV = lm.logits(ids_BT, attention_BT, rows_BR, canvas=canvas_B)
        for number, logits_RV, row, own in zip(numbers, logits_BRV, batch, places, strict=True):
            logprob_RV = logits_RV.float().log_softmax(-1).cpu()
            means = _means(logprob_RV, row, own)
            answers[number] = _finite(RawReply(means, forwards=1), chain(*means))
    return [answers[number] for number in range(len(rows))]


def _means(logprob_RV: Tensor, row: SlotReading, places: Sequence[int]) -> list[list[float]]:
    """For each hole and candidate the mean over its tokens."""
    index = {place: number for number, place in enumerate(places)}
    return [
        [
            float(logprob_RV[[index[place] for place in at], list(tokens)].mean())
            for at, tokens in hole
        ]
        for hole in row.candidates
    ]


def insert_suffix(messages: Sequence[Message], suffix: str) -> list[Message]:
    """The messages with a suffix in the slot; an empty one takes the space before it along.

    Raises:
        MidspanError: There is no slot.
    """
    if not any(SLOT in message["content"] for message in messages):
        raise MidspanError("messages: no SLOT says where the suffix stands")
    contents = [turn["content"] for turn in messages]
    if not suffix:
        contents = [content.replace(f" {SLOT}", "") for content in contents]
    return [
        {**turn, "content": content.replace(SLOT, suffix)}
        for turn, content in zip(messages, contents, strict=True)
    ]


def _goal(lm: DiffusionLM, call: GCGCandidates | SuffixLosses, length: int) -> Goal:
    phrase = tuple(lm.encode_phrase(call.phrase, call.start))[: call.phrase_tokens]
    return Goal(phrase, call.start, length)


def losses(lm: DiffusionLM, call: SuffixLosses, length: int, batch_size: int) -> RawReply:
    """Losses of suffixes."""
    prompts = [lm.encode_chat(insert_suffix(call.messages, suffix)) for suffix in call.suffixes]
    values_N = phrase_losses(lm, prompts, [_goal(lm, call, length)] * len(prompts), batch_size)
    return RawReply(values_N.tolist(), forwards=len(prompts))


def substitute(lm: DiffusionLM, call: GCGCandidates, length: int, seed: int) -> RawReply:
    """Candidates of one step of greedy coordinate gradient, as text.

    Raises:
        MidspanError: The suffix has no tokens of its own in the prompt.
    """
    prompt = SuffixPrompt.create(lm, partial(insert_suffix, call.messages), call.suffix)
    gradient_FV = token_gradient(lm, prompt.ids, prompt.free, _goal(lm, call, length))
    config = GCGConfig(search_width=call.count, top_k=call.top_k, num_replaced=call.replace)
    candidates_SF = sample_candidates(
        torch.tensor(prompt.suffix_ids),
        gradient_FV,
        allowed_tokens(lm),
        config,
        torch.Generator().manual_seed(seed),
    )
    candidates = map(prompt.with_suffix, candidates_SF.tolist())
    texts = dict.fromkeys(candidate.surviving_text(lm) for candidate in candidates)
    return RawReply([text for text in texts if text not in (None, call.suffix)], forwards=1)
