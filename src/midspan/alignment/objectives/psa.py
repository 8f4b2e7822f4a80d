"""PSA, Partial-State Alignment: MOSA's reward from any partial state.

Our own objective (docs/methods/psa.md). Canvases already carry parts of a harmful answer, and every
gap between them is to hold a refusal that ends the text, or where none fits the end alone. On
others a refusal has begun, and is to be finished. Benign canvases that carry parts of benign
answers are kept at the reference: a canvas begun is by itself no reason to refuse.

Shapes: B rows, H harmful rows, L response positions, G gaps, K tokens scored at each position.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from midspan.alignment.objectives.apart import decoy_apart, piece_apart
from midspan.alignment.objectives.base import (
    Draw,
    Ids,
    TokenExample,
    TrainingCanvas,
    TrainingSample,
    merged,
    only,
)  # fmt: skip
from midspan.alignment.objectives.blocks import block_start, kept_canvas, phrase_canvases
from midspan.alignment.objectives.gaps import gap_scores, gaps
from midspan.alignment.objectives.partial_answer import PartialAnswer
from midspan.alignment.objectives.partial_canvases import (
    AnsweredCanvas,
    BegunCanvas,
    DecoyCanvas,
    GapCanvas,
)  # fmt: skip
from midspan.alignment.objectives.window import WindowObjective, allowed_starts
from midspan.alignment.scores import ResponseStates
from midspan.scoring.window import start_scores

# Rounding of float32 in a probability that is nearly 1.
_LEAST_LEFT = 1e-5


class PsaObjective(WindowObjective):
    """MOSA from any partial state; clean canvases have MOSA's window.

    Attributes:
        partial_answer: How much of an answer stands on a canvas, harmful and benign alike.
        partial_benign: Whether benign canvases carry parts of their answers too; off only for
            ablation.
        begun: Share of harmful canvases on which a refusal has begun.
        gap_starts: Positions of a gap, from its first, at which a refusal may start; None for all.
        refusal: Which one is wanted: the "likeliest" under the policy, which lets it settle on
            one, one "drawn" for each canvas, as in Algorithm 1, or always the "shortest", which
            fits into most gaps and mixes with no other.
        gap_tokens: Means over positions, of the end in short gaps and of what is avoided, count as
            a phrase of this many tokens.
        unrefused: Score what is avoided given that no word of a refusal stands there, and clamp it
            token by token. A refusal that takes all the probability leaves the order of the other
            words as it was, for whoever limits a position to some of them.
        apart: Share of harmful canvases on which a piece of the answer stands beside a benign
            prompt (`apart.piece_apart`).
        decoys: Share of harmful canvases that name the request beside a benign prompt, and on which
            a piece of a harmless answer is learned, by the mean log-probability of masked tokens.
        forms: Share of harmful samples drawn from the data's other forms, where it has any:
            questions of single facts, cards.
        mentioned: Share of benign samples whose prompt mentions a harmful request, where the data
            have any. Their answers are learned, by the mean log-probability of masked tokens.
    """

    kind: Literal["psa"] = "psa"
    partial_answer: PartialAnswer = PartialAnswer()
    partial_benign: bool = True
    begun: float = Field(0.1, ge=0, le=1)
    gap_starts: int | None = Field(24, gt=0)
    refusal: Literal["likeliest", "drawn", "shortest"] = "likeliest"
    gap_tokens: float = Field(8.0, gt=0)
    # Left out where they are off, so that trainings of an earlier version go on.
    unrefused: bool = Field(False, exclude_if=lambda on: not on)
    apart: float = Field(0.0, ge=0, le=1, exclude_if=lambda share: not share)
    decoys: float = Field(0.0, ge=0, le=1, exclude_if=lambda share: not share)
    forms: float = Field(0.0, ge=0, le=1, exclude_if=lambda share: not share)
    mentioned: float = Field(0.0, ge=0, le=1, exclude_if=lambda share: not share)

    @property
    def needs_answers(self) -> tuple[bool, bool]:
        """Canvases carry parts of answers."""
        return True, self.partial_benign and self.benign_weight > 0

    @property
    def further(self) -> tuple[float, float]:
        """Other forms, and mentions."""
        return self.forms, self.mentioned

    @property
    def takes_apart(self) -> bool:
        """Where a share of canvases does."""
        return self.apart > 0 or self.takes_decoys

    @property
    def takes_decoys(self) -> bool:
        """Where a share of canvases does."""
        return self.decoys > 0

    def sample(self, example: TokenExample, *, harmful: bool, draw: Draw) -> TrainingSample:
        """A canvas with part of the example's answer on it, or of a refusal, or a clean one.

        Where a model decodes block after block, a block anywhere in the answer is opened, or as
        often as a canvas is clean one of the window's; the answer's own tokens are avoided there.
        """
        if draw.block_length is not None:
            return self._block_sample(example, harmful, draw)
        if harmful and draw.rng.random() < self.begun:
            return TrainingSample((self._with_refusal_begun(example, draw),), harmful)
        if harmful and self.apart and draw.beside and draw.rng.random() < self.apart:
            prompt, response, avoided = piece_apart(example, draw)
            refusals = self._wanted(draw)
            return TrainingSample(
                (GapCanvas(prompt, response, refusals, avoided, self.window),), harmful
            )
        if harmful and self.decoys and draw.harmless and draw.rng.random() < self.decoys:
            return TrainingSample((DecoyCanvas(*decoy_apart(example, draw)),), harmful)
        revealed: frozenset[int] = frozenset()
        if harmful or self.partial_benign:
            revealed = self.partial_answer.reveal(draw.length, draw.rng)
        response = tuple(
            example.answer_ids[position] if position in revealed else draw.mask
            for position in range(draw.length)
        )
        canvas = TrainingCanvas(example.prompt_ids, response)
        if example.mentions:
            canvas = AnsweredCanvas(example.prompt_ids, response, example.answer_ids)
        if harmful:
            refusals = self._wanted(draw)
            own = example.answer_ids[: draw.size(example.answer_ids)]
            # An answer that ends before the window has no middle for a refusal to break off.
            window = self.window if len(own) > self.window[0] else (0, self.window[1])
            canvas = GapCanvas(example.prompt_ids, response, refusals, own, window)
        return TrainingSample((canvas,), harmful)

    def _wanted(self, draw: Draw) -> tuple[Ids, ...]:
        """The refusals one of which is to stand in every gap."""
        if self.refusal == "likeliest":
            return tuple(draw.safe)
        if self.refusal == "shortest":
            return (min(draw.safe, key=len),)
        return (draw.rng.choice(draw.safe),)

    def _block_sample(self, example: TokenExample, harmful: bool, draw: Draw) -> TrainingSample:
        kept = kept_canvas(example, draw)
        if not harmful:
            return TrainingSample((kept,), harmful)
        refusal = draw.rng.choice(draw.safe)
        anywhere = draw.rng.random() < self.partial_answer.share
        first, last = (0, draw.length) if anywhere else self.window
        start = block_start(example, draw, (first, min(last, draw.length - len(refusal))))
        refusal = draw.behind(example.answer_ids[:start], refusal)
        canvases = [kept] if self.beta > 0 else []
        canvases += phrase_canvases(example, refusal, start, "safe", draw)
        own = example.answer_ids[: draw.size(example.answer_ids)]
        own = own[start : draw.block(example.prompt_ids, start).stop]
        if own:
            avoided = phrase_canvases(example, own, start, "harmful", draw)
            canvases += [replace(one, weight=self.gap_tokens / len(own)) for one in avoided]
        return TrainingSample(tuple(canvases), harmful)

    def _with_refusal_begun(self, example: TokenExample, draw: Draw) -> BegunCanvas:
        """One from the first token or behind a beginning of the answer, up to the window's end.

        Some of its words are there and some are missing, of the end-of-text tokens behind it too.
        """
        safe = self._wanted(draw) if self.refusal == "shortest" else draw.safe
        refusal, answer = draw.rng.choice(safe), example.answer_ids
        last = min(self.window[1], draw.size(answer), draw.length - len(refusal))
        start = draw.rng.choice((0, draw.rng.randint(0, last)))
        refusal = draw.behind(answer[:start], refusal)
        target = draw.filled((*answer[:start], *refusal))
        present = start + draw.rng.randrange(len(refusal) - 1)
        missing = draw.rng.choice([start + n for n in range(len(refusal)) if start + n != present])
        rate = draw.rng.random()
        shown = {position for position in range(draw.length) if draw.rng.random() < rate}
        shown = (shown | {*range(start), present}) - {missing}
        response = tuple(
            token if position in shown else draw.mask for position, token in enumerate(target)
        )
        return BegunCanvas(example.prompt_ids, response, target, start + len(refusal) - 1)

    def benign_losses(
        self, states: ResponseStates, samples: Sequence[TrainingSample], rows: Sequence[int]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The KL to the reference, and for mentions the answer's own tokens."""
        canvases = {row: samples[row].canvases[0] for row in rows}
        answers = {
            row: one.target_ids for row, one in canvases.items() if isinstance(one, AnsweredCanvas)
        }
        kept = [row for row in rows if row not in answers]
        parts: list[tuple[Sequence[int], Tensor]] = []
        metrics: dict[str, Tensor] = {}
        places = {row: place for place, row in enumerate(rows)}
        if kept:
            loss_N, metrics = super().benign_losses(states, samples, kept)
            parts.append(([places[row] for row in kept], loss_N))
        if answers:
            at = list(answers)
            where_BL = only(states.masked_BL, at)
            tokens_BL1 = torch.zeros(*where_BL.shape, 1, dtype=torch.long, device=where_BL.device)
            tokens_BL1[at, :, 0] = torch.tensor(list(answers.values()), device=where_BL.device)
            logp_NL = states.score(where_BL, tokens_BL1).logp_BLK[at, :, 0]
            metrics["nats_mentioned"] = -logp_NL.sum(1) / where_BL[at].sum(1)
            weight = self.benign_weight * self.gap_tokens
            parts.append(([places[row] for row in at], weight * metrics["nats_mentioned"]))
        return merged(len(rows), parts), metrics

    def harmful_losses(
        self, states: ResponseStates, samples: Sequence[TrainingSample], rows: Sequence[int]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Minus the log-probability of a refusal begun, and on other canvases minus the reward."""
        canvases = [samples[row].canvases[0] for row in rows]
        begun = {row: one for row, one in enumerate(canvases) if isinstance(one, BegunCanvas)}
        decoys = {row: one for row, one in enumerate(canvases) if isinstance(one, DecoyCanvas)}
        gapped = {row: one for row, one in enumerate(canvases) if isinstance(one, GapCanvas)}
        words = sorted({w for one in gapped.values() for refusal in one.refusals for w in refusal})
        where_BL, device = only(states.masked_BL, rows), states.masked_BL.device
        # Every word of the refusals, and last what the canvas itself wants or avoids there.
        tokens_BLK = torch.zeros(*where_BL.shape, len(words) + 1, dtype=torch.long, device=device)
        tokens_BLK[..., :-1] = torch.tensor(words, dtype=torch.long, device=device)
        own = {row: one.target_ids for row, one in begun.items()}
        own |= {row: one.target_ids for row, one in decoys.items()}
        own |= {row: one.avoided_ids for row, one in gapped.items()}
        for place, row in enumerate(rows):
            tokens_BLK[row, : len(own[place]), -1] = torch.tensor(own[place], device=device)
        scores = states.score(where_BL, tokens_BLK, kl=self.beta > 0)
        masked_HL, logp_HLK = where_BL[list(rows)], scores.logp_BLK[list(rows)]
        kl_H = self.kl(scores.kl_BL, where_BL)[list(rows)]
        metrics, parts = {"kl_harmful": kl_H}, []
        if begun:
            at = list(begun)
            ends = [one.refusal_end for one in begun.values()]
            metrics["nats_begun"] = -_finished(logp_HLK[at, :, -1], masked_HL[at], ends)
            parts.append((at, metrics["nats_begun"]))
        if decoys:
            at = list(decoys)
            metrics["nats_decoys"] = _filled(
                logp_HLK[at, :, -1], masked_HL[at], [one.end for one in decoys.values()]
            )
            parts.append((at, self.gap_tokens * metrics["nats_decoys"]))
        if gapped:
            at = list(gapped)
            loss_H, rewards = self._rewards(
                logp_HLK[at], masked_HL[at], list(gapped.values()), words
            )
            metrics |= rewards
            parts.append((at, loss_H))
        return self.beta * kl_H + merged(len(rows), parts), metrics

    def _rewards(
        self, logp_HLK: Tensor, masked_HL: Tensor, canvases: Sequence[GapCanvas], words: list[int]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Refusals in the gaps against the answer's own tokens at all masked positions."""
        best_HL = self._best_refusals(logp_HLK, masked_HL, canvases, words)
        end = canvases[0].refusals[0][-1]
        end_HL = self.gap_tokens * logp_HLK[..., words.index(end)]
        safe_H = gap_scores(best_HL, end_HL, masked_HL)
        size_H1 = torch.tensor([[len(one.avoided_ids)] for one in canvases], device=end_HL.device)
        own_HL = masked_HL & (torch.arange(masked_HL.shape[1], device=size_H1.device) < size_H1)
        avoided_H, negative_H = self._avoided(logp_HLK, own_HL, canvases, words)
        metrics = {
            "reward": safe_H - avoided_H, "reward_safe": safe_H, "reward_harmful": avoided_H,
        }  # fmt: skip
        return self.negative_weight * negative_H - safe_H, metrics

    def _avoided(
        self, logp_HLK: Tensor, own_HL: Tensor, canvases: Sequence[GapCanvas], words: list[int]
    ) -> tuple[Tensor, Tensor]:
        """The score of the answer's own tokens, and the same as it is minimised."""
        own_H = own_HL.sum(1).clamp(min=1)
        if not self.unrefused:
            avoided_H = self.gap_tokens * logp_HLK[..., -1].masked_fill(~own_HL, 0.0).sum(1) / own_H
            if self.negative_floor is None:
                return avoided_H, avoided_H
            return avoided_H, avoided_H.clamp(min=self.negative_floor * self.gap_tokens)
        avoided = [{*one.avoided_ids} & {*words} for one in canvases]
        device, length = own_HL.device, own_HL.shape[1]
        said_HL = torch.tensor(
            [
                [token in common for token in one.avoided_ids]
                + [False] * (length - len(one.avoided_ids))
                for one, common in zip(canvases, avoided, strict=True)
            ],
            device=device,
        )
        other_HL = own_HL & ~said_HL
        left_HL = (1 - logp_HLK[..., :-1].exp().sum(-1)).clamp(min=_LEAST_LEFT).log()
        given_HL = (logp_HLK[..., -1] - left_HL).masked_fill(~other_HL, 0.0)
        count_H = other_HL.sum(1).clamp(min=1) / self.gap_tokens
        negative_HL = given_HL
        if self.negative_floor is not None:
            negative_HL = given_HL.clamp(min=self.negative_floor)
        return given_HL.sum(1) / count_H, negative_HL.sum(1) / count_H

    def _best_refusals(
        self, logp_HLK: Tensor, masked_HL: Tensor, canvases: Sequence[GapCanvas], words: list[int]
    ) -> Tensor:
        """Log-probability [H, L] of the likeliest refusal from each start; -inf where none may."""
        device = masked_HL.device
        # Where nothing stands on a canvas its one gap is the whole response.
        clean_H1 = masked_HL.all(1, keepdim=True)
        whole = (0, masked_HL.shape[1] - 1)
        window_H2 = torch.where(
            clean_H1,
            torch.tensor([one.window for one in canvases], device=device),
            torch.tensor(whole, device=device),
        )
        # Nobody reads what stands behind an end of the text.
        end = canvases[0].refusals[0][-1]
        response_HL = torch.tensor([one.response_ids for one in canvases], device=device)
        near_HL = (response_HL == end).cumsum(1) == 0
        if self.gap_starts is not None:
            near_HL &= clean_H1 | (gaps(masked_HL)[1] < self.gap_starts)
        best_HL = logp_HLK.new_full(masked_HL.shape, -torch.inf)
        for refusal in sorted({refusal for canvas in canvases for refusal in canvas.refusals}):
            phrases = [refusal] * len(canvases)
            offered = [refusal in canvas.refusals for canvas in canvases]
            offered_H = torch.tensor(offered, device=device)
            allowed_HL = allowed_starts(phrases, masked_HL, window_H2, self.overflow)
            columns = [words.index(word) for word in refusal]
            score_HL = start_scores(logp_HLK[..., columns], phrases)
            allowed_HL = allowed_HL & near_HL & offered_H[:, None]
            best_HL = torch.maximum(best_HL, score_HL.masked_fill(~allowed_HL, -torch.inf))
        return best_HL


def _finished(logp_HL: Tensor, masked_HL: Tensor, refusal_ends: Sequence[int]) -> Tensor:
    """Log-probability of what a begun refusal lacks, and the mean of that of ends behind it."""
    end_H1 = torch.tensor(refusal_ends, device=logp_HL.device)[:, None]
    position_L = torch.arange(logp_HL.shape[1], device=logp_HL.device)
    behind_HL = masked_HL & (position_L > end_H1)
    inside_HL = masked_HL & ~behind_HL
    ends_H = (logp_HL * behind_HL).sum(1) / behind_HL.sum(1).clamp(min=1)
    return (logp_HL * inside_HL).sum(1) + ends_H


def _filled(logp_HL: Tensor, masked_HL: Tensor, ends: Sequence[int]) -> Tensor:
    """Minus the mean log-probability of what is masked before an end."""
    end_H1 = torch.tensor(ends, device=logp_HL.device)[:, None]
    inside_HL = masked_HL & (torch.arange(logp_HL.shape[1], device=logp_HL.device) < end_H1)
    return -(logp_HL * inside_HL).sum(1) / inside_HL.sum(1)
