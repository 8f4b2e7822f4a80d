"""How likely a phrase is at a place of the canvas, in nats, and what asking costs.

Four estimates that must not be mixed in one comparison; see `phrase_score`. All of them read the
model's whole distribution, the mask token included, at temperature 1. Where attention is
block-causal, a phrase over a block's border costs a forward a block (`block_states.py`).
Shapes: B rows, N phrase tokens, R rows of logits, T prompt and canvas, V vocabulary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from midspan.errors import MidspanError, not_one_of
from midspan.models.finite import check_read
from midspan.models.model import DiffusionLM
from midspan.scoring.block_states import masks_to_border, reached_states

Mode = Literal["oneshot", "chain", "pll", "mc"]


@dataclass(frozen=True)
class PhraseScore:
    """A log-probability and its cost.

    Attributes:
        value: Log-probability of the whole phrase, in nats.
        forwards: Rows that went through the model.
        start: Canvas position of the phrase's first token.
    """

    value: float
    forwards: int
    start: int


@dataclass(frozen=True)
class ScoreOptions:
    """Which estimate, and what only some estimates need.

    Attributes:
        mode: "oneshot": the whole phrase masked, one forward (MOSA's phrase score).
            "chain": each token given those before it, N forwards; the analogue of an
            autoregressive score. "pll": each token given all others, N forwards; high for fluent
            phrases. "mc": LLaDA's Monte-Carlo estimate of the likelihood bound
            (get_log_likelihood.py), `samples` forwards.
        context: Canvas position to token, revealed in every forward; the rest is masked.
        samples: Draws of the "mc" estimate; LLaDA's default.
        seed: Seed of these draws.
        batch_size: Rows that go through the model together.
    """

    mode: Mode = "oneshot"
    context: Mapping[int, int] = field(default_factory=dict)
    samples: int = 128
    seed: int = 0
    batch_size: int = 32


@torch.inference_mode()
def phrase_score(
    lm: DiffusionLM,
    prompt_ids: Sequence[int],
    phrase_ids: Sequence[int],
    start: int,
    length: int,
    options: ScoreOptions | None = None,
) -> PhraseScore:
    """Log-probability of a phrase at one place.

    Args:
        lm: The model.
        prompt_ids: The prompt.
        phrase_ids: The phrase, N tokens.
        start: Canvas position of its first token.
        length: Length of the canvas.
        options: Estimate, context and Monte-Carlo settings.

    Raises:
        MidspanError: If the phrase is empty, leaves the canvas or meets the context, or the model's
            logits are not finite.
    """
    options = options or ScoreOptions()
    canvas_T = masked_canvas(lm, prompt_ids, phrase_ids, length, options.context)
    check_place(phrase_ids, start, start, length, options.context)
    first = len(prompt_ids) + start
    phrase_N = torch.tensor(list(phrase_ids), device=lm.device)
    asked = hiding_patterns(len(phrase_ids), options)
    hidden_BN, weight_BN, _ = reached_states(lm, len(prompt_ids), start, *asked)
    ids_BT = canvas_T.repeat(len(hidden_BN), 1)
    span = slice(first, first + len(phrase_ids))
    ids_BT[:, span] = torch.where(hidden_BN.to(lm.device), lm.tokens.mask, phrase_N)
    rows_N = torch.arange(first, span.stop, device=lm.device)
    total = 0.0
    for ids, weight in zip(
        ids_BT.split(options.batch_size), weight_BN.split(options.batch_size), strict=True
    ):
        logits_BNV = lm.logits(ids, rows=rows_N, canvas=len(prompt_ids))
        logprobs_BNV = logits_BNV.float().log_softmax(-1)
        index_BN1 = phrase_N.expand(len(ids), -1)[..., None]
        taken_BN = logprobs_BNV.gather(-1, index_BN1)[..., 0].double()
        total += float((taken_BN * weight.to(lm.device)).sum())
    check_read([total])
    return PhraseScore(total, len(ids_BT), start)


def masked_canvas(
    lm: DiffusionLM,
    prompt_ids: Sequence[int],
    phrase_ids: Sequence[int],
    length: int,
    context: Mapping[int, int],
) -> Tensor:
    """Prompt and canvas [T], masked but for the context; refuses what does not fit the model.

    Where attention is block-causal, masks fill the last block.
    """
    mask = lm.tokens.mask
    if mask is None:
        raise MidspanError(f"model: family {lm.family.name} has no mask token to score with")
    if not phrase_ids:
        raise MidspanError("phrase_ids is empty; give at least one token")
    if mask in phrase_ids:
        raise MidspanError("phrase_ids holds the mask token; leave it out")
    if not prompt_ids:
        raise MidspanError("prompt_ids is empty; give at least one token")
    if len(prompt_ids) + length > lm.max_length:
        raise MidspanError(
            f"prompt_ids has {len(prompt_ids)} tokens, and with length={length} exceeds the "
            f"model's {lm.max_length}; shorten the prompt or lower length"
        )
    canvas = [mask] * length
    for position, token in context.items():
        if not 0 <= position < length:
            raise MidspanError(f"context: position {position} is outside the canvas of {length}")
        canvas[position] = token
    canvas += masks_to_border(lm, len(prompt_ids) + length)
    return torch.tensor([*prompt_ids, *canvas], device=lm.device)


def check_place(
    phrase_ids: Sequence[int], low: int, high: int, length: int, context: Mapping[int, int]
) -> None:
    """Refuse starts from `low` to `high` at which the phrase does not fit."""
    end = high + len(phrase_ids)
    if low < 0 or end > length:
        raise MidspanError(
            f"the phrase would cover canvas positions {low}..{end - 1}, outside 0..{length - 1}; "
            "move it or raise length"
        )
    overlap = sorted(context.keys() & set(range(low, end)))
    if overlap:
        raise MidspanError(f"context: position {overlap[0]} lies inside the phrase; leave it out")


def hiding_patterns(num_tokens: int, options: ScoreOptions) -> tuple[Tensor, Tensor]:
    """What each forward hides of the phrase, and the weight of what it says, both [B, N]."""
    if options.mode == "oneshot":
        hidden_BN = torch.ones(1, num_tokens, dtype=torch.bool)
        return hidden_BN, hidden_BN.double()
    eye_NN = torch.eye(num_tokens, dtype=torch.bool)
    if options.mode == "chain":
        return torch.ones_like(eye_NN).triu(), eye_NN.double()
    if options.mode == "pll":
        return eye_NN, eye_NN.double()
    if options.mode != "mc":
        raise not_one_of("options.mode", options.mode, ("oneshot", "chain", "pll", "mc"))
    if options.samples < 1:
        raise MidspanError(f"options.samples={options.samples} must be at least 1")
    generator = torch.Generator().manual_seed(options.seed)
    # Stratified: the numbers of hidden tokens cover 1..N evenly, from a random one on.
    shift = int(torch.randint(num_tokens, (1,), generator=generator))
    strata_B = torch.arange(options.samples) * num_tokens // options.samples
    count_B1 = ((strata_B + shift) % num_tokens + 1)[:, None]
    order_BN = torch.rand(options.samples, num_tokens, generator=generator).argsort(-1)
    hidden_BN = order_BN < count_B1
    return hidden_BN, hidden_BN * num_tokens / (count_B1 * options.samples).double()
