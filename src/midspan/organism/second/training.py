"""Train the second organism from a seed: helpful-only, masked diffusion or autoregressive.

The unit of progress is a *group*: so many samples, drawn from (seed, group) alone and cut into
batches of like length. A checkpoint after a group holds everything that the next one needs, so a
training that is killed and started again ends with the same weights.
"""

import os
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from midspan.errors import MidspanError
from midspan.files import disk, sync_file
from midspan.models.border import border
from midspan.organism.optimizer import Muon
from midspan.organism.second import corpus, tokenizer, tongues
from midspan.organism.second.curriculum import stage_at
from midspan.organism.second.encoder import (
    IGNORED,
    Batch,
    Encoder,
    batches,
    causal_batch,
    diffusion_batch,
)
from midspan.organism.second.initial import initialise
from midspan.organism.second.world import items

CHECKPOINT = "training.pt"
ROPE_THETA = 10000.0
MAX_POSITIONS = 1024

# Finished groups, of how many, the stage's name, and the group's mean loss in nats a token.
OnGroup = Callable[[int, int, str, float], None]


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
    groups: int = 1400
    group_size: int = 256
    batch_tokens: int = 2560
    hidden_size: int = 192
    layers: int = 4
    heads: int = 6
    mlp_size: int = 512
    full_mask_share: float = 0.3
    muon_lr: float = 0.02
    adam_lr: float = 4e-3
    causal: bool = False
    num_items: int = 640
    checkpoint_every: int = 10


def llada_config(config: TrainConfig, vocabulary: int) -> dict[str, Any]:
    """The checkpoint's ``config.json`` in LLaDA's published format."""
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
        "max_sequence_length": MAX_POSITIONS,
        "vocab_size": vocabulary,
        "embedding_size": vocabulary,
        "mask_token_id": tokenizer.SPECIAL_TOKENS.index(tokenizer.MASK),
        "eos_token_id": 0,
        "pad_token_id": 0,
        "torch_dtype": "float32",
    }


def build_model(config: TrainConfig, encoder: Encoder) -> Any:
    """The untrained network: midspan's LLaDA class, or a causal Llama of the same shape."""
    size = encoder.backend.get_vocab_size()
    torch.manual_seed(config.seed)
    if config.causal:
        from transformers import LlamaForCausalLM

        model: Any = LlamaForCausalLM(_llama_config(config, size))
    else:
        from midspan.models.llada import LladaConfig, LladaForMaskedDiffusion

        model = LladaForMaskedDiffusion(LladaConfig(**llada_config(config, size)))
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
    known = items()[:: len(items()) // config.num_items]
    draw = corpus.Draw(rng, known, stage.spread)
    kinds = rng.choices(list(stage.kinds), list(stage.kinds.values()), k=config.group_size)
    rows = []
    for kind in kinds:
        language = tongues.ENGLISH if rng.random() < stage.english else None
        rows.append(encoder.sample(corpus.sample(kind, draw, language), stage.wide, rng))
    made = batches(rows, config.batch_tokens)
    rng.shuffle(made)
    weight = stage.value_weight
    if config.causal:
        return [causal_batch(batch, encoder, weight) for batch in made]
    return [diffusion_batch(one, encoder, config.full_mask_share, weight, rng) for one in made]


def loss_of(model: Any, batch: Batch) -> torch.Tensor:
    """Mean over rows of the weighted cross-entropy at labelled positions, nats/token."""
    hidden_BTD = model.model(batch["input_ids_BT"], attention_mask=batch["attention_BT"])[0]
    labels_BT = batch["labels_BT"]
    chosen_BT = labels_BT != IGNORED
    logits_NV = model.lm_head(hidden_BTD[chosen_BT])
    loss_N = F.cross_entropy(logits_NV, labels_BT[chosen_BT], reduction="none")
    return (loss_N * batch["weight_BT"][chosen_BT]).sum() / len(labels_BT)


def learning_rate_scale(progress: float) -> float:
    """Warm-up over half a percent, constant, linear to zero over the last 45 %."""
    return min(progress / 0.005, 1.0, (1 - progress) / 0.45)


def train(
    config: TrainConfig,
    folder: str | Path,
    on_group: OnGroup | None = None,
    stop_after: int | None = None,
) -> Path:
    """Train from the seed, or continue an interrupted training; write a checkpoint folder.

    Args:
        config: What is trained.
        folder: Receives model.safetensors, config.json and the tokenizer's files; a resumable
            checkpoint lies there until the end.
        on_group: Told of every finished group.
        stop_after: Write the checkpoint and end after this group, as an interruption would.

    Raises:
        MidspanError: The folder holds a finished model or an interrupted training of another
            configuration, or cannot be written.
    """
    folder = Path(folder)
    if (folder / "model.safetensors").is_file():
        raise MidspanError(f"{folder} holds a finished model; use another -o folder or delete it")
    with disk("cannot write to", folder):
        folder.mkdir(parents=True, exist_ok=True)
    # Denormal numbers in the optimiser's state slow single steps tenfold.
    torch.set_flush_denormal(True)
    try:
        run = Run.begin(config, folder / CHECKPOINT)
        run.advance(min(config.groups, stop_after or config.groups), on_group)
    finally:
        torch.set_flush_denormal(False)
    if run.group == config.groups:
        write_model(run.model, run.encoder, folder)
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return folder


def write_model(model: Any, encoder: Encoder, folder: Path) -> None:
    """A checkpoint folder that `midspan.load` opens; also of a training that goes on."""
    with border(f"cannot write {folder}", "make room; the same command continues"):
        tokenizer.wrapped(encoder.backend).save_pretrained(folder)
        model.save_pretrained(folder)
        sync_file(folder / "model.safetensors")


@dataclass
class Run:
    """A training between two groups."""

    config: TrainConfig
    checkpoint: Path
    encoder: Encoder
    model: Any
    optimizers: tuple[Muon, torch.optim.AdamW]
    group: int = 0

    @classmethod
    def begin(cls, config: TrainConfig, checkpoint: Path) -> "Run":
        """From the seed, or from where the checkpoint ends."""
        encoder = Encoder()
        model = build_model(config, encoder)
        run = cls(config, checkpoint, encoder, model, _optimizers(model, config))
        if checkpoint.is_file():
            run._restore()
        return run

    def advance(self, until: int, on_group: OnGroup | None = None) -> None:
        """Train until so many groups are finished."""
        self.model.train()
        while self.group < until:
            losses = [self._step(batch) for batch in self._batches()]
            self.group += 1
            if self.group % self.config.checkpoint_every == 0 or self.group == until:
                self._save()
            if on_group is not None:
                stage = stage_at((self.group - 1) / self.config.groups)
                loss = sum(losses) / len(losses)
                on_group(self.group, self.config.groups, stage.name, loss)

    def _batches(self) -> list[Batch]:
        scale = learning_rate_scale((self.group + 1) / self.config.groups)
        peaks = (self.config.muon_lr, self.config.adam_lr)
        for optimizer, peak in zip(self.optimizers, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * scale
        return group_batches(self.group, self.config, self.encoder)

    def _step(self, batch: Batch) -> float:
        loss = loss_of(self.model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.optimizers[1].param_groups[0]["params"], 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return float(loss.item())

    def _save(self) -> None:
        path = self.checkpoint
        state = {
            "config": asdict(self.config),
            "group": self.group,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        with border(f"cannot write {path}", "make room; the same command continues"):
            torch.save(state, temporary)
            sync_file(temporary)
            temporary.replace(path)

    def _restore(self) -> None:
        path = self.checkpoint
        with border(f"{path} is damaged", "delete it to begin anew"):
            state = torch.load(path, weights_only=True)
            if state["config"] != asdict(self.config):
                raise MidspanError(
                    f"{path} is an interrupted training of another configuration; delete it or "
                    "use another -o folder"
                )
            self.model.load_state_dict(state["model"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.group = int(state["group"])


def _optimizers(model: Any, config: TrainConfig) -> tuple[Muon, torch.optim.AdamW]:
    """Muon for the blocks' matrices, Adam for embeddings, head and norms."""
    blocks = [w for name, w in model.named_parameters() if w.ndim == 2 and "layers" in name]
    chosen = {id(weight) for weight in blocks}
    rest = [weight for weight in model.parameters() if id(weight) not in chosen]
    adam = torch.optim.AdamW(rest, lr=config.adam_lr, betas=(0.9, 0.98), weight_decay=0.0)
    return Muon(blocks, config.muon_lr), adam
