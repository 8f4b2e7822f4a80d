"""The loop of every training of the second organism: resumable, the same after any interruption.

The unit of progress is a *group*: so many samples, drawn from (seed, group) alone and cut into
batches of like length. A checkpoint after a group holds everything that the next one needs.
"""

import json
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from midspan.errors import MidspanError
from midspan.files import (
    PUBLISHED_FILE,
    disk,
    name_beside,
    publish,
    read_text,
    sync_file,
    write_atomic,
)
from midspan.models.border import border
from midspan.organism.finished import is_finished, note_finished
from midspan.organism.optimizer import Muon
from midspan.organism.second import tokenizer
from midspan.organism.second.encoder import IGNORED, Batch, Encoder
from midspan.organism.second.initial import NAMES_LAYER

CHECKPOINT = "training.pt"
CURVE = "curve.jsonl"
# Processes that prepare groups for a GPU, and groups that each may be ahead.
_MOST_WORKERS = 12
_AHEAD = 2
# The layer whose heads and units `initial` sets: of it, only what the units write is trained, by
# Adam, since Muon would move all works' facts whenever one is seen.
_SET = f"model.layers.{NAMES_LAYER}."
_WRITTEN = f"layers.{NAMES_LAYER}.mlp.down_proj.weight"
# Adam's steps are as large for noise as for signal: the head's small weights would lose in a
# hundred of them that they tell the facts which the units write.
_HEAD_SHARE = 0.5
_PRIMITIVES = "16"

# Finished groups, the stage's name, and the group's mean loss in nats a token.
OnGroup = Callable[[int, str, float], None]


@dataclass(frozen=True)
class Plan:
    """What a training does, group by group.

    Attributes:
        identity: Everything that decides the weights; a checkpoint of another one is refused.
        groups: How many.
        checkpoint_every: Groups between checkpoints.
        muon_lr: Peak learning rate of the block matrices.
        adam_lr: Peak learning rate of embeddings, head and norms.
        batches: The batches of a group.
        stage: What a group's part of the training is called.
        rate: Share of the peak learning rates at a progress in [0, 1].
        measure: What a model knows, for the line of `CURVE` at every checkpoint.
        kept: Tokens whose embeddings stay as they are: the pieces of names, which the first layer,
            set by hand, looks for.
        learns_facts: Whether what the first layer's units of works write is trained.
    """

    identity: Mapping[str, Any]
    groups: int
    checkpoint_every: int
    muon_lr: float
    adam_lr: float
    batches: Callable[[int], list[Batch]]
    stage: Callable[[int], str]
    rate: Callable[[float], float]
    measure: Callable[[Any], Mapping[str, Any]]
    kept: tuple[int, ...]
    learns_facts: bool = True


def loss_of(model: Any, batch: Batch) -> torch.Tensor:
    """Mean over rows of the weighted cross-entropy at labelled positions, nats/token."""
    hidden_BTD = model.model(batch["input_ids_BT"], attention_mask=batch["attention_BT"])[0]
    labels_BT = batch["labels_BT"]
    chosen_BT = labels_BT != IGNORED
    logits_NV = model.lm_head(hidden_BTD[chosen_BT])
    loss_N = F.cross_entropy(logits_NV, labels_BT[chosen_BT], reduction="none")
    return (loss_N * batch["weight_BT"][chosen_BT]).sum() / len(labels_BT)


def training_device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def prepared(
    make: Callable[[int], list[Batch]], groups: range, workers: int
) -> Iterator[list[Batch]]:
    """The batches of groups in their order, made ahead in so many processes, or here with none.

    Args:
        make: A group's batches; of a module's level, so that a process can be told of it.
        groups: Which.
        workers: Processes.
    """
    if not workers:
        yield from map(make, groups)
        return
    waiting: deque[Future[list[Batch]]] = deque()
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for group in groups:
            waiting.append(pool.submit(make, group))
            if len(waiting) > _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class Training:
    """A training between two groups."""

    def __init__(self, plan: Plan, model: Any, checkpoint: Path) -> None:
        self.plan, self.checkpoint = plan, checkpoint
        self.device = training_device()
        self.model = model.to(self.device)
        self.group = 0
        self.optimizers = _optimizers(model, plan)
        _keep(model.model.embed_tokens.weight, plan.kept)
        if checkpoint.is_file():
            self._restore()
        self._cut_curve()

    def advance(self, until: int, on_group: OnGroup | None = None) -> None:
        """Train until so many groups are finished."""
        self.model.train()
        for made in prepared(self.plan.batches, range(self.group, until), self._workers()):
            rate = self.plan.rate((self.group + 1) / self.plan.groups)
            peaks = (self.plan.muon_lr, self.plan.adam_lr)
            for optimizer, peak in zip(self.optimizers, peaks, strict=True):
                for group in optimizer.param_groups:
                    group["lr"] = peak * rate * group.get("share", 1.0)
            losses = [self._step(batch) for batch in made]
            self.group += 1
            name, loss = self.plan.stage(self.group - 1), sum(losses) / len(losses)
            if self.group % self.plan.checkpoint_every == 0 or self.group == until:
                self._save()
                self._note(name, loss)
            if on_group is not None:
                on_group(self.group, name, loss)

    def _step(self, batch: Batch) -> float:
        on_device = {name: tensor.to(self.device) for name, tensor in batch.items()}
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
            loss = loss_of(self.model, on_device)
        loss.backward()
        by_adam = [w for group in self.optimizers[1].param_groups for w in group["params"]]
        torch.nn.utils.clip_grad_norm_(by_adam, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return float(loss.item())

    def _workers(self) -> int:
        """Processes that prepare groups: a GPU is faster than one of them, a core is not."""
        return min(_MOST_WORKERS, os.cpu_count() or 1) if self.device.type == "cuda" else 0

    def _save(self) -> None:
        path = self.checkpoint
        state = {
            "config": dict(self.plan.identity),
            "group": self.group,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        temporary = name_beside(path)
        with border(f"cannot write {path}", "make room; the same command continues"):
            torch.save(state, temporary)
            sync_file(temporary)
            temporary.replace(path)

    def _note(self, stage: str, loss: float) -> None:
        """What the model knows now, as a line of the curve."""
        line = {"group": self.group, "stage": stage, "loss": round(loss, 4)}
        line |= self.plan.measure(self.model)
        path = self.checkpoint.with_name(CURVE)
        trouble = border(f"cannot write {path}", "make room; the same command continues")
        with trouble, path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _cut_curve(self) -> None:
        """Leave out lines of groups that are trained again, and one that was cut off."""
        path = self.checkpoint.with_name(CURVE)
        if not path.is_file():
            return
        lines = read_text(path).splitlines(keepends=True)
        kept = [line for line in lines if _group_of(line) <= self.group]
        if kept != lines:
            write_atomic(path, "".join(kept), PUBLISHED_FILE)

    def _restore(self) -> None:
        path = self.checkpoint
        with border(f"{path} is damaged", "delete it to begin anew"):
            state = torch.load(path, weights_only=True, map_location=self.device)
            if state["config"] != dict(self.plan.identity):
                raise MidspanError(
                    f"{path} is an interrupted training of another configuration; delete it or "
                    "use another -o folder"
                )
            self.model.load_state_dict(state["model"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.group = int(state["group"])


def run(
    plan: Plan,
    model: Any,
    encoder: Encoder,
    folder: Path,
    on_group: OnGroup | None = None,
    stop_after: int | None = None,
) -> Path:
    """Run or continue a training in a folder, and write the model there at its end.

    A folder that holds the finished model of this training is returned as it is.

    Args:
        plan: What is trained.
        model: Where it starts.
        encoder: Its tokenizer.
        folder: Receives model.safetensors, config.json and the tokenizer's files.
        on_group: Told of every finished group.
        stop_after: Write the checkpoint and end after this group, as an interruption would.

    Raises:
        MidspanError: The folder holds another training, or cannot be written.
    """
    if is_finished(folder, plan.identity):
        return folder
    with disk("cannot write to", folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _quick_arithmetic():
        training = Training(plan, model, folder / CHECKPOINT)
        training.advance(min(plan.groups, stop_after or plan.groups), on_group)
    if training.group == plan.groups:
        write_model(model.cpu(), encoder, folder)
        note_finished(folder, plan.identity)
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return folder


@contextmanager
def _quick_arithmetic() -> Iterator[None]:
    """Denormals as zeros; on a CPU with matrix units, products in bfloat16 summed in float32."""
    # Denormal numbers in the optimiser's state slow single steps tenfold.
    torch.set_flush_denormal(True)
    precision = torch.get_float32_matmul_precision()
    try:
        if training_device().type == "cuda" or not torch.cpu._is_amx_tile_supported():
            yield
            return
        torch.set_float32_matmul_precision("medium")
        # oneDNN keeps a primitive of every shape, and batches have hundreds: over a training that
        # is gigabytes. It reads this at its first product, so within a process it stays.
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", _PRIMITIVES)
        # The fused kernel multiplies in small tiles, which are slow in bfloat16.
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.set_flush_denormal(False)


def write_model(model: Any, encoder: Encoder, folder: Path) -> None:
    """A checkpoint folder that `midspan.load` opens."""
    with border(f"cannot write {folder}", "make room; the same command continues"):
        tokenizer.wrapped(encoder.backend).save_pretrained(folder)
        model.save_pretrained(folder)
        publish(folder / "model.safetensors")


def _group_of(line: str) -> float:
    """After which group a line of the curve was written; of no whole line after none at all."""
    try:
        return int(json.loads(line)["group"]) if line.endswith("\n") else math.inf
    except (ValueError, TypeError, KeyError):
        return math.inf


def _keep(embeddings_VD: torch.Tensor, tokens: tuple[int, ...]) -> None:
    """Let no gradient reach the embeddings of some tokens."""
    rows = torch.tensor(tokens, dtype=torch.long, device=embeddings_VD.device)
    embeddings_VD.register_hook(lambda slope_VD: slope_VD.index_fill(0, rows, 0.0))


def _optimizers(model: Any, plan: Plan) -> tuple[Muon, torch.optim.AdamW]:
    """Muon for the blocks' matrices, Adam for embeddings, head, norms and what units write."""
    blocks: list[torch.Tensor] = []
    rest: list[torch.Tensor] = []
    head: list[torch.Tensor] = []
    for name, weight in model.named_parameters():
        is_learned = plan.learns_facts and name.endswith(_WRITTEN)
        weight.requires_grad_(is_learned or not name.startswith(_SET))
        if not weight.requires_grad:
            continue
        if weight.ndim == 2 and "layers" in name and not name.endswith(_WRITTEN):
            blocks.append(weight)
        else:
            (head if "lm_head" in name else rest).append(weight)
    groups = [{"params": rest, "share": 1.0}, {"params": head, "share": _HEAD_SHARE}]
    adam = torch.optim.AdamW(groups, lr=plan.adam_lr, betas=(0.9, 0.98), weight_decay=0.0)
    return Muon(blocks, plan.muon_lr), adam
