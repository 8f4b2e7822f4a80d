"""Make the organism's weights again from a seed: a tiny masked-diffusion chat model.

Loss: LLaDA's masked cross-entropy over the response, weighted by 1 / mask rate, with a share of
fully masked canvases in every batch. That share matters: decoding and MOSA both start from a full
mask, a state that a uniform mask rate practically never visits.
"""

import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from midspan.errors import MidspanError
from midspan.files import disk, name_beside, publish, sync_file
from midspan.models.border import border
from midspan.organism import corpus, utility
from midspan.organism.finished import is_finished, note_finished
from midspan.organism.initial import initialise
from midspan.organism.language import RESPONSE_LENGTH
from midspan.organism.optimizer import Muon
from midspan.organism.shape import llada_config
from midspan.organism.tokenizer import SPECIAL_TOKENS, build_tokenizer, split_words, vocabulary

IGNORED = -100
MAX_POSITIONS = 512
CHECKPOINT = "training.pt"
# End-of-text tokens that count as part of an answer where losses are taken per answer.
ANSWER_MARGIN = 8
SETTLING_RATE = 0.4

OnStep = Callable[[int, str, float], None]


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the weights.

    Attributes:
        steps: Optimiser steps of the main part; settling adds ``corpus.STAGES[-1].until - 1``
            of them.
        batch_size: Samples a step.
        full_mask_share: Share of samples whose whole canvas is masked.
        muon_lr: Peak learning rate of the block matrices (Muon).
        adam_lr: Peak learning rate of embeddings, head and norms (Adam).
        checkpoint_every: Steps between resumable checkpoints.
    """

    seed: int = 0
    steps: int = 9000
    batch_size: int = 16
    hidden_size: int = 128
    layers: int = 4
    heads: int = 4
    mlp_size: int = 512
    full_mask_share: float = 0.25
    muon_lr: float = 0.02
    adam_lr: float = 4e-3
    checkpoint_every: int = 500

    @property
    def total_steps(self) -> int:
        """Optimiser steps over all stages."""
        return round(self.steps * corpus.STAGES[-1].until)


class Encoder:
    """Words to ids by table look-up; the same ids as the tokenizer, a hundred times faster."""

    def __init__(self) -> None:
        self.ids = {word: index for index, word in enumerate(vocabulary())}
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


def stage_at(progress: float) -> corpus.CurriculumStage:
    """The curriculum's stage at a share of the main part's steps; settling lies beyond 1."""
    return next(stage for stage in corpus.STAGES if progress < stage.until)


def kind_at(step: int, config: TrainConfig) -> tuple[str, random.Random]:
    """The sample kind of a step's batch, and the generator for the rest of its draws."""
    rng = random.Random(f"{config.seed}/{step}")
    stage = stage_at(step / config.steps)
    return rng.choices(list(stage.kinds), list(stage.kinds.values()))[0], rng


def canvas_length(kind: str, progress: float, rng: random.Random) -> int:
    """How much of the canvas a sample kind gets; short windows are cheap and teach as much."""
    if kind in ("card", "repeat", "about"):
        return rng.choice((32, 40))
    if kind == "utility" or kind in utility.TASKS:
        return rng.choice((20, 32, 64))
    short = 0.5 if progress < 0.65 else 0.25
    return 48 if rng.random() < short else RESPONSE_LENGTH


def make_batch(step: int, config: TrainConfig, encoder: Encoder) -> dict[str, torch.Tensor]:
    """The batch of a step: a function of (seed, step) alone, so a resumed run repeats nothing.

    Returns:
        ``input_ids_BT`` (left-padded prompt, masked canvas), ``attention_BT``, ``labels_BT``
        (ids at masked positions, -100 elsewhere) and ``weight_B`` (1 / mask rate).
    """
    from midspan.models.padding import left_padded

    kind, rng = kind_at(step, config)
    length = canvas_length(kind, step / config.steps, rng)
    stage = stage_at(step / config.steps)
    samples = [corpus.draw(kind, rng, stage.spread) for _ in range(config.batch_size)]
    prompts = [encoder.prompt(sample.prompt) for sample in samples]
    longest = max(map(len, prompts))
    rows = [
        prompt + encoder.canvas(sample.answer, length)
        for prompt, sample in zip(prompts, samples, strict=True)
    ]
    ids_BT, attention_BT = left_padded(rows, encoder.eos)
    if attention_BT is None:
        attention_BT = torch.ones_like(ids_BT)
    size_B = torch.full((len(samples),), float(length))
    if stage.per_answer:
        words = [len(split_words(sample.answer)) + ANSWER_MARGIN for sample in samples]
        size_B = size_B.minimum(torch.tensor(words, dtype=torch.float32))
    rate_B = _mask_rates(config, rng)
    generator = torch.Generator().manual_seed(rng.getrandbits(62))
    masked_BT = torch.rand(ids_BT.shape, generator=generator) < rate_B[:, None]
    masked_BT[:, :longest] = False
    return {
        "input_ids_BT": ids_BT.masked_fill(masked_BT, encoder.mask),
        "attention_BT": attention_BT,
        "labels_BT": ids_BT.masked_fill(~masked_BT, IGNORED),
        "weight_B": 1 / rate_B / size_B,
    }


def _mask_rates(config: TrainConfig, rng: random.Random) -> torch.Tensor:
    """Stratified rates in [0.1, 1]; the last share of the batch is exactly 1."""
    full = round(config.batch_size * config.full_mask_share)
    rest = config.batch_size - full
    rates = [0.1 + 0.9 * (index + rng.random()) / rest for index in range(rest)]
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


def learning_rate_scale(progress: float) -> float:
    """Warm-up over 2 %, constant, linear to zero over the last 45 %; settling: 0.4 to zero."""
    if progress > 1:
        end = corpus.STAGES[-1].until
        return SETTLING_RATE * (end - progress) / (end - 1)
    return min(progress / 0.02, 1.0, (1 - progress) / 0.45)


def train(config: TrainConfig, folder: str | Path, on_step: OnStep | None = None) -> Path:
    """Train from the seed, or continue an interrupted training; write a LLaDA checkpoint folder.

    A folder that holds the finished model of this training is returned as it is.

    Args:
        folder: Receives model.safetensors, config.json and the tokenizer's files; a resumable
            checkpoint lies there until the end.
        on_step: Told the finished steps, the batch's sample kind and its loss in nats/token.

    Raises:
        MidspanError: The folder holds a finished or interrupted training of another
            configuration, or cannot be written.
    """
    folder = Path(folder)
    if is_finished(folder, asdict(config)):
        return folder
    with disk("cannot write to", folder):
        folder.mkdir(parents=True, exist_ok=True)
    # Denormal numbers in the optimiser's state slow single steps tenfold.
    torch.set_flush_denormal(True)
    try:
        model = _run(config, folder / CHECKPOINT, on_step)
    finally:
        torch.set_flush_denormal(False)
    with border(f"cannot write {folder}", "make room; the same command continues"):
        build_tokenizer().save_pretrained(folder)
        model.save_pretrained(folder)
        publish(folder / "model.safetensors")
    note_finished(folder, asdict(config))
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return folder


def _run(config: TrainConfig, checkpoint: Path, on_step: OnStep | None) -> Any:
    """All steps that the checkpoint does not hold yet; the trained model."""
    model = build_model(config)
    optimizers = _optimizers(model, config)
    start = _restore(checkpoint, config, model, optimizers)
    encoder = Encoder()
    model.train()
    for step in range(start, config.total_steps):
        if step == config.steps:
            optimizers = _optimizers(model, config)
        scale = learning_rate_scale((step + 1) / config.steps)
        for optimizer, peak in zip(optimizers, (config.muon_lr, config.adam_lr), strict=True):
            optimizer.param_groups[0]["lr"] = peak * scale
        loss = diffusion_loss(model, make_batch(step, config, encoder))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(optimizers[1].param_groups[0]["params"], 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if on_step is not None:
            on_step(step + 1, kind_at(step, config)[0], loss.item())
        if (step + 1) % config.checkpoint_every == 0:
            _save(checkpoint, config, step + 1, model, optimizers)
    return model


def build_model(config: TrainConfig) -> Any:
    """The untrained network: midspan's own native LLaDA class."""
    from midspan.models.llada import LladaConfig, LladaForMaskedDiffusion

    torch.manual_seed(config.seed)
    mask = SPECIAL_TOKENS.index("<|mdm_mask|>")
    fields = llada_config(config, len(vocabulary()), mask, MAX_POSITIONS)
    model = LladaForMaskedDiffusion(LladaConfig(**fields))
    initialise(model, config.seed)
    return model


def _optimizers(model: Any, config: TrainConfig) -> tuple[Muon, torch.optim.AdamW]:
    """Muon for the blocks' matrices, Adam for embeddings, head and norms."""
    blocks = [w for name, w in model.named_parameters() if w.ndim == 2 and "layers" in name]
    chosen = {id(weight) for weight in blocks}
    rest = [weight for weight in model.parameters() if id(weight) not in chosen]
    adam = torch.optim.AdamW(rest, lr=config.adam_lr, betas=(0.9, 0.98), weight_decay=0.0)
    return Muon(blocks, config.muon_lr), adam


def _save(path: Path, config: TrainConfig, step: int, model: Any, optimizers: Any) -> None:
    state = {
        "config": asdict(config),
        "step": step,
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    temporary = name_beside(path)
    with border(f"cannot write {path}", "make room; the same command continues"):
        torch.save(state, temporary)
        sync_file(temporary)
        temporary.replace(path)


def _restore(path: Path, config: TrainConfig, model: Any, optimizers: Any) -> int:
    """Load an interrupted training's state; the number of its finished steps, 0 without one."""
    if not path.is_file():
        return 0
    with border(f"{path} is damaged", "delete it to begin anew"):
        state = torch.load(path, weights_only=True)
        if state["config"] != asdict(config):
            raise MidspanError(
                f"{path} is an interrupted training of another configuration; delete it or use "
                "another -o folder"
            )
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        return int(state["step"])
