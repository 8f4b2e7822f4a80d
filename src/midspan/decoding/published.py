"""The published samplers of LLaDA and Dream to the letter, faults and random draws included.

Only for reproducing published outputs (`compatibility=True`). Known faults kept here:
masks inside the prompt are filled and use up the response's budget; the mask token can be
committed; LLaDA runs steps that commit nothing, and suppresses EOS in the confidence only at
temperature 0; Dream commits the batch's average count in every row, so that rows with fewer masks
have tokens set back to the mask and others keep masks, and samples nothing in steps whose
probabilities half precision rounds too far.

`published_dllm.py` has those of dllm. Sources: generate.py of ML-GSAI/LLaDA (June 2026),
generation_utils.py of DreamLM/Dream.
Shapes: B rows, T prompt and canvas, L canvas, V vocabulary, M masked positions of the batch.
"""

from collections.abc import Iterator
from contextlib import suppress

import torch
from torch import Tensor
from torch.distributions import Categorical

from midspan.decoding.canvas import Canvas
from midspan.decoding.config import DecodingConfig, DreamSampler, LladaSampler
from midspan.decoding.published_dllm import PublishedBd3lm, PublishedMdlm
from midspan.decoding.schedule import even_commits
from midspan.decoding.trace import StepView
from midspan.models.family import SpecialTokens
from midspan.models.model import DiffusionLM


def steps(lm: DiffusionLM, canvas: Canvas, config: DecodingConfig) -> Iterator[StepView]:
    """Fill the canvas in place, yielding a view after every step."""
    if config.sampler == "block":
        confidences = PublishedBd3lm(lm, canvas, config).steps()
    elif config.sampler == "llada" and config.schedule == "linear":
        confidences = PublishedMdlm(lm, canvas, config).steps()
    elif config.sampler == "llada":
        confidences = _llada_steps(lm, canvas, config)
    else:
        confidences = _dream_steps(lm, canvas, config)
    before_BL = canvas.tokens_BL.clone()
    for step, confidence_BT in enumerate(confidences):
        tokens_BL = canvas.tokens_BL
        canvas.open_BL = tokens_BL == lm.tokens.mask
        committed_BL = (tokens_BL != before_BL) & ~canvas.open_BL
        canvas.step_BL[committed_BL] = step
        canvas.confidence_BL[committed_BL] = confidence_BT[:, canvas.width :][committed_BL].float()
        before_BL = tokens_BL.clone()
        yield StepView(step, config.steps, tokens_BL, committed_BL, tuple(canvas.rows.tolist()))


def _llada_steps(lm: DiffusionLM, canvas: Canvas, config: LladaSampler) -> Iterator[Tensor]:
    """LLaDA's loop; yields the confidences [B, T] of each step."""
    ids_BT, mask = canvas.ids_BT, lm.tokens.mask
    given_BT = ids_BT != mask
    for end in range(config.block, config.length + 1, config.block):
        masks = canvas.tokens_BL[:, end - config.block : end] == mask
        counts_BS = [even_commits(n, config.steps_per_block) for n in masks.sum(1).tolist()]
        for step in range(config.steps_per_block):
            logits_BTV = _guided_logits(lm, canvas, given_BT, config.guidance)
            logits_BTV = canvas.check(logits_BTV, ids_BT == mask)
            token_BT, confidence_BT = _llada_choice(logits_BTV, lm.tokens, config)
            confidence_BT[:, canvas.width + end :] = -torch.inf
            confidence_BT[ids_BT != mask] = -torch.inf
            for row, counts in enumerate(counts_BS):
                chosen = confidence_BT[row].topk(counts[step]).indices
                ids_BT[row, chosen] = token_BT[row, chosen]
            yield confidence_BT


def _guided_logits(lm: DiffusionLM, canvas: Canvas, given_BT: Tensor, guidance: float) -> Tensor:
    ids_BT, attention_BT = canvas.ids_BT, canvas.attention_BT
    if not guidance:
        return lm.logits(ids_BT, attention_BT)
    both = torch.cat([ids_BT, ids_BT.masked_fill(given_BT, lm.tokens.mask)])
    attention = None if attention_BT is None else torch.cat([attention_BT, attention_BT])
    given_BTV, blind_BTV = lm.logits(both, attention).chunk(2)
    return blind_BTV + (guidance + 1) * (given_BTV - blind_BTV)


def _llada_choice(
    logits_BTV: Tensor, tokens: SpecialTokens, config: LladaSampler
) -> tuple[Tensor, Tensor]:
    if config.eos_policy == "suppress_logits":
        logits_BTV[..., tokens.eos] = -torch.inf
    noisy_BTV = logits_BTV
    if config.temperature > 0:
        exact_BTV = logits_BTV.double()
        noisy_BTV = exact_BTV.exp() / (-torch.rand_like(exact_BTV).log()) ** config.temperature
    token_BT = noisy_BTV.argmax(-1)
    if config.eos_policy == "suppress_confidence":
        # At temperature 0 both names are one tensor, and EOS leaves the confidence as well.
        noisy_BTV[..., tokens.eos] = -torch.inf
        if tokens.eot is not None:
            logits_BTV[..., tokens.eot] = -torch.inf
    if config.remasking == "random":
        return token_BT, torch.rand(token_BT.shape, device=token_BT.device)
    probs_BTV = logits_BTV.softmax(-1)
    return token_BT, probs_BTV.gather(-1, token_BT[..., None])[..., 0]


def _dream_steps(lm: DiffusionLM, canvas: Canvas, config: DreamSampler) -> Iterator[Tensor]:
    """Dream's loop; yields the confidences [B, T] of each step."""
    ids_BT, mask = canvas.ids_BT, lm.tokens.mask
    times = torch.linspace(1, config.eps, config.steps + 1, device=ids_BT.device)
    for step in range(config.steps):
        is_last = step == config.steps - 1
        open_BT = ids_BT == mask
        logits_MV = canvas.check(lm.logits(ids_BT, canvas.attention_BT), open_BT)[open_BT]
        confidence_BT = torch.full(
            ids_BT.shape, -torch.inf, dtype=logits_MV.dtype, device=ids_BT.device
        )
        share = 1 - times[step + 1] / times[step]
        if config.remasking == "random":
            token_M = torch.full_like(ids_BT[open_BT], mask)
            confidence_M = torch.zeros_like(logits_MV[:, 0])
            chosen_M = torch.rand(token_M.shape, device=ids_BT.device) < (1 if is_last else share)
            confidence_M[chosen_M], token_M[chosen_M] = _dream_choice(logits_MV[chosen_M], config)
            ids_BT[open_BT] = token_M
            confidence_BT[open_BT] = confidence_M
        else:
            confidence_BT[open_BT], token_M = _dream_choice(logits_MV, config)
            average = open_BT.sum() / len(ids_BT)
            count = int(average) if is_last else int(average * share)
            if count > 0:
                proposed_BT = torch.full_like(ids_BT, mask)
                proposed_BT[open_BT] = token_M
                chosen_BK = _dream_positions(confidence_BT, count, config.alg_temp)
                ids_BT.scatter_(1, chosen_BK, proposed_BT.gather(1, chosen_BK))
        yield confidence_BT


def _dream_choice(logits_MV: Tensor, config: DreamSampler) -> tuple[Tensor, Tensor]:
    if config.temperature > 0:
        logits_MV = logits_MV / config.temperature
    lowest = torch.finfo(logits_MV.dtype).min
    if config.top_p is not None and config.top_p < 1:
        sorted_MV, order_MV = logits_MV.sort(descending=True)
        out_MV = sorted_MV.softmax(-1).cumsum(-1) > config.top_p
        out_MV = out_MV.roll(1, -1)
        out_MV[:, 0] = False
        logits_MV = logits_MV.masked_fill(
            torch.zeros_like(out_MV).scatter(-1, order_MV, out_MV), lowest
        )
    if config.top_k is not None:
        kept = min(config.top_k, logits_MV.shape[-1])
        floor_M1 = logits_MV.topk(kept).values[:, -1:]
        logits_MV = logits_MV.masked_fill(logits_MV < floor_M1, lowest)
    probs_MV = logits_MV.softmax(-1)
    confidence_M, token_M = probs_MV.max(-1)
    if config.temperature > 0:
        # Published so: where half precision leaves probabilities that do not sum to one, which
        # Categorical refuses, the whole step takes the likeliest tokens.
        with suppress(ValueError):
            token_M = Categorical(probs=probs_MV).sample()
            confidence_M = probs_MV.gather(-1, token_M[:, None])[:, 0]
    if config.remasking == "margin":
        best_M2 = probs_MV.sort(-1, descending=True).values[:, :2]
        confidence_M = best_M2[:, 0] - best_M2[:, 1]
    elif config.remasking == "entropy":
        confidence_M = (probs_MV * (probs_MV + 1e-10).log()).sum(-1)
    return confidence_M, token_M


def _dream_positions(confidence_BT: Tensor, count: int, alg_temp: float) -> Tensor:
    """The `count` positions that every row commits, [B, count]."""
    if alg_temp == 0:
        return confidence_BT.topk(count).indices
    return torch.multinomial((confidence_BT / alg_temp).softmax(-1), num_samples=count)
