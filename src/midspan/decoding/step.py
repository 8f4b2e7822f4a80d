"""One decoding step: from logits to tokens, and to the positions that are committed.

`step` is a pure function of tensors. The shapes of what it returns follow from the shapes of what
it is given, and no branch of it depends on a tensor's values. Rows, blocks and hooks are
`batch.py`'s.
Shapes: A rows, R positions of each row's block, V vocabulary.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor

from midspan.decoding.config import DecodingConfig
from midspan.decoding.draws import gumbel
from midspan.decoding.rules import CommitRule, commit_rule
from midspan.decoding.sampler import Remasking
from midspan.models.family import SpecialTokens

# Logits whose normaliser is computed at once; 16 MiB in single precision.
_LARGEST_PART = 1 << 22


class Draws(NamedTuple):
    """The random numbers of a step, each [A, R]; None where the sampler draws none.

    Attributes:
        token_AR: In [0, 1): which token is sampled.
        position_AR: In [0, 1): which positions are sampled (Dream's `alg_temp`).
        order_AR: The order drawn for remasking="random", in place of scores.
    """

    token_AR: Tensor | None = None
    position_AR: Tensor | None = None
    order_AR: Tensor | None = None


class Candidates(NamedTuple):
    """A token for every position, its probability, and the score by which positions compete."""

    token_AR: Tensor
    probability_AR: Tensor
    score_AR: Tensor


@dataclass(frozen=True)
class StepSettings:
    """What a step needs to know of a sampler.

    Attributes:
        temperature: See `DecodingConfig`, as all that has a name from there.
        ranks_by_model: Whether positions are ranked by the model's own distribution (LLaDA), or by
            the tempered and filtered one.
        forbidden: Tokens that are never committed.
        late: Tokens that are committed after every other position of the block.
        rule: Which positions are committed.
    """

    temperature: float
    top_p: float | None
    top_k: int | None
    alg_temp: float
    remasking: Remasking
    ranks_by_model: bool
    forbidden: tuple[int, ...]
    late: tuple[int, ...]
    rule: CommitRule

    @classmethod
    def of(cls, config: DecodingConfig, tokens: SpecialTokens) -> Self:
        """The settings of a config, for a model's special tokens."""
        stops = tuple(token for token in (tokens.eos, tokens.eot) if token is not None)
        forbidden = (tokens.mask,) if tokens.mask is not None else ()
        if config.eos_policy == "suppress_logits":
            forbidden = (*forbidden, tokens.eos)
        return cls(
            temperature=config.temperature,
            top_p=config.top_p,
            top_k=config.top_k,
            alg_temp=config.alg_temp,
            remasking=config.remasking,
            ranks_by_model=config.sampler == "llada",
            forbidden=forbidden,
            late=stops if config.eos_policy == "suppress_confidence" else (),
            rule=commit_rule(config),
        )


def step(
    logits_ARV: Tensor, open_AR: Tensor, commits_A: Tensor, draws: Draws, settings: StepSettings
) -> tuple[Candidates, Tensor]:
    """Choose a token for every position, and the open positions to commit.

    Args:
        logits_ARV: Logits after `forbid`, single precision.
        open_AR: True where nothing is committed yet.
        commits_A: How many positions the schedule commits.
        draws: Random numbers.
        settings: Of the sampler.

    Returns:
        The candidates, and True where they are committed, [A, R].
    """
    tempered_ARV = logits_ARV
    if settings.temperature > 0:
        tempered_ARV = logits_ARV / settings.temperature
    tempered_ARV = filter_logits(tempered_ARV, settings.top_p, settings.top_k)
    if draws.token_AR is None:
        token_AR = tempered_ARV.argmax(-1)
    else:
        token_AR = sample(tempered_ARV.softmax(-1), draws.token_AR)

    ranked_ARV = logits_ARV if settings.ranks_by_model else tempered_ARV
    if settings.late:
        ranked_ARV = ranked_ARV.clone()
        ranked_ARV[..., list(settings.late)] = -torch.inf
    probability_AR = probability(ranked_ARV, token_AR)
    score_AR = score(ranked_ARV, probability_AR, settings.remasking)
    for token in settings.late:
        score_AR = score_AR.masked_fill(token_AR == token, torch.finfo(score_AR.dtype).min)
    if draws.order_AR is not None:
        score_AR = draws.order_AR
    elif draws.position_AR is not None:
        score_AR = score_AR / settings.alg_temp + gumbel(draws.position_AR)

    chosen_AR = settings.rule(score_AR, open_AR, commits_A)
    return Candidates(token_AR, probability_AR, score_AR), chosen_AR


def forbid(logits_ARV: Tensor, tokens: tuple[int, ...]) -> Tensor:
    """Logits under which none of the tokens is ever chosen. In place."""
    for token in tokens:
        logits_ARV[..., token] = -torch.inf
    return logits_ARV


def filter_logits(logits_ARV: Tensor, top_p: float | None, top_k: int | None) -> Tensor:
    """Rule out the tokens outside the nucleus `top_p`, then those below the `top_k` likeliest."""
    if top_p is not None and top_p < 1:
        sorted_ARV, order_ARV = logits_ARV.sort(dim=-1, descending=True)
        probs_ARV = sorted_ARV.softmax(-1)
        # A token stays while those before it do not fill the nucleus; the first always stays.
        out_ARV = probs_ARV.cumsum(-1) - probs_ARV > top_p
        out_ARV = torch.zeros_like(out_ARV).scatter(-1, order_ARV, out_ARV)
        logits_ARV = logits_ARV.masked_fill(out_ARV, -torch.inf)
    if top_k is not None and top_k < logits_ARV.shape[-1]:
        floor_AR1 = logits_ARV.topk(top_k, dim=-1).values[..., -1:]
        logits_ARV = logits_ARV.masked_fill(logits_ARV < floor_AR1, -torch.inf)
    return logits_ARV


def sample(probs_ARV: Tensor, uniform_AR: Tensor) -> Tensor:
    """Tokens by inverse transform; the distribution of the published Gumbel-max, one draw each."""
    cumulative_ARV = probs_ARV.cumsum(-1)
    total_AR1 = cumulative_ARV[..., -1:]
    # Below the total, so that rounding never lands on a token without probability.
    target_AR1 = (uniform_AR[..., None] * total_AR1).minimum(
        torch.nextafter(total_AR1, torch.zeros_like(total_AR1))
    )
    return torch.searchsorted(cumulative_ARV, target_AR1, right=True)[..., 0]


def probability(logits_ARV: Tensor, token_AR: Tensor) -> Tensor:
    """Probability of the tokens, [A, R], without the whole softmax."""
    chosen_AR = logits_ARV.gather(-1, token_AR[..., None])[..., 0]
    # In parts, since logsumexp takes as much memory again as what it is given.
    rows = max(1, _LARGEST_PART // logits_ARV.shape[-1])
    parts = [part.logsumexp(-1) for part in logits_ARV.flatten(0, 1).split(rows)]
    return (chosen_AR - torch.cat(parts).view_as(chosen_AR)).exp()


def score(logits_ARV: Tensor, probability_AR: Tensor, remasking: Remasking) -> Tensor:
    """How much each position deserves to be committed under the remasking rule, [A, R]."""
    if remasking == "margin":
        best_AR2 = logits_ARV.softmax(-1).topk(2, dim=-1).values
        return best_AR2[..., 0] - best_AR2[..., 1]
    if remasking == "entropy":
        return -torch.special.entr(logits_ARV.softmax(-1)).sum(-1)
    return probability_AR
