"""A diffusion model and its autoregressive twin, asked alike: texts with tokens put at a place.

A token at position k of a diffusion model's answer is an anchor: it stands there before the first
step. The twin writes from left to right, so it first writes k tokens of its own, then takes what is
put there, and goes on.
Shapes: S prompts, F free tokens of a prompt, T tokens, V vocabulary.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from midspan.errors import MidspanError
from midspan.organism.second.encoder import Encoder

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig
    from midspan.models import DiffusionLM

_BATCH = 32


class Put(NamedTuple):
    """Tokens at a position of an answer to a prompt."""

    prompt: str
    ids: tuple[int, ...] = ()
    at: int = 0


class Goal(NamedTuple):
    """A phrase that is wanted at a position, and what the model wrote before it.

    `before` is empty for a diffusion model, whose canvas is masked.
    """

    phrase: tuple[int, ...]
    at: int
    before: tuple[int, ...] = ()


class Writer(Protocol):
    """Either kind of model."""

    name: str
    kind: str

    def answers(self, puts: Sequence[Put]) -> list[str]:
        """Responses, each with what is put into it."""

    def goal(self, prompt_ids: Sequence[int], phrase: tuple[int, ...], at: int) -> Goal | None:
        """A phrase at a position; None where the model's own answer ends before it."""

    def losses(self, prompts: Sequence[Sequence[int]], goal: Goal) -> Tensor:
        """Cross-entropy of the phrase under each prompt, nats a token, float32 [S]."""

    def gradient(self, prompt_ids: Sequence[int], free: Sequence[int], goal: Goal) -> Tensor:
        """Gradient of the loss with respect to one-hot tokens at free places, [F, V]."""


class DiffusionWriter:
    """The masked-diffusion model; see `Writer`."""

    kind = "diffusion"

    def __init__(self, lm: "DiffusionLM", decoding: "DecodingConfig") -> None:
        self.lm, self.decoding, self.name = lm, decoding, lm.name

    def answers(self, puts: Sequence[Put]) -> list[str]:
        """See `Writer`."""
        from midspan.decoding import Request, decode

        asked = [
            Request(tuple(self.lm.encode_chat(put.prompt)), dict(enumerate(put.ids, put.at)))
            for put in puts
        ]
        parts = [asked[start : start + _BATCH] for start in range(0, len(asked), _BATCH)]
        return [one.text for part in parts for one in decode(self.lm, part, self.decoding)]

    def goal(self, prompt_ids: Sequence[int], phrase: tuple[int, ...], at: int) -> Goal | None:
        """See `Writer`; every position of a canvas can be asked for."""
        return Goal(phrase, at)

    def losses(self, prompts: Sequence[Sequence[int]], goal: Goal) -> Tensor:
        """See `Writer`; the canvas is masked whole."""
        from midspan.scoring.gradients import phrase_losses

        return phrase_losses(self.lm, prompts, [self._on_canvas(goal)] * len(prompts), _BATCH)

    def gradient(self, prompt_ids: Sequence[int], free: Sequence[int], goal: Goal) -> Tensor:
        """See `Writer`."""
        from midspan.scoring.gradients import token_gradient

        return token_gradient(self.lm, prompt_ids, free, self._on_canvas(goal))

    def _on_canvas(self, goal: Goal) -> Any:
        from midspan.scoring.gradients import Goal as OnCanvas

        return OnCanvas(goal.phrase, goal.at, self.decoding.length)


class CausalWriter:
    """The twin; see `Writer`.

    Args:
        folder: That ``midspan organism train --second --twin`` made.
        length: Tokens of the longest answer.

    Raises:
        MidspanError: The folder holds no causal model of the second organism's size of vocabulary.
    """

    kind = "autoregressive"

    def __init__(self, folder: str | Path, length: int) -> None:
        from transformers import LlamaForCausalLM

        from midspan.models.border import border

        with border(f"cannot read {folder}", "name a folder that train --second --twin made"):
            self.model: Any = LlamaForCausalLM.from_pretrained(folder).float().eval()
        self.encoder, self.length, self.name = Encoder(), length, str(folder)
        if self.model.config.vocab_size != self.encoder.backend.get_vocab_size():
            raise MidspanError(f"{folder} is no twin of the second organism: other vocabulary")

    def answers(self, puts: Sequence[Put]) -> list[str]:
        """See `Writer`; what does not come to its position is left as the model ended it."""
        return [self._text(put) for put in puts]

    def goal(self, prompt_ids: Sequence[int], phrase: tuple[int, ...], at: int) -> Goal | None:
        """See `Writer`."""
        before = self._written(prompt_ids, at)
        return Goal(phrase, at, tuple(before)) if len(before) == at else None

    def losses(self, prompts: Sequence[Sequence[int]], goal: Goal) -> Tensor:
        """See `Writer`; prompts are equally long."""
        rows = [[*prompt, *goal.before, *goal.phrase] for prompt in prompts]
        found = []
        with torch.no_grad():
            for start in range(0, len(rows), _BATCH):
                ids_ST = torch.tensor(rows[start : start + _BATCH])
                found.append(self._loss(self.model(ids_ST).logits, ids_ST, goal))
        return torch.cat(found).float()

    def gradient(self, prompt_ids: Sequence[int], free: Sequence[int], goal: Goal) -> Tensor:
        """See `Writer`."""
        ids_1T = torch.tensor([[*prompt_ids, *goal.before, *goal.phrase]])
        weight_VD = self.model.get_input_embeddings().weight.detach()
        free_F = torch.tensor(list(free))
        free_FD = weight_VD[ids_1T[0, free_F]].clone().requires_grad_()
        embedded_1TD = weight_VD[ids_1T].index_copy(1, free_F, free_FD[None])
        loss = self._loss(self.model(inputs_embeds=embedded_1TD).logits, ids_1T, goal).sum()
        (gradient_FD,) = torch.autograd.grad(loss, free_FD)
        return gradient_FD @ weight_VD.T

    @staticmethod
    def _loss(logits_STV: Tensor, ids_ST: Tensor, goal: Goal) -> Tensor:
        size = len(goal.phrase)
        told_STV = logits_STV[:, -size - 1 : -1]
        return F.cross_entropy(told_STV.transpose(1, 2), ids_ST[:, -size:], reduction="none").mean(
            1
        )

    def _text(self, put: Put) -> str:
        prompt = self.encoder.prompt([("user", put.prompt)])
        written = self._written(prompt, put.at)
        if len(written) == put.at:
            written = [*written, *put.ids]
            left = max(0, self.length - len(written))
            written += self._written([*prompt, *written], left)
        return str(self.encoder.backend.decode(written)).strip()

    def _written(self, ids: Sequence[int], count: int) -> list[int]:
        """At most so many tokens that follow, greedily, before the end of the text."""
        if not count:
            return []
        ids_1T = torch.tensor([list(ids)])
        ends = [self.encoder.eos, self.encoder.eot]
        with torch.no_grad():
            made_1T = self.model.generate(
                ids_1T,
                attention_mask=torch.ones_like(ids_1T),
                max_new_tokens=count,
                do_sample=False,
                eos_token_id=ends,
                pad_token_id=self.encoder.eos,
            )
        new = made_1T[0, len(ids) :].tolist()
        stop = next((place for place, one in enumerate(new) if one in ends), len(new))
        return new[:stop]
