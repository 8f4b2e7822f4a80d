"""One decoding step: from logits to tokens, and to the positions that are committed.

`step` is a pure function of tensors. The shapes of what it returns follow from the shapes of what
it is given, and no branch of it depends on a tensor's values, but for the nucleus filter's over a
large vocabulary. Rows, blocks and hooks are `batch.py`'s.
Shapes: A rows, R positions of each row's block, N positions of all rows, V vocabulary.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import torch
from torch import Tensor

from midspan.decoding.commit_rules import CommitRule, commit_rule
from midspan.decoding.config import DecodingConfig
from midspan.decoding.draws import gumbel
from midspan.decoding.nucleus import within_nucleus
from midspan.decoding.sampler import Remasking
from midspan.models.family import SpecialTokens

# Positions go through in parts, so that what is computed between logits and tokens, up to ten times
# what it is computed from, stays below the size of all logits.
_PARTS = 16
# Logits of a part, unless all are fewer; smaller parts would be slower. 4 MiB in single precision.
_SMALLEST_PART = 1 << 20


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
        banned: Tokens, in runs, that nothing may commit: the mask, and rows without a token.
        forbidden: Tokens, in runs, that the sampler does not commit: these, and by `eos_policy` the
            end of the text.
        late: Tokens that are committed after every other position of the block.
        rule: Which positions are committed.
    """

    temperature: float
    top_p: float | None
    top_k: int | None
    alg_temp: float
    remasking: Remasking
    ranks_by_model: bool
    banned: tuple[range, ...]
    forbidden: tuple[range, ...]
    late: tuple[int, ...]
    rule: CommitRule

    @classmethod
    def of(
        cls, config: DecodingConfig, tokens: SpecialTokens, unspelled: tuple[range, ...] = ()
    ) -> Self:
        """The settings of a config, for a model's special tokens and rows without a token."""
        stops = tuple(token for token in (tokens.eos, tokens.eot) if token is not None)
        banned = unspelled
        if tokens.mask is not None:
            banned = (range(tokens.mask, tokens.mask + 1), *unspelled)
        forbidden = banned
        if config.eos_policy == "suppress_logits":
            forbidden = (*banned, range(tokens.eos, tokens.eos + 1))
        return cls(
            temperature=config.temperature,
            top_p=config.top_p,
            top_k=config.top_k,
            alg_temp=config.alg_temp,
            remasking=config.remasking,
            ranks_by_model=config.sampler == "llada",
            banned=banned,
            forbidden=forbidden,
            late=stops if config.eos_policy == "suppress_confidence" else (),
            rule=commit_rule(config),
        )

    def greedy(self) -> Self:
        """The same for the likeliest tokens."""
        return replace(self, temperature=0.0, top_p=None, top_k=None)


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
    logits_NV = logits_ARV.flatten(0, 1)
    uniform_N = None if draws.token_AR is None else draws.token_AR.flatten()
    token_AR, probability_AR, score_AR = (
        values.view_as(open_AR) for values in _in_parts(logits_NV, uniform_N, settings)
    )
    if draws.order_AR is not None:
        score_AR = draws.order_AR
    elif draws.position_AR is not None:
        score_AR = score_AR / settings.alg_temp + gumbel(draws.position_AR)
    # Behind what may change scores: division by alg_temp would make this minus infinity, which is
    # what positions have that are not open.
    for token in settings.late:
        score_AR = score_AR.masked_fill(token_AR == token, torch.finfo(score_AR.dtype).min)

    chosen_AR = settings.rule(score_AR, open_AR, commits_A)
    return Candidates(token_AR, probability_AR, score_AR), chosen_AR


def _in_parts(
    logits_NV: Tensor, uniform_N: Tensor | None, settings: StepSettings
) -> tuple[Tensor, ...]:
    """Tokens, their probabilities and their scores, [N] each, of some positions at a time."""
    rows = max(1, max(_SMALLEST_PART, logits_NV.numel() // _PARTS) // logits_NV.shape[1])
    if len(logits_NV) <= rows:
        return _candidates(logits_NV, uniform_N, settings)
    parts = logits_NV.split(rows)
    uniforms = [None] * len(parts) if uniform_N is None else uniform_N.split(rows)
    found = [_candidates(*part, settings) for part in zip(parts, uniforms, strict=True)]
    return tuple(torch.cat(values) for values in zip(*found, strict=True))


def _candidates(
    logits_NV: Tensor, uniform_N: Tensor | None, settings: StepSettings
) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, their probabilities and their scores, [N] each."""
    tempered_NV = logits_NV
    if settings.temperature > 0:
        tempered_NV = logits_NV / settings.temperature
    tempered_NV = filter_logits(tempered_NV, settings.top_p, settings.top_k)
    token_N = (
        tempered_NV.argmax(-1) if uniform_N is None else sample(tempered_NV.softmax(-1), uniform_N)
    )
    ranked_NV = logits_NV if settings.ranks_by_model else tempered_NV
    if settings.late:
        ranked_NV = ranked_NV.clone()
        ranked_NV[..., list(settings.late)] = -torch.inf
    probability_N = probability(ranked_NV, token_N)
    for token in settings.late:
        # Where the filters leave end tokens alone, nothing is left to take a share of.
        probability_N = probability_N.masked_fill(token_N == token, 0.0)
    return token_N, probability_N, score(ranked_NV, probability_N, settings.remasking)


def forbid(logits_ARV: Tensor, tokens: tuple[range, ...]) -> Tensor:
    """Logits under which none of the tokens is ever chosen. In place.

    Runs, since a list of ids would go to the device at every step.
    """
    for run in tokens:
        logits_ARV[..., run.start : run.stop] = -torch.inf
    return logits_ARV


def filter_logits(logits_NV: Tensor, top_p: float | None, top_k: int | None) -> Tensor:
    """Rule out the tokens outside the nucleus `top_p`, then those below the `top_k` likeliest."""
    if top_p is not None and top_p < 1:
        logits_NV = within_nucleus(logits_NV, top_p)
    if top_k is not None and top_k < logits_NV.shape[-1]:
        floor_N1 = logits_NV.topk(top_k, dim=-1).values[..., -1:]
        logits_NV = logits_NV.masked_fill(logits_NV < floor_N1, -torch.inf)
    return logits_NV


def sample(probs_NV: Tensor, uniform_N: Tensor) -> Tensor:
    """Tokens by inverse transform; the distribution of the published Gumbel-max, one draw each."""
    cumulative_NV = probs_NV.cumsum(-1)
    total_N1 = cumulative_NV[..., -1:]
    # Below the total, so that rounding never lands on a token without probability.
    target_N1 = (uniform_N[..., None] * total_N1).minimum(
        torch.nextafter(total_N1, torch.zeros_like(total_N1))
    )
    token_N1 = torch.searchsorted(cumulative_NV, target_N1, right=True)
    # Among numbers that are none the search ends behind the last token.
    return token_N1.clamp(max=probs_NV.shape[-1] - 1)[..., 0]


def probability(logits_NV: Tensor, token_N: Tensor) -> Tensor:
    """Probability of the tokens, [N], without the whole softmax."""
    chosen_N = logits_NV.gather(-1, token_N[..., None])[..., 0]
    return (chosen_N - logits_NV.logsumexp(-1)).exp()


def score(logits_NV: Tensor, probability_N: Tensor, remasking: Remasking) -> Tensor:
    """How much each position deserves to be committed under the remasking rule, [N]."""
    if remasking == "margin":
        best_N2 = logits_NV.softmax(-1).topk(2, dim=-1).values
        return best_N2[..., 0] - best_N2[..., 1]
    if remasking == "entropy":
        return -torch.special.entr(logits_NV.softmax(-1)).sum(-1)
    return probability_N
