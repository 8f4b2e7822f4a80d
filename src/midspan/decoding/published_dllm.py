"""dllm's samplers to the letter, for masked models (MDLM) and for block diffusion (BD3LM).

Only for reproducing published outputs (`compatibility=True`). Known faults kept here: the mask
token can be committed, which uses up the block's budget and leaves the place to later blocks; masks
inside the prompt compete with the first block's. BD3LM takes every token equal to the padding one
for padding, written ends too where both are one token, and stops once each row has an end in a
finished block.

Source: samplers of ZHZisZZ/dllm (ca176752). Prompts lie left padded here, and MDLM's at the row's
start there: with torch's global draws, results are the same for prompts of one length. Each rule is
a method, so that a rule which dllm has and midspan's configs have not can be put in its place.
Shapes: B rows, T prompt and canvas, V vocabulary, Q columns of a block.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from midspan.decoding.canvas import Canvas
from midspan.decoding.config import BlockSampler, LladaSampler
from midspan.decoding.schedule import rounded_commits
from midspan.models.model import DiffusionLM


class PublishedMdlm:
    """The sampler of masked models.

    Args:
        lm: The model.
        canvas: Filled in place.
        config: With `schedule="linear"`.
    """

    def __init__(
        self, lm: DiffusionLM, canvas: Canvas, config: LladaSampler | BlockSampler
    ) -> None:
        self.lm, self.canvas, self.config = lm, canvas, config

    def blanked(self) -> Tensor:
        """True where guidance masks, [B, T]: what is given."""
        return self.canvas.ids_BT != self.lm.tokens.mask

    def counts(self, masks: int) -> list[int]:
        """How many places each step of a block with so many masks commits."""
        return [count for count in rounded_commits(masks, self.config.steps_per_block) if count]

    def suppressed(self) -> list[int]:
        """Tokens that are never chosen."""
        return [self.lm.tokens.eos] if self.config.eos_policy == "suppress_logits" else []

    def unsure(self) -> list[int]:
        """Tokens that are chosen, but without any confidence."""
        is_asked = self.config.eos_policy == "suppress_confidence"
        return sorted(self.lm.tokens.stop) if is_asked else []

    def steps(self) -> Iterator[Tensor]:
        """Fill the canvas; yields the confidences [B, T] of each step."""
        canvas, config, mask = self.canvas, self.config, self.lm.tokens.mask
        ids_BT, blanked_BT = canvas.ids_BT, self.blanked()
        pads_B = [0] * len(ids_BT)
        if canvas.attention_BT is not None:
            pads_B = (1 - canvas.attention_BT).sum(1).tolist()
        for start in range(0, config.length, config.block):
            masks_BQ = canvas.tokens_BL[:, start : start + config.block] == mask
            counts_BS = [self.counts(masks) for masks in masks_BQ.sum(1).tolist()]
            for step in range(max(map(len, counts_BS))):
                logits_BTV = self.logits(ids_BT, canvas.attention_BT, blanked_BT)
                token_BT, confidence_BT = self.choice(canvas.check(logits_BTV, ids_BT == mask))
                confidence_BT[:, canvas.width + start + config.block :] = -torch.inf
                confidence_BT[ids_BT != mask] = -torch.inf
                for row, (counts, pads) in enumerate(zip(counts_BS, pads_B, strict=True)):
                    # Rows begin in the first column there, and topk's choice among equals depends
                    # on the column.
                    own_T = confidence_BT[row].roll(-pads)
                    chosen = (surest(own_T, counts, step) + pads) % len(own_T)
                    ids_BT[row, chosen] = token_BT[row, chosen]
                yield confidence_BT

    def logits(
        self, ids_BT: Tensor, attention_BT: Tensor | None, blanked_BT: Tensor, first: int = 0
    ) -> Tensor:
        """Logits from column `first` on, guided where the config says so."""
        if not self.config.guidance:
            return self._plain(ids_BT, attention_BT, first)
        both = torch.cat([ids_BT, ids_BT.masked_fill(blanked_BT, self.lm.tokens.mask)])
        attention = None if attention_BT is None else torch.cat([attention_BT, attention_BT])
        given_BQV, blind_BQV = self._plain(both, attention, first).chunk(2)
        return blind_BQV + (self.config.guidance + 1) * (given_BQV - blind_BQV)

    def _plain(self, ids_BT: Tensor, attention_BT: Tensor | None, first: int) -> Tensor:
        rows_Q = torch.arange(first, ids_BT.shape[1], device=ids_BT.device)
        return self.lm.logits(ids_BT, attention_BT, rows_Q, canvas=self.canvas.width)

    def choice(self, logits_BQV: Tensor) -> tuple[Tensor, Tensor]:
        """A token for every place and its confidence, both [B, Q]."""
        logits_BQV[..., self.suppressed()] = -torch.inf
        noisy_BQV = logits_BQV
        if self.config.temperature > 0:
            exact_BQV = logits_BQV.double()
            noise_BQV = -torch.rand_like(exact_BQV).log()
            noisy_BQV = exact_BQV.exp() / noise_BQV**self.config.temperature
        token_BQ = noisy_BQV.argmax(-1)
        logits_BQV[..., self.unsure()] = -torch.inf
        if self.config.remasking == "random":
            return token_BQ, torch.rand(token_BQ.shape, device=token_BQ.device)
        probs_BQV = logits_BQV.softmax(-1)
        return token_BQ, probs_BQV.gather(-1, token_BQ[..., None])[..., 0]


class PublishedBd3lm(PublishedMdlm):
    """The sampler of block diffusion; it computes anew what dllm holds in a cache."""

    def steps(self) -> Iterator[Tensor]:
        """Fill the canvas; yields the confidences [B, T] of each step."""
        canvas, config, tokens = self.canvas, self.config, self.lm.tokens
        whole_BT, width = canvas.ids_BT, canvas.width
        blanked_BT = self.blanked() & (whole_BT != tokens.pad)
        for start in range(0, config.length, config.block):
            first, last = width + start, min(width + start + config.block, whole_BT.shape[1])
            # A view: what is written here stands in the canvas.
            ids_BT = whole_BT[:, :last]
            real_BT = (ids_BT != tokens.pad).long()
            counts_BS = [self.counts(last - first) for _ in ids_BT]
            for step in range(max(map(len, counts_BS))):
                masked_BQ = ids_BT[:, first:] == tokens.mask
                if not masked_BQ.any():
                    break
                logits_BQV = self.logits(ids_BT, real_BT, blanked_BT[:, :last], first)
                token_BQ, confidence_BQ = self.choice(canvas.check(logits_BQV, masked_BQ))
                confidence_BQ = confidence_BQ.masked_fill(~masked_BQ, -torch.inf)
                for row, counts in enumerate(counts_BS):
                    chosen = surest(confidence_BQ[row], counts, step)
                    ids_BT[row, first + chosen] = token_BQ[row, chosen]
                confidence_BT = torch.full_like(whole_BT, -torch.inf, dtype=confidence_BQ.dtype)
                confidence_BT[:, first:last] = confidence_BQ
                yield confidence_BT
            if (whole_BT[:, width:last] == tokens.eos).any(1).all():
                return


def surest(confidence_X: Tensor, counts: list[int], step: int) -> Tensor:
    """A row's surest places, as many as its step commits and as are open."""
    count = counts[step] if step < len(counts) else 0
    num_open = int((confidence_X > -torch.inf).sum())
    return confidence_X.topk(min(count, num_open)).indices
