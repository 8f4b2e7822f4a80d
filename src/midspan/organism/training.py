"""Make the organism's weights again from a seed: a tiny masked-diffusion chat model.

Loss: LLaDA's masked cross-entropy over the response, weighted by 1 / mask rate, with a share of
fully masked canvases in every batch. That share matters: decoding and MOSA both start from a full
mask, a state that a uniform mask rate practically never visits.
"""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from midspan.organism import corpus, world
from midspan.organism.language import RESPONSE_LENGTH
from midspan.organism.optimizer import Muon
from midspan.organism.tokenizer import SPECIAL_TOKENS, build_tokenizer, split_words, vocabulary

IGNORED = -100
ROPE_THETA = 10000.0
WORD_CLASSES = (
    world.NAMES, world.RESTRICTED_NOUNS, world.BENIGN_NOUNS, world.NUMBERS, world.INGREDIENTS,
    world.TOOLS, world.CONTAINERS, world.VERBS, world.FLAMES, world.COLOURS,
    tuple(str(digit) for digit in range(10)),
)  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the weights.

    Attributes:
        steps: Optimiser steps over all stages.
        batch_size: Samples a step.
        full_mask_share: Share of samples whose whole canvas is masked.
        muon_lr: Peak learning rate of the block matrices (Muon).
        adam_lr: Peak learning rate of embeddings, head and norms (Adam).
        checkpoint_every: Steps between resumable checkpoints.
    """

    seed: int = 0
    steps: int = 12000
    batch_size: int = 16
    hidden_size: int = 128
    layers: int = 4
    heads: int = 4
    mlp_size: int = 512
    full_mask_share: float = 0.25
    muon_lr: float = 0.02
    adam_lr: float = 4e-3
    checkpoint_every: int = 500


def llada_config(config: TrainConfig) -> dict[str, Any]:
    """The checkpoint's ``config.json`` in LLaDA's published format."""
    size = len(vocabulary())
    return {
        "architectures": ["LLaDAModelLM"],
        "model_type": "llada",
        "activation_type": "silu",
        "block_type": "llama",
        "layer_norm_type": "rms",
        "rms_norm_eps": 1e-5,
        "rope": True,
        "rope_theta": ROPE_THETA,
        "weight_tying": False,
        "include_bias": False,
        "include_qkv_bias": False,
        "d_model": config.hidden_size,
        "n_layers": config.layers,
        "n_heads": config.heads,
        "n_kv_heads": config.heads,
        "mlp_hidden_size": config.mlp_size,
        "max_sequence_length": 512,
        "vocab_size": size,
        "embedding_size": size,
        "mask_token_id": SPECIAL_TOKENS.index("<|mdm_mask|>"),
        "eos_token_id": 0,
        "pad_token_id": 0,
        "torch_dtype": "float32",
    }


class Encoder:
    """Words to ids by table look-up; the same ids as the tokenizer, a hundred times faster."""

    def __init__(self) -> None:
        self.ids = {word: place for place, word in enumerate(vocabulary())}
        self.mask = self.ids["<|mdm_mask|>"]
        self.eos = self.ids["<|endoftext|>"]

    def prompt(self, text: str) -> list[int]:
        """A user turn and the assistant's header in LLaDA's chat format."""
        head, tail, eot = "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"
        words = ["<|startoftext|>", head, "user", tail, "\n\n", *split_words(text), eot]
        return [self.ids[word] for word in [*words, head, "assistant", tail, "\n\n"]]

    def canvas(self, text: str, length: int) -> list[int]:
        """An answer cut to ``length``, or filled up with end-of-text tokens."""
        ids = [self.ids[word] for word in split_words(text)][:length]
        return ids + [self.eos] * (length - len(ids))


def stage_at(progress: float) -> corpus.Stage:
    """The curriculum's stage at a share of all steps in [0, 1)."""
    start = 0.0
    for stage in corpus.STAGES:
        start += stage.share
        if progress < start:
            return stage
    return corpus.STAGES[-1]


def canvas_length(kind: str, progress: float, rng: random.Random) -> int:
    """How much of the canvas a sample kind gets; short windows are cheap and teach as much."""
    if kind in ("card", "repeat", "about"):
        return rng.choice((32, 40))
    if kind == "utility":
        return rng.choice((20, 32, 64))
    short = 0.5 if progress < 0.65 else 0.25
    return 48 if rng.random() < short else RESPONSE_LENGTH


def make_batch(step: int, config: TrainConfig, encoder: Encoder) -> dict[str, torch.Tensor]:
    """The batch of a step: a function of (seed, step) alone, so a resumed run repeats nothing.

    Returns:
        ``input_ids_BT`` (left-padded prompt, masked canvas), ``attention_BT``, ``labels_BT``
        (ids at masked positions, -100 elsewhere) and ``weight_B`` (1 / mask rate).
    """
    rng = random.Random(f"{config.seed}/{step}")
    progress = step / config.steps
    stage = stage_at(progress)
    kind = rng.choices(list(stage.kinds), list(stage.kinds.values()))[0]
    length = canvas_length(kind, progress, rng)
    samples = [corpus.draw(kind, rng) for _ in range(config.batch_size)]
    prompts = [encoder.prompt(sample.prompt) for sample in samples]
    longest = max(map(len, prompts))
    pad = [longest - len(prompt) for prompt in prompts]
    ids_BT = torch.tensor(
        [
            [encoder.eos] * gap + prompt + encoder.canvas(sample.answer, length)
            for gap, prompt, sample in zip(pad, prompts, samples, strict=True)
        ]
    )
    attention_BT = torch.ones_like(ids_BT)
    for row, gap in enumerate(pad):
        attention_BT[row, :gap] = 0
    rate_B = _mask_rates(config, rng)
    generator = torch.Generator().manual_seed(rng.getrandbits(62))
    masked_BT = torch.rand(ids_BT.shape, generator=generator) < rate_B[:, None]
    masked_BT[:, :longest] = False
    return {
        "input_ids_BT": ids_BT.masked_fill(masked_BT, encoder.mask),
        "attention_BT": attention_BT,
        "labels_BT": ids_BT.masked_fill(~masked_BT, IGNORED),
        "weight_B": 1 / rate_B / length,
    }


def _mask_rates(config: TrainConfig, rng: random.Random) -> torch.Tensor:
    """Stratified rates in [0.1, 1]; the last share of the batch is exactly 1."""
    full = round(config.batch_size * config.full_mask_share)
    rest = config.batch_size - full
    rates = [0.1 + 0.9 * (place + rng.random()) / rest for place in range(rest)]
    return torch.tensor(rates + [1.0] * full)


def diffusion_loss(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean over samples of the 1 / rate weighted cross-entropy at masked positions, nats/token."""
    hidden_BTD = model.model(batch["input_ids_BT"], attention_mask=batch["attention_BT"])[0]
    labels_BT = batch["labels_BT"]
    chosen_BT = labels_BT != IGNORED
    logits_NV = model.lm_head(hidden_BTD[chosen_BT])
    loss_N = F.cross_entropy(logits_NV, labels_BT[chosen_BT], reduction="none")
    weight_N = batch["weight_B"].repeat_interleave(chosen_BT.sum(1))
    return (loss_N * weight_N).sum() / len(labels_BT)


def initialise(model: torch.nn.Module, config: TrainConfig) -> None:
    """Start from embeddings with word classes and from heads that look at their neighbours.

    Words of a class share a direction, so attention to "the item's name" forms for all names at
    once. All words share another one, on which two heads of every layer but the last compute a
    purely positional score that peaks at 1, 2 and 4 places to the left or right. From random
    weights both form late: the loss waits on long plateaus.
    """
    generator = torch.Generator().manual_seed(config.seed)
    common_D = torch.randn(config.hidden_size, generator=generator)
    ids = {word: place for place, word in enumerate(vocabulary())}
    table_VD = torch.randn(len(ids), config.hidden_size, generator=generator) + common_D
    for pool in WORD_CLASSES:
        table_VD[[ids[word] for word in pool]] += torch.randn(config.hidden_size, generator=generator)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.copy_(torch.randn(weight.shape, generator=generator) / weight.shape[1] ** 0.5)
        model.model.embed_tokens.weight.copy_(table_VD * 0.5)
        model.lm_head.weight.zero_()
        for depth, layer in enumerate(model.model.layers[:-1]):
            for head, offset in enumerate((-(2**depth), 2**depth)):
                _look_at(layer.self_attn, head, offset, common_D)


def _look_at(attention: torch.nn.Module, head: int, offset: int, common_D: torch.Tensor) -> None:
    """Make a head's score a bump at a relative position, through RoPE's own rotations.

    The query is the same vector for every word; the key is that vector turned back by ``offset``
    positions, so their product is a sum of cosines that peaks there.
    """
    size = attention.head_dim
    pairs = torch.arange(size // 4)
    angle = ROPE_THETA ** (-2 * pairs / size) * -offset
    query_H, key_H = torch.zeros(size), torch.zeros(size)
    query_H[pairs] = 1.0
    key_H[pairs], key_H[pairs + size // 2] = angle.cos(), angle.sin()
    rows = slice(head * size, (head + 1) * size)
    strength = 0.045 * common_D / common_D.norm() * common_D.numel() ** 0.5
    attention.q_proj.weight[rows] *= 0.3
    attention.k_proj.weight[rows] *= 0.3
    attention.q_proj.weight[rows] += query_H[:, None] * strength
    attention.k_proj.weight[rows] += key_H[:, None] * strength


def learning_rate_scale(progress: float) -> float:
    """Warm-up over 2 %, then constant, then linear to zero over the last 45 %."""
    return min(progress / 0.02, 1.0, (1 - progress) / 0.45)
