"""From examples and phrases to the exact sequence of training samples. No model runs here."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from midspan.alignment.config import AlignmentConfig
from midspan.alignment.objectives import (
    AnyObjective,
    Draw,
    RecoveryObjective,
    SftObjective,
    TokenExample,
    TrainingSample,
)
from midspan.alignment.objectives.apart import PIECE_TOKENS
from midspan.alignment.probe_recipe import probe_recipe
from midspan.data import Example, Mentioning, PhraseSets
from midspan.errors import MidspanError

if TYPE_CHECKING:
    from midspan.alignment.rollouts import Reward
    from midspan.models import DiffusionLM


@dataclass(frozen=True)
class AlignmentData:
    """What alignment learns from, as text.

    Attributes:
        harmful: Requests that must be refused; some objectives need their harmful answers.
        benign: Requests whose answers must not change; empty for the paper's recipe.
        phrases: Refusals to place and continuations to avoid.
        excluded: Evaluation sets, in words, and how many of ``harmful`` repeat each all the same.
        openings: Names of the sets whose answers are openings, the harmful and the benign one; ""
            where answers are whole.
        reward: What responses are worth, for objectives that complete canvases in training.
        forms: Harmful requests in other forms, with answers: questions of single facts, cards.
        mentions: Benign requests that mention a harmful one, with the answers to both.
    """

    harmful: tuple[Example, ...]
    benign: tuple[Example, ...]
    phrases: PhraseSets
    excluded: Mapping[str, int] = field(default_factory=dict)
    openings: tuple[str, str] = ("", "")
    reward: "Reward | None" = None
    forms: tuple[Example, ...] = ()
    mentions: tuple[Mentioning, ...] = ()


def draw_samples(
    lm: "DiffusionLM", data: AlignmentData, config: AlignmentConfig
) -> list[TrainingSample]:
    """Every sample of the run in order; a function of data and seed alone.

    Each batch holds its benign samples last. Examples are shuffled epoch by epoch; Algorithm 1's
    draw of one safe and one harmful phrase is made anew for every sample.

    Raises:
        MidspanError: Data that the objective cannot learn from (see `check_data`), a dealt prompt
            too long for the model, a phrase that does not fit.
    """
    rng = random.Random(config.seed)
    clean = canvas_draw(lm, rng, config.response_length)
    in_blocks = lm.block_length is not None
    check_data(data, config, in_blocks=in_blocks)
    needs_harmful, needs_benign = config.objective.answers_needed(in_blocks=in_blocks)
    safe = _phrases(lm, data.phrases.safe, config, ends=True)
    openings = _phrases(lm, data.phrases.safe, config, ends=True, opens=True)
    draw = replace(
        clean,
        safe=safe,
        procedural=_phrases(lm, data.phrases.procedural, config, ends=False),
        openings=dict(zip(safe, openings, strict=True)),
        spaces=lm.vocabulary.spaces if needs_harmful else frozenset(),
    )
    reader = _Reader(lm, draw)
    dealt = partial(_Deck, rng=rng)
    harmful = dealt(data.harmful, partial(reader.read, with_answer=needs_harmful))
    benign = dealt(data.benign, partial(reader.read, with_answer=needs_benign))
    in_forms = dealt(data.forms, partial(reader.read, with_answer=needs_harmful))
    in_mentions = dealt(data.mentions, reader.read_mention)
    forms, mentioned = config.objective.further
    if config.objective.takes_apart:
        draw = replace(draw, **_for_pieces(reader, data, draw, config.objective))
    kinds = (
        (True, harmful, in_forms, forms, config.num_harmful),
        (False, benign, in_mentions, mentioned if needs_benign else 0.0, config.num_benign),
    )
    samples: list[TrainingSample] = []
    for _ in range(config.num_steps):
        for is_harmful, deck, other, share, count in kinds:
            for _ in range(count):
                drawn = other if share and len(other) and rng.random() < share else deck
                samples.append(config.objective.sample(drawn.draw(), harmful=is_harmful, draw=draw))
    reader.check_lengths()
    return samples


def canvas_draw(lm: "DiffusionLM", rng: random.Random, length: int) -> Draw:
    """What canvases of a model are drawn with, but for phrases.

    Raises:
        MidspanError: Its family has no mask token.
    """
    if lm.tokens.mask is None:
        raise MidspanError(
            f"model: family {lm.family.name} cannot be aligned: it has no mask token (its noise is "
            "random tokens), and the objectives are rewards of tokens placed into masked positions"
        )
    return Draw(
        rng,
        safe=(),
        procedural=(),
        length=length,
        mask=lm.tokens.mask,
        eos=lm.tokens.eos,
        block_length=lm.block_length,
        blocks_from_canvas=lm.family.blocks_from == "canvas",
        firsts_alone=lm.block_length is not None and lm.family.logit_shift,
    )


def draw_answers(
    lm: "DiffusionLM", examples: Sequence[Example], count: int, length: int, seed: int
) -> list[TrainingSample]:
    """Samples of supervised fine-tuning on answers, in shuffled rounds; they count as benign.

    Args:
        lm: What is to be trained.
        examples: Requests with whole answers.
        count: Samples wanted.
        length: Of the canvas.
        seed: Of order and masks.

    Raises:
        MidspanError: The family has no mask token, or a request is too long.
    """
    rng = random.Random(f"answers/{seed}")
    draw = canvas_draw(lm, rng, length)
    reader, sft = _Reader(lm, draw), SftObjective()
    deck = _Deck(examples, partial(reader.read, with_answer=True), rng)
    samples = [sft.sample(deck.draw(), harmful=False, draw=draw) for _ in range(count)]
    reader.check_lengths()
    return samples


class _Reader:
    """Examples as tokens; a text is read when it is first dealt, since most sets hold more."""

    def __init__(self, lm: "DiffusionLM", draw: Draw) -> None:
        self._lm, self._draw, self._longest = lm, draw, 0

    def read(self, example: Example, *, with_answer: bool) -> TokenExample:
        prompt_ids = tuple(self._lm.encode_chat(example.prompt))
        self._longest = max(self._longest, len(prompt_ids))
        answer = tuple(self._lm.encode_text(example.answer or "")) if with_answer else ()
        filled = self._draw.filled(answer) if with_answer else ()
        request = tuple(self._lm.encode_text(example.prompt)) if with_answer else ()
        return TokenExample(prompt_ids, filled, example.prompt, request_ids=request)

    def read_mention(self, example: Example) -> TokenExample:
        """A benign prompt that mentions a harmful request."""
        return replace(self.read(example, with_answer=True), mentions=True)

    def check_lengths(self) -> None:
        """Check that every prompt that was read leaves room for a response."""
        if self._longest + self._draw.length > self._lm.max_length:
            raise MidspanError(
                f"prompts: the longest has {self._longest} tokens; with response_length "
                f"{self._draw.length} that exceeds {self._lm.name}'s {self._lm.max_length}"
            )


def _for_pieces(
    reader: _Reader, data: AlignmentData, draw: Draw, objective: AnyObjective
) -> dict[str, Any]:
    """Benign prompts, and those that mention a request with the answer that they must not bring."""
    benign = [reader.read(example, with_answer=False).prompt_ids for example in data.benign]
    swapped = [Example(mention.prompt, mention.withheld) for mention in data.mentions]
    withheld = tuple(reader.read(example, with_answer=True) for example in swapped)
    pieces = {"beside": tuple(dict.fromkeys(benign)), "withheld": withheld}
    if not objective.takes_decoys:
        return pieces
    answers = [reader.read(example, with_answer=True).answer_ids for example in data.benign]
    harmless = tuple(ids for ids in answers if draw.size(ids) > PIECE_TOKENS[1])
    mentions = map(reader.read_mention, data.mentions)
    named = (one.prompt_ids for one in mentions if draw.size(one.answer_ids) <= PIECE_TOKENS[1])
    return pieces | {"harmless": harmless, "named": tuple(dict.fromkeys(named))}


class _Deck:
    """Examples dealt in shuffled order, reshuffled when all are dealt."""

    def __init__(
        self,
        examples: Sequence[Example],
        read: Callable[[Example], TokenExample],
        rng: random.Random,
    ) -> None:
        self._examples, self._read, self._rng = examples, read, rng
        self._known: dict[int, TokenExample] = {}
        self._left: list[int] = []

    def __len__(self) -> int:
        return len(self._examples)

    def draw(self) -> TokenExample:
        if not self._left:
            self._left = self._rng.sample(range(len(self._examples)), len(self._examples))
        place = self._left.pop()
        if place not in self._known:
            self._known[place] = self._read(self._examples[place])
        return self._known[place]


def check_data(data: AlignmentData, config: AlignmentConfig, *, in_blocks: bool = False) -> None:
    """Check, before a model is loaded, that there is what the objective learns from.

    Args:
        data: What there is.
        config: The recipe.
        in_blocks: Whether the model is known to decode block after block: it needs more answers.

    Raises:
        MidspanError: Prompts or answers are missing, or answers are openings alone.
    """
    if not data.harmful:
        raise MidspanError("prompts: no harmful prompt to align on")
    if isinstance(config.objective, RecoveryObjective) and data.reward is None:
        raise MidspanError("reward: objective recovery needs a judge of responses; give --reward")
    if config.benign_share and not data.benign:
        raise MidspanError(
            f"benign prompts: {config.name} mixes {config.benign_share:.0%} of them into each "
            "batch; give --benign, or choose the preset mosa"
        )
    if config.probes.max_benign_kl is not None and not data.benign:
        raise MidspanError(
            "benign prompts: probes.max_benign_kl (--max-benign-kl) limits what changes on them, "
            "and there are none; give --benign, or leave the limit out"
        )
    of_blocks = " of a model that decodes block after block" if in_blocks else ""
    needs = config.objective.answers_needed(in_blocks=in_blocks)
    _check_answers(data, needs, f"objective {config.objective.kind}{of_blocks}")
    if config.probes.every:
        probed = probe_recipe(config, has_benign=bool(data.benign)).objective
        needs = probed.answers_needed(in_blocks=in_blocks)
        _check_answers(data, needs, f"probes.every (--probe-every){of_blocks}")


def _check_answers(data: AlignmentData, needs: tuple[bool, bool], what: str) -> None:
    """Check that harmful and benign examples have whole answers where something needs them."""
    kinds = (("prompts", data.harmful), ("benign prompts", data.benign))
    for (kind, examples), needed, opened in zip(kinds, needs, data.openings, strict=True):
        if needed and opened:
            raise MidspanError(
                f"{kind}: {opened} holds openings of answers, and {what} needs whole ones; take a "
                "set with whole answers such as beavertails, or a file with them in a column "
                "response"
            )
        missing = [example.prompt for example in examples if needed and not example.answer]
        if missing:
            raise MidspanError(
                f"{kind}: {what} needs an answer to each, and {len(missing)} of {len(examples)} "
                "have none; give a .jsonl or .csv file with prompt and response columns"
            )


def _phrases(
    lm: "DiffusionLM",
    texts: Sequence[str],
    config: AlignmentConfig,
    *,
    ends: bool,
    opens: bool = False,
) -> list[tuple[int, ...]]:
    """Phrase ids, with the end-of-text token when ``ends``; each must fit at some start.

    They are as the objective's places have them, or with ``opens`` as at a response's start.
    """
    phrases = []
    start = 0 if opens else config.objective.latest_start
    for text in texts:
        ids = (*lm.encode_phrase(text, start), *((lm.tokens.eos,) if ends else ()))
        fault = config.objective.check_phrase(ids, config.response_length)
        if fault:
            raise MidspanError(f"phrases: {text!r} {fault}")
        phrases.append(ids)
    return phrases
