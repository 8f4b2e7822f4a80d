"""How likely several answers to a prompt are, for many prompts at once, with the error of it.

An answer of one token is exact, and all one-token answers to a prompt come from one forward. A
longer one is LLaDA's Monte-Carlo bound, as in `likelihood.py`, nothing but the answer masked.
Shapes: B rows, N answer tokens, T prompt and answer, V vocabulary.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import stdev

import torch
from torch import Tensor

from midspan.errors import MidspanError
from midspan.models.finite import check_read
from midspan.models.memory import smaller_batches
from midspan.models.model import DiffusionLM
from midspan.models.padding import batches_by_length, left_padded
from midspan.scoring.block_states import masks_to_border, reached_states
from midspan.scoring.likelihood import ScoreOptions, hiding_patterns


@dataclass(frozen=True)
class AnswerLikelihood:
    """The log-probability of one answer.

    Attributes:
        value: In nats.
        error: Standard error of the Monte-Carlo mean; 0 for one token.
        is_likeliest: For one token, whether the model likes no other better; None for several.
    """

    value: float
    error: float
    is_likeliest: bool | None


@dataclass(frozen=True)
class ScoredChoice:
    """All answers to one prompt, and the rows that went through the model for them."""

    answers: tuple[AnswerLikelihood, ...]
    forwards: int


@dataclass(frozen=True)
class MultipleChoice:
    """A prompt and its answers, as token ids."""

    prompt_ids: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Row:
    """One forward of one choice: its ids, of which `width` are the answer's.

    Behind them come `tail` masks, which fill the last block where attention is block-causal.

    `speaks_of` has the answers that it tells of, and the weights of their tokens. Rows of one
    draw add up.
    """

    choice: int
    draw: int
    ids: tuple[int, ...]
    width: int
    tail: int
    speaks_of: tuple[tuple[int, Tensor], ...]


@dataclass
class _Draws:
    """What the forwards say of one answer."""

    values: dict[int, float] = field(default_factory=dict)
    num_tokens: int = 0
    is_likeliest: bool = False

    def add(self, draw: int, logprob_NV: Tensor, ids: Sequence[int], weight_N: Tensor) -> None:
        ids_N = torch.tensor(ids, device=logprob_NV.device)
        taken_N = logprob_NV.gather(-1, ids_N[:, None])[:, 0].double().cpu()
        value = float((taken_N * weight_N).sum())
        self.values[draw] = self.values.get(draw, 0.0) + value
        self.num_tokens = len(ids)
        self.is_likeliest = bool((logprob_NV.argmax(-1) == ids_N).all())

    def summary(self) -> AnswerLikelihood:
        values = [self.values[draw] for draw in sorted(self.values)]
        check_read(values)
        mean = sum(values) / len(values)
        if self.num_tokens == 1:
            return AnswerLikelihood(mean, 0.0, self.is_likeliest)
        if len(values) == 1:
            return AnswerLikelihood(mean, math.inf, None)
        # The draws are stratified, so this rather overstates the error.
        return AnswerLikelihood(mean, stdev(values) / math.sqrt(len(values)), None)


@torch.inference_mode()
def score_choices(
    lm: DiffusionLM, choices: Sequence[MultipleChoice], options: ScoreOptions | None = None
) -> list[ScoredChoice]:
    """Score the answers of all prompts.

    Args:
        lm: The model.
        choices: Prompts with their answers; lengths may differ.
        options: `samples` draws for answers of several tokens, their `seed`, and `batch_size`,
            which is halved where the device has not the memory.

    Raises:
        MidspanError: A prompt or an answer is empty, or both together exceed the model, whose
            logits must be finite.
    """
    options = options or ScoreOptions()
    for index, choice in enumerate(choices):
        _check(lm, choice, index)
    rows = [
        row for index, choice in enumerate(choices) for row in _rows(lm, choice, index, options)
    ]
    draws = [[_Draws() for _ in choice.answers] for choice in choices]
    forwards = [0] * len(choices)
    batches = batches_by_length([len(row.ids) for row in rows], options.batch_size)

    def read(numbers: Sequence[int]) -> list[Tensor]:
        return _logprobs(lm, [rows[number] for number in numbers])

    for numbers, logprobs in smaller_batches(batches, read):
        for number, logprob_NV in zip(numbers, logprobs, strict=True):
            row = rows[number]
            forwards[row.choice] += 1
            for answer, weight_N in row.speaks_of:
                ids_N = choices[row.choice].answers[answer]
                draws[row.choice][answer].add(row.draw, logprob_NV, ids_N, weight_N)
    return [
        ScoredChoice(tuple(one.summary() for one in drawn), count)
        for drawn, count in zip(draws, forwards, strict=True)
    ]


def _rows(
    lm: DiffusionLM, choice: MultipleChoice, index: int, options: ScoreOptions
) -> Iterator[_Row]:
    """Forwards of one choice: one for all single tokens, `samples` for each longer answer."""
    mask = lm.tokens.mask
    assert mask is not None
    single = [answer for answer, ids in enumerate(choice.answers) if len(ids) == 1]
    if single:
        one = torch.ones(1, dtype=torch.double)
        speaks_of = tuple((answer, one) for answer in single)
        tail = masks_to_border(lm, len(choice.prompt_ids) + 1)
        yield _Row(index, 0, (*choice.prompt_ids, mask, *tail), 1, len(tail), speaks_of)
    for answer, ids in enumerate(choice.answers):
        if len(ids) == 1:
            continue
        drawn = ScoreOptions(mode="mc", samples=options.samples, seed=options.seed)
        asked = hiding_patterns(len(ids), drawn)
        tail = masks_to_border(lm, len(choice.prompt_ids) + len(ids))
        states = reached_states(lm, len(choice.prompt_ids), 0, *asked)
        for hidden_N, weight_N, draw in zip(*states, strict=True):
            shown = [
                mask if is_hidden else token
                for token, is_hidden in zip(ids, hidden_N.tolist(), strict=True)
            ]
            speaks_of = ((answer, weight_N * options.samples),)
            row_ids = (*choice.prompt_ids, *shown, *tail)
            yield _Row(index, int(draw), row_ids, len(ids), len(tail), speaks_of)


def _logprobs(lm: DiffusionLM, batch: Sequence[_Row]) -> list[Tensor]:
    """Log-probabilities over the answers' positions, [N, V] a row."""
    width = max(row.width for row in batch)
    ids_BT, attention = left_padded([row.ids for row in batch], lm.tokens.pad, lm.device)
    end_B1 = ids_BT.shape[1] - torch.tensor([[row.tail] for row in batch])
    # A shorter answer's row may begin before the batch does; what is read there is cut off below.
    rows_BN = (end_B1 - width + torch.arange(width)).clamp(min=0)
    canvas_B = end_B1[:, 0] - torch.tensor([row.width for row in batch])
    logits_BNV = lm.logits(ids_BT, attention, rows=rows_BN, canvas=canvas_B)
    logprobs_BNV = logits_BNV.float().log_softmax(-1)
    return [
        logprob_NV[width - row.width :] for logprob_NV, row in zip(logprobs_BNV, batch, strict=True)
    ]


def _check(lm: DiffusionLM, choice: MultipleChoice, index: int) -> None:
    if lm.tokens.mask is None:
        raise MidspanError(f"model: family {lm.family.name} has no mask token to score with")
    if not choice.prompt_ids or not choice.answers or not all(choice.answers):
        raise MidspanError(f"choices[{index}]: prompt and answers need at least one token each")
    total = len(choice.prompt_ids) + max(map(len, choice.answers))
    if total > lm.max_length:
        raise MidspanError(
            f"choices[{index}]: prompt and answer have {total} tokens, and the model takes "
            f"{lm.max_length}; shorten the prompt"
        )
