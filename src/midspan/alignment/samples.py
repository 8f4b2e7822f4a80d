"""From prompts and phrases to the exact sequence of training samples. No model runs here."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from midspan.alignment.config import AlignmentConfig
from midspan.alignment.objective import PhrasePair
from midspan.data import PhraseSets
from midspan.errors import MidspanError

if TYPE_CHECKING:
    from midspan.models import DiffusionLM


@dataclass(frozen=True)
class AlignmentData:
    """What alignment learns from, as text.

    Attributes:
        harmful: Requests that must be refused.
        benign: Requests whose answers must not change; empty for the paper's recipe.
        phrases: Refusals to place and continuations to avoid.
    """

    harmful: tuple[str, ...]
    benign: tuple[str, ...]
    phrases: PhraseSets


@dataclass(frozen=True)
class AlignmentSample:
    """One row of a batch: a chat prompt and, for a harmful one, its drawn phrases."""

    prompt_ids: tuple[int, ...]
    pair: PhrasePair | None


def draw_samples(
    lm: "DiffusionLM", data: AlignmentData, config: AlignmentConfig
) -> list[AlignmentSample]:
    """Every sample of the run in order; a function of data and seed alone.

    Each batch holds its benign rows last. Prompts are shuffled epoch by epoch; Algorithm 1's
    draw of one safe and one harmful phrase is made anew for every sample.

    Raises:
        MidspanError: Empty data, a prompt too long for the model, a phrase that does not fit.
    """
    if lm.tokens.mask is None:
        raise MidspanError(
            f"model: family {lm.family.name} cannot be aligned: it has no mask token (its noise is "
            "random tokens), and the objectives are rewards of tokens placed into masked positions"
        )
    rng = random.Random(config.seed)
    if not data.harmful:
        raise MidspanError("prompts: no harmful prompt to align on")
    if config.benign_share and not data.benign:
        raise MidspanError(
            f"benign prompts: {config.name} mixes {config.benign_share:.0%} of them into each "
            "batch; give --benign, or choose the preset mosa_paper"
        )
    safe = _tokenised(lm, data.phrases.safe, config, ends=True)
    harmful = _tokenised(lm, data.phrases.procedural, config, ends=False)
    num_benign = config.num_benign
    num_harmful = config.batch_size - num_benign
    harmful_ids = _Deck(_prompts(lm, data.harmful, config), rng)
    benign_ids = _Deck(_prompts(lm, data.benign, config), rng) if num_benign else None
    samples: list[AlignmentSample] = []
    for _ in range(config.num_steps):
        for _ in range(num_harmful):
            pair = PhrasePair(rng.choice(safe), rng.choice(harmful))
            samples.append(AlignmentSample(harmful_ids.draw(), pair))
        if benign_ids is not None:
            samples += [AlignmentSample(benign_ids.draw(), None) for _ in range(num_benign)]
    return samples


class _Deck:
    """Prompts dealt in shuffled order, reshuffled when all are dealt."""

    def __init__(self, prompts: Sequence[tuple[int, ...]], rng: random.Random) -> None:
        self._prompts = prompts
        self._rng = rng
        self._left: list[tuple[int, ...]] = []

    def draw(self) -> tuple[int, ...]:
        if not self._left:
            self._left = self._rng.sample(self._prompts, len(self._prompts))
        return self._left.pop()


def _prompts(
    lm: "DiffusionLM", texts: Sequence[str], config: AlignmentConfig
) -> list[tuple[int, ...]]:
    prompts = [tuple(lm.encode_chat(text)) for text in texts]
    longest = max(map(len, prompts))
    if longest + config.response_length > lm.max_length:
        raise MidspanError(
            f"prompts: the longest has {longest} tokens; with response_length "
            f"{config.response_length} that exceeds {lm.name}'s {lm.max_length}"
        )
    return prompts


def _tokenised(
    lm: "DiffusionLM", texts: Sequence[str], config: AlignmentConfig, *, ends: bool
) -> list[tuple[int, ...]]:
    """Phrase ids, with the end-of-text token when ``ends``; each must fit at some start."""
    first, last = config.objective.window
    limit = last + 1 if config.objective.overflow == "forbid" else config.response_length
    phrases = []
    for text in texts:
        ids = (*lm.encode_phrase(text), *((lm.tokens.eos,) if ends else ()))
        if first + len(ids) > limit:
            raise MidspanError(
                f"phrases: {text!r} has {len(ids)} tokens and does not fit behind the window's "
                f"start {first} (limit {limit}); shorten it or widen objective.window"
            )
        phrases.append(ids)
    return phrases
