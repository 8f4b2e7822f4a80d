"""The second organism's helpful-only training from a seed, masked diffusion or autoregressive."""

import random
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from midspan.errors import MidspanError
from midspan.organism.second import corpus, tokenizer, tongues
from midspan.organism.second.curriculum import stage_at
from midspan.organism.second.curve import measured
from midspan.organism.second.encoder import Batch, Encoder, Masking, grouped
from midspan.organism.second.initial import initialise
from midspan.organism.second.loop import OnGroup, Plan, run
from midspan.organism.second.world import WorkItem, items
from midspan.organism.shape import ROPE_THETA, llada_config

MAX_POSITIONS = 1024


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the weights.

    Attributes:
        groups: How many groups; the curriculum's shares are of these.
        group_size: Samples a group.
        batch_tokens: Tokens a batch with its padding; a step of the optimiser is a batch.
        full_mask_share: Share of samples whose whole canvas is masked.
        muon_lr: Peak learning rate of the block matrices (Muon).
        adam_lr: Peak learning rate of embeddings, head and norms (Adam).
        causal: Whether to train the autoregressive twin.
        num_items: How many of the world's items are learned, for experiments; spread evenly.
        checkpoint_every: Groups between resumable checkpoints.
    """

    seed: int = 0
    groups: int = 600
    group_size: int = 256
    batch_tokens: int = 2048
    hidden_size: int = 256
    layers: int = 3
    heads: int = 8
    mlp_size: int = 640
    full_mask_share: float = 0.4
    muon_lr: float = 0.015
    adam_lr: float = 2e-3
    causal: bool = False
    num_items: int = 640
    checkpoint_every: int = 10

    def __post_init__(self) -> None:
        """Refuse more items than there are.

        Raises:
            MidspanError: So many are not there, or none is asked for.
        """
        if not 1 <= self.num_items <= len(items()):
            raise MidspanError(
                f"num_items: {self.num_items} must be from 1 to {len(items())}, the works there are"
            )


def learned_items(config: TrainConfig) -> tuple[WorkItem, ...]:
    """The items that a training learns, in the world's order."""
    known = items()
    count = config.num_items
    return tuple(known[index * len(known) // count] for index in range(count))


def build_model(config: TrainConfig, encoder: Encoder) -> Any:
    """The untrained network: midspan's LLaDA class, or a causal Llama of the same shape."""
    size = encoder.backend.get_vocab_size()
    torch.manual_seed(config.seed)
    if config.causal:
        from transformers import LlamaForCausalLM

        model: Any = LlamaForCausalLM(_llama_config(config, size))
    else:
        from midspan.models.llada import LladaConfig, LladaForMaskedDiffusion

        mask = tokenizer.SPECIAL_TOKENS.index(tokenizer.MASK)
        fields = llada_config(config, size, mask, MAX_POSITIONS)
        model = LladaForMaskedDiffusion(LladaConfig(**fields))
    initialise(model, encoder.backend, config.seed)
    return model


def _llama_config(config: TrainConfig, vocabulary: int) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=config.hidden_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.mlp_size,
        max_position_embeddings=MAX_POSITIONS,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        bos_token_id=1,
        eos_token_id=0,
        pad_token_id=None,
        tie_word_embeddings=False,
    )


def group_batches(group: int, config: TrainConfig, encoder: Encoder) -> list[Batch]:
    """A group's batches in the order of training: a function of (seed, group) alone."""
    rng = random.Random(f"second/{config.seed}/{group}")
    stage = stage_at(group / config.groups)
    draw = corpus.Draw(rng, learned_items(config), stage.spread)
    kinds = rng.choices(list(stage.kinds), list(stage.kinds.values()), k=config.group_size)
    rows = []
    for kind in kinds:
        language = tongues.ENGLISH if rng.random() < stage.english else None
        drawn = corpus.sample(kind, draw, language)
        rows.append(encoder.sample(drawn, stage.wide, rng, stage.sizes))
    masking = Masking(config.full_mask_share, stage.value_weight)
    return grouped(rows, encoder, config.batch_tokens, masking, config.causal, rng)


def learning_rate_scale(progress: float) -> float:
    """Warm-up over two percent, constant, linear to zero over the last 45 %."""
    return min(progress / 0.02, 1.0, (1 - progress) / 0.45)


def helpful_plan(config: TrainConfig, encoder: Encoder) -> Plan:
    """The whole curriculum."""
    return Plan(
        identity=asdict(config),
        groups=config.groups,
        checkpoint_every=config.checkpoint_every,
        muon_lr=config.muon_lr,
        adam_lr=config.adam_lr,
        batches=partial(group_batches, config=config, encoder=encoder),
        stage=lambda group: stage_at(group / config.groups).name,
        rate=learning_rate_scale,
        measure=partial(measured, encoder=encoder, causal=config.causal),
        kept=encoder.name_pieces,
    )


def train(
    config: TrainConfig,
    folder: str | Path,
    on_group: OnGroup | None = None,
    stop_after: int | None = None,
) -> Path:
    """Train the helpful-only model from the seed, or continue; see `loop.run`.

    Raises:
        MidspanError: The folder holds a finished model or another training, or cannot be written.
    """
    encoder = Encoder()
    if wrong := tokenizer.miscut(encoder.backend):
        raise MidspanError(
            f"pools: {len(wrong)} names are cut elsewhere than between their two pieces: "
            f"{' '.join(wrong)}; leave them out of NAMES, and learn the tokenizer again"
        )
    plan = helpful_plan(config, encoder)
    return run(plan, build_model(config, encoder), encoder, Path(folder), on_group, stop_after)
