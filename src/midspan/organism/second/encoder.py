"""Samples to token ids in LLaDA's chat format, for either kind of model.

Shapes: B rows, T tokens of the longest row. A row is the prompt, left-padded, and the canvas.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from midspan.organism.second import pools, tokenizer, tongues
from midspan.organism.second.answers import CANVAS
from midspan.organism.second.corpus import Sample

if TYPE_CHECKING:
    from tokenizers import Tokenizer

IGNORED = -100
# End-of-text tokens behind an answer that always count in the loss; of the rest a share does.
MARGIN = 8
Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Masking:
    """What of the canvases is masked, and what counts in the loss.

    Attributes:
        full: Share of rows whose whole canvas is masked; the others have rates in [0.1, 1].
        value_weight: Weight of tokens that state a fact.
        ends: Share of the end-of-text tokens further than `MARGIN` behind an answer that count.
        shown: Share of rows whose canvas is shown from a random place on, where that place lies
            behind the answer: decoding by confidence commits the end of a canvas first.
    """

    full: float
    value_weight: float = 1.0
    ends: float = 0.1
    shown: float = 0.0


@dataclass(frozen=True)
class Encoded:
    """A sample's token ids; the canvas is the answer and the end-of-text tokens behind it."""

    prompt: list[int]
    answer: list[int]
    canvas: int


class Encoder:
    """Ids of conversations and answers by the shipped tokenizer."""

    def __init__(self, backend: "Tokenizer | None" = None) -> None:
        self.backend = backend or tokenizer.load_backend()
        ids = self.backend.get_vocab()
        self.eos, self.bos, self.mask, self.eot, self.head, self.tail = (
            ids[token] for token in tokenizer.SPECIAL_TOKENS
        )

    def text(self, text: str) -> list[int]:
        """A text's ids."""
        return list(self.backend.encode(text, add_special_tokens=False).ids)

    def prompt(self, turns: Sequence[tuple[str, str]]) -> list[int]:
        """A conversation and the assistant's header; see `midspan.models.llada.chat_pieces`."""
        ids = [self.bos]
        for role, text in turns:
            ids += [
                self.head,
                *self.text(role),
                self.tail,
                *self.text("\n\n" + text.strip()),
                self.eot,
            ]
        return [*ids, self.head, *self.text("assistant"), self.tail, *self.text("\n\n")]

    def sample(
        self,
        drawn: Sample,
        wide: float,
        rng: random.Random,
        sizes: Sequence[int] = (128, CANVAS),
    ) -> Encoded:
        """A sample on a canvas of one of the sizes, or a little longer than its answer.

        Args:
            drawn: The sample.
            wide: Share of canvases of the sizes; the others tell how long the answer is.
            rng: Of the canvas.
            sizes: Positions; where an answer does not fit, the canvas is the largest.
        """
        answer = self.text(drawn.answer)[:CANVAS]
        canvas = len(answer) + rng.choice((1, 2, 4, 8))
        draw, size = rng.random(), rng.choice(sizes)
        if draw < wide:
            canvas = size if size > len(answer) else CANVAS
        elif draw < 0.5:
            canvas = -(-canvas // 32) * 32
        return Encoded(self.prompt(drawn.turns), answer, min(canvas, CANVAS))

    @property
    def name_pieces(self) -> tuple[int, ...]:
        """The tokens that works' names are made of."""
        codes = self.backend.encode_batch([f" {name}" for name in pools.NAMES])
        return tuple(sorted({one for code in codes for one in code.ids}))

    @property
    def value_V(self) -> Tensor:
        """Whether a token states a fact's value by itself, bool [V]."""
        return _value_tokens(self.backend)


@cache
def _value_tokens(backend: "Tokenizer") -> Tensor:
    chosen_V = torch.zeros(backend.get_vocab_size(), dtype=torch.bool)
    for word in {word for pool in pools.FACT_POOLS.values() for word in pool}:
        for language in tongues.LANGUAGES:
            said = tongues.word_in(word, language)
            for text in (f" {said}", said):
                ids = backend.encode(text).ids
                if len(ids) == 1:
                    chosen_V[ids[0]] = True
    return chosen_V


def batches(rows: Sequence[Encoded], tokens: int) -> list[list[Encoded]]:
    """Rows of like length together, so many tokens a batch with the padding that it needs."""
    ordered = sorted(rows, key=lambda row: (row.canvas, len(row.prompt)))
    made: list[list[Encoded]] = []
    for row in ordered:
        batch = made[-1] if made else []
        grown = [*batch, row]
        size = (max(one.canvas for one in grown) + max(len(one.prompt) for one in grown)) * len(
            grown
        )
        if made and size <= tokens:
            made[-1].append(row)
        else:
            made.append([row])
    return made


def diffusion_batch(
    rows: Sequence[Encoded], encoder: Encoder, masking: Masking, rng: random.Random
) -> Batch:
    """Masked canvases.

    Args:
        rows: The samples.
        encoder: Of the model.
        masking: What is masked, and what counts.
        rng: Of rates and masks.

    Returns:
        ``input_ids_BT``, ``attention_BT``, ``labels_BT`` (ids where the loss is taken, or
        `IGNORED`) and ``weight_BT`` (weight of each label; a row's sum to about one).
    """
    ids_BT, attention_BT, canvas_B = _rows(rows, encoder)
    whole = round(len(rows) * masking.full)
    rest = len(rows) - whole
    rates = [0.1 + 0.9 * (index + rng.random()) / rest for index in range(rest)] + [1.0] * whole
    rng.shuffle(rates)
    rate_B1 = torch.tensor(rates)[:, None]
    generator = torch.Generator().manual_seed(rng.getrandbits(62))
    masked_BT = torch.rand(ids_BT.shape, generator=generator) < rate_B1
    place_T = torch.arange(ids_BT.shape[1])
    start = ids_BT.shape[1] - int(canvas_B[0])
    masked_BT &= place_T >= start
    end_B1 = torch.tensor([start + len(row.answer) + MARGIN for row in rows])[:, None]
    tail_BT = torch.rand(ids_BT.shape, generator=generator) < masking.ends
    masked_BT &= place_T < _shown_from(rows, start, masking.shown, generator)
    counted_BT = masked_BT & ((place_T < end_B1) | tail_BT)
    size_B1 = (end_B1 - start).clamp(max=int(canvas_B[0]))
    heavier_BT = (masking.value_weight - 1) * encoder.value_V[ids_BT]
    weight_BT = 1 / rate_B1 / size_B1 * (1 + heavier_BT)
    return {
        "input_ids_BT": ids_BT.masked_fill(masked_BT, encoder.mask),
        "attention_BT": attention_BT,
        "labels_BT": ids_BT.masked_fill(~counted_BT, IGNORED),
        "weight_BT": weight_BT,
    }


def _shown_from(
    rows: Sequence[Encoded], start: int, share: float, generator: torch.Generator
) -> Tensor:
    """The place from which each row's canvas is shown, [B, 1]; behind its end where none is."""
    canvas = max(row.canvas for row in rows)
    place_B = (torch.rand(len(rows), generator=generator) * canvas).long()
    answer_B = torch.tensor([len(row.answer) for row in rows])
    is_shown_B = (torch.rand(len(rows), generator=generator) < share) & (place_B >= answer_B)
    return (start + place_B.where(is_shown_B, torch.tensor(canvas)))[:, None]


def causal_batch(rows: Sequence[Encoded], encoder: Encoder, value_weight: float) -> Batch:
    """The same rows for the autoregressive twin: each answer token, and one end, is predicted."""
    ids_BT, attention_BT, canvas_B = _rows(rows, encoder)
    start = ids_BT.shape[1] - int(canvas_B[0])
    place_T = torch.arange(ids_BT.shape[1])
    size_B1 = torch.tensor([len(row.answer) + 1 for row in rows])[:, None]
    counted_BT = (place_T >= start) & (place_T < start + size_B1)
    weight_BT = (1 + (value_weight - 1) * encoder.value_V[ids_BT]) / size_B1
    labels_BT = ids_BT.masked_fill(~counted_BT, IGNORED)
    return {
        "input_ids_BT": ids_BT,
        "attention_BT": attention_BT,
        # The output at a position is about the next one.
        "labels_BT": labels_BT.roll(-1, dims=1),
        "weight_BT": weight_BT.roll(-1, dims=1),
    }


def grouped(
    rows: Sequence[Encoded],
    encoder: Encoder,
    tokens: int,
    masking: Masking,
    causal: bool,
    rng: random.Random,
) -> list[Batch]:
    """A group's rows as batches in random order, see `batches` and `diffusion_batch`.

    Args:
        rows: The group's samples.
        encoder: Of the model.
        tokens: Tokens a batch.
        masking: What is masked, and what counts.
        causal: Whether the batches are the autoregressive twin's: nothing is masked.
        rng: Of order, rates and masks.
    """
    made = batches(rows, tokens)
    rng.shuffle(made)
    if causal:
        return [causal_batch(batch, encoder, masking.value_weight) for batch in made]
    return [diffusion_batch(batch, encoder, masking, rng) for batch in made]


def _rows(rows: Sequence[Encoded], encoder: Encoder) -> tuple[Tensor, Tensor, Tensor]:
    from midspan.models.padding import left_padded

    canvas = max(row.canvas for row in rows)
    ids = [row.prompt + row.answer + [encoder.eos] * (canvas - len(row.answer)) for row in rows]
    ids_BT, attention_BT = left_padded(ids, encoder.eos)
    if attention_BT is None:
        attention_BT = torch.ones_like(ids_BT)
    return ids_BT, attention_BT, torch.full((len(rows),), canvas)
