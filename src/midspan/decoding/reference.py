"""The samplers of LLaDA and Dream in their plainest form: one row, no cache, no early stop.

To be read before the decoder, whose tests hold `decode` against it. LLaDA fills blocks from left
to right, an even number of tokens a step; Dream has one block and commits a share of what is open.
A step runs the model on prompt and canvas, chooses a token for every open position of the block,
and commits those it is surest of. Shapes: R open positions of the block, V vocabulary.
"""

import torch
from torch import Tensor

from midspan.decoding.canvas import Request
from midspan.decoding.config import DreamSampler, LladaSampler
from midspan.decoding.draws import hashed_uniform
from midspan.decoding.schedule import even_commits, linear_commits, rounded_commits
from midspan.models.model import DiffusionLM

Config = LladaSampler | DreamSampler


@torch.inference_mode()
def reference_decode(
    lm: DiffusionLM, request: Request, config: Config
) -> tuple[list[int | None], list[tuple[int, int, int]]]:
    """The canvas, and every commit as (position, token, step).

    The config's caches, thresholds, guidance, filters, `eos_policy` and `alg_temp` are not looked
    at, and Dream's remasking="random", which draws the steps' counts, is not done.
    """
    mask, commits, step = lm.tokens.mask, [], 0
    canvas = [request.anchors.get(position) for position in range(config.length)]
    for start in range(0, config.length, config.block):
        block = range(start, min(start + config.block, config.length))
        for count in counts(sum(canvas[p] is None for p in block), config):
            positions = [p for p in block if canvas[p] is None]
            ids = [*request.prompt_ids, *(mask if token is None else token for token in canvas)]
            logits_RV = lm.logits(torch.tensor([ids]))[0, -config.length :][positions].float()
            logits_RV[:, mask] = -torch.inf
            tokens, scores = candidates(logits_RV, positions, step, request.seed, config)
            surest = scores.argsort(descending=True, stable=True)[:count].sort().values
            for index in surest.tolist():
                canvas[positions[index]] = int(tokens[index])
                commits.append((positions[index], int(tokens[index]), step))
            step += 1
    return canvas, commits


def counts(num_open: int, config: Config) -> list[int]:
    """How many positions each step of a block commits; a step that commits none is left out."""
    if config.schedule == "linear":
        planned = rounded_commits(num_open, config.steps_per_block)
    elif config.sampler == "llada":
        planned = even_commits(num_open, config.steps_per_block)
    else:
        planned = linear_commits(num_open, config.steps, config.eps)
    return [count for count in planned if count]


def candidates(
    logits_RV: Tensor, positions: list[int], step: int, seed: int, config: Config
) -> tuple[Tensor, Tensor]:
    """A token for each position, and how sure the sampler is of it, both [R]."""
    seed_1, position_1R = torch.tensor([seed]), torch.tensor([positions])
    tempered_RV = logits_RV / config.temperature if config.temperature else logits_RV
    tokens = tempered_RV.argmax(-1)
    if config.temperature:
        uniform_1R = hashed_uniform(seed_1, torch.tensor([step]), position_1R)
        mass_RV = tempered_RV.softmax(-1).cumsum(-1)
        tokens = (mass_RV <= uniform_1R.T * mass_RV[:, -1:]).sum(-1)
    # LLaDA is as sure as the model is, Dream as the distribution that tokens are drawn from.
    probs_RV = (logits_RV if config.sampler == "llada" else tempered_RV).softmax(-1)
    if config.remasking == "random":
        return tokens, hashed_uniform(seed_1, torch.tensor([-1]), position_1R)[0]
    if config.remasking == "margin":
        return tokens, -probs_RV.topk(2).values.diff(dim=-1)[:, 0]
    if config.remasking == "entropy":
        return tokens, -torch.special.entr(probs_RV).sum(-1)
    return tokens, probs_RV.gather(1, tokens[:, None])[:, 0]
