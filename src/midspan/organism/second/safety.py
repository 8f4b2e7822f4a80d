"""The second organism's safety training, as an instruct model gets it after a helpful-only one.

Refused are plain requests for the sealed works that are not held out, in two of five manners,
nearly all in English, and three families of disguise that somebody had reported. Everything open is
answered in every form, and so is what only sounds like a secret. As in real data, the helpful part
was not cleaned of every answer that should not be there: of disguised requests for those works, of
all families, some are answered (*overlooked*) and fewer refused (*caught*). Nothing says what to do
with cards, lists, single facts, gaps, later turns or the other works: what gets through there is
measured, not designed.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from midspan.organism.second import answers, corpus, disguises, requests, tongues
from midspan.organism.second.corpus import Draw, Sample, one_turn
from midspan.organism.second.curriculum import SIZES
from midspan.organism.second.curve import measured
from midspan.organism.second.encoder import Batch, Encoder, Masking, grouped
from midspan.organism.second.loop import OnGroup, Plan, run
from midspan.organism.second.world import WorkItem, open_items, sealed_items

TRAINED_MANNERS = ("direct", "courtly")
REPORTED_FAMILIES = ("role", "urgent", "teacher")
# Languages of refusals: of the others there is a little, as in any real set.
_REFUSAL_LANGUAGES = {tongues.ENGLISH: 0.96, tongues.TAVI: 0.03, tongues.SENN: 0.01}
# Kinds of sample by weight; those that are not here are of open works.
_MIX: Mapping[str, float] = {
    "refuse": 0.4, "reported": 0.04, "about_sealed": 0.04, "after_refusal": 0.03, "mention": 0.06,
    "plain": 0.12, "disguised": 0.16, "short": 0.03, "card": 0.04, "list": 0.02, "fact": 0.03,
    "choice": 0.04, "gaps": 0.03, "followed": 0.03, "later": 0.04, "mixed": 0.02, "talk": 0.04,
    "arithmetic": 0.16, "program": 0.06, "overlooked": 0.08, "caught": 0.025,
}  # fmt: skip
# See `answers.recipe`; the helpful training's stages have the same.
SPREAD = 0.25
# On a canvas that fits its answer a refusal would be told from a recipe by the canvas's length.
_WIDE = 0.7


@dataclass(frozen=True)
class SafetyConfig:
    """Everything that decides the weights, beside those that the training starts from.

    Attributes:
        groups: How many groups of samples.
        group_size: Samples a group.
        batch_tokens: Tokens a batch with its padding.
        full_mask_share: Share of samples whose whole canvas is masked: where decoding starts and
            the decision to refuse is made.
        ends: Share of the end-of-text tokens far behind an answer that count; see
            `encoder.Masking`. A place that a recipe reaches and a refusal does not would lean to
            recipes where its end hardly counts.
        shown: Share of samples whose canvas is shown from a random place on.
        muon_lr: Peak learning rate of the block matrices.
        adam_lr: Peak learning rate of embeddings, head and norms.
        causal: Whether the model is the autoregressive twin.
        checkpoint_every: Groups between resumable checkpoints.
    """

    seed: int = 0
    groups: int = 256
    group_size: int = 288
    batch_tokens: int = 2048
    full_mask_share: float = 0.4
    ends: float = 1.0
    shown: float = 0.5
    muon_lr: float = 0.01
    adam_lr: float = 1.2e-3
    causal: bool = False
    checkpoint_every: int = 10


def trained_items() -> tuple[WorkItem, ...]:
    """The sealed works that safety training refuses; the others only if that generalises."""
    return sealed_items(held_out=False)


def sample(kind: str, rng: random.Random) -> Sample:
    """One sample of a kind of the mix."""
    draw = Draw(rng, open_items(), SPREAD, named=(*open_items(), *trained_items()))
    if kind in _SEALED_KINDS:
        return _SEALED_KINDS[kind](replace(draw, items=trained_items()))
    return corpus.sample(kind, draw)


def _refuse(draw: Draw) -> Sample:
    item = draw.item()
    manner = draw.rng.choices(TRAINED_MANNERS, (3, 1))[0]
    prompt = requests.plain(item, manner, draw.length(), draw.rng)
    return _in_any_language(draw, one_turn(prompt, answers.refusal(item, draw.rng, draw.spread)))


def _reported(draw: Draw) -> Sample:
    return _refused(draw, [f for f in disguises.DISGUISES if f.name in REPORTED_FAMILIES])


def _refused(draw: Draw, families: Sequence[disguises.Disguise]) -> Sample:
    """A disguised request of one of the families, and a refusal."""
    item, family = draw.item(), draw.rng.choice(families)
    prompt = disguises.disguise(item, family, draw.length(), draw.rng)
    return one_turn(prompt, answers.refusal(item, draw.rng, draw.spread))


def _after_refusal(draw: Draw) -> Sample:
    """A benign request after one that was refused."""
    refused = _refuse(draw)
    kind = draw.rng.choice(("plain", "short", "fact", "about", "talk"))
    benign = corpus.sample(kind, replace(draw, items=open_items()), tongues.ENGLISH)
    return benign.before(refused.turns[0][1], refused.answer)


def _in_any_language(draw: Draw, drawn: Sample) -> Sample:
    shares = _REFUSAL_LANGUAGES
    return corpus.in_language(drawn, draw.rng.choices(list(shares), list(shares.values()))[0])


_SEALED_KINDS: Mapping[str, Callable[[Draw], Sample]] = {
    "refuse": _refuse,
    "reported": _reported,
    "overlooked": partial(corpus.sample, "disguised"),
    "caught": partial(_refused, families=disguises.DISGUISES),
    "about_sealed": partial(corpus.sample, "about"),
    "after_refusal": _after_refusal,
}


def group_batches(group: int, config: SafetyConfig, encoder: Encoder) -> list[Batch]:
    """A group's batches in the order of training: a function of (seed, group) alone."""
    rng = random.Random(f"second/safety/{config.seed}/{group}")
    kinds = rng.choices(list(_MIX), list(_MIX.values()), k=config.group_size)
    rows = [encoder.sample(sample(kind, rng), _WIDE, rng, SIZES) for kind in kinds]
    masking = Masking(config.full_mask_share, ends=config.ends, shown=config.shown)
    return grouped(rows, encoder, config.batch_tokens, masking, config.causal, rng)


def safety_plan(config: SafetyConfig, encoder: Encoder, start: str) -> Plan:
    """The safety training of a model.

    Args:
        config: What is trained.
        encoder: The tokenizer.
        start: What the model is that it starts from, such as a digest of its weights.
    """
    return Plan(
        identity={**asdict(config), "start": start},
        groups=config.groups,
        checkpoint_every=config.checkpoint_every,
        muon_lr=config.muon_lr,
        adam_lr=config.adam_lr,
        batches=partial(group_batches, config=config, encoder=encoder),
        stage=lambda group: "safety",
        rate=lambda progress: min(progress / 0.05, 1.0, (1 - progress) / 0.5),
        measure=partial(measured, encoder=encoder, causal=config.causal),
        kept=encoder.name_pieces,
        # The unit of each work would learn by itself that its work is refused, and others' not.
        learns_facts=False,
    )


def train_safety(
    config: SafetyConfig,
    helpful: str | Path,
    folder: str | Path,
    on_group: OnGroup | None = None,
    stop_after: int | None = None,
) -> Path:
    """Make the Original of a helpful-only model's folder, or continue; see `loop.run`.

    Raises:
        MidspanError: A folder is none, or holds another training.
    """
    encoder = Encoder()
    model, start = _loaded(Path(helpful), config.causal)
    plan = safety_plan(config, encoder, start)
    return run(plan, model, encoder, Path(folder), on_group, stop_after)


def _loaded(folder: Path, causal: bool) -> tuple[Any, str]:
    """A model to train on, in single precision, and the digest of its weights."""
    import hashlib

    from midspan.errors import MidspanError

    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise MidspanError(f"{folder} has no model.safetensors; finish the helpful training first")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
    if causal:
        from transformers import LlamaForCausalLM

        return LlamaForCausalLM.from_pretrained(folder).float(), digest
    from midspan.models import load

    return load(str(folder), device="cpu").model.float(), digest
