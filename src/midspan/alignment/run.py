"""Run one alignment: model and data in, adapter folder out."""

import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors.torch import save_file
from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from midspan.alignment.card import CARD_FILE, adapter_card
from midspan.alignment.config import AlignmentConfig
from midspan.alignment.objectives import Sample
from midspan.alignment.policy import Policy
from midspan.alignment.samples import AlignmentData, draw_samples
from midspan.alignment.trainer import (
    ADAPTER_NAME,
    METRICS_FILE,
    WEIGHTS_FILE,
    AlignmentTrainer,
    Diverged,
    adapter_tensors,
    load_adapter_tensors,
)
from midspan.alignment.watch import Progress, Watch, probe_objective
from midspan.engine.journal import key_of, write_atomic
from midspan.errors import MidspanError
from midspan.models import DiffusionLM

RECIPE_FILE = "midspan.json"
# Prompts of each kind that a probe looks at.
NUM_PROBED = 4


@dataclass(frozen=True)
class AlignmentResult:
    """A finished adapter.

    Attributes:
        folder: Holds the PEFT adapter, its card, ``midspan.json`` and ``metrics.jsonl``.
        seconds: Wall time of the part that ran in this call; 0 when it was already finished.
        stopped: Why training ended early with an older adapter kept; empty when it ran through.
    """

    folder: Path
    seconds: float
    stopped: str = ""

    def metrics(self) -> list[dict[str, Any]]:
        """One row a step, as the trainer logged it."""
        lines = (self.folder / METRICS_FILE).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


def align(
    lm: DiffusionLM,
    data: AlignmentData,
    config: AlignmentConfig,
    folder: str | Path,
    progress: Progress | None = None,
    track: str = "none",
) -> AlignmentResult:
    """Train an adapter; the same call continues where an interrupted one stopped.

    The model is left as it was: the adapter lives in ``folder`` alone. Under ``accelerate launch``
    every process makes the same call.

    Args:
        progress: Told of every step.
        track: Where transformers reports the metrics too: "trackio", "wandb" or "tensorboard".

    Raises:
        MidspanError: Bad data (see ``draw_samples``), a model that has an adapter already, a
            folder that belongs to another recipe or cannot be written, or training that diverged
            before its first checkpoint.
    """
    folder = Path(folder)
    samples = draw_samples(lm, data, config)
    recipe = _recipe(lm, data, config)
    state = PartialState(cpu=lm.device.type == "cpu")
    with state.main_process_first():
        finished = _finished(folder, recipe, writes=state.is_main_process)
    if finished is not None:
        return finished
    started = time.monotonic()
    arguments = _arguments(folder, config, lm, track)
    with _adapted(lm, config) as adapted:
        policy = Policy(adapted, config.objective)
        trainer = AlignmentTrainer(policy, config, samples, arguments)
        if progress is not None:
            trainer.add_callback(_Report(progress))
        if config.watch.every:
            trainer.add_callback(Watch(policy, _probed(lm, data, config), config, folder))
        stopped = _train(trainer, policy, folder)
        tensors = adapter_tensors(policy)
        if state.is_main_process:
            _save(policy, tensors, folder)
    if state.is_main_process:
        write_atomic(folder / CARD_FILE, adapter_card(lm, data, config, stopped))
        seconds = time.monotonic() - started
        outcome = {"finished": True, "stopped": stopped, "seconds": seconds}
        write_atomic(folder / RECIPE_FILE, json.dumps(recipe | outcome, indent=1))
        for checkpoint in folder.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
    state.wait_for_everyone()
    return AlignmentResult(folder, time.monotonic() - started, stopped)


def _train(trainer: AlignmentTrainer, policy: Policy, folder: Path) -> str:
    """Train to the end, or to where it diverged; then the last good adapter is back in place."""
    try:
        trainer.train(resume_from_checkpoint=_last_checkpoint(folder))
    except Diverged as error:
        checkpoint = _last_checkpoint(folder)
        if checkpoint is None:
            raise MidspanError(
                f"{error}; there was no checkpoint yet, so no adapter was kept: "
                "lower learning_rate, or set watch.every"
            ) from error
        load_adapter_tensors(policy, Path(checkpoint))
        return f"{error}; the adapter of step {checkpoint.rsplit('-', 1)[1]} was kept"
    return ""


def _probed(lm: DiffusionLM, data: AlignmentData, config: AlignmentConfig) -> list[Sample]:
    """A few training prompts of each kind, on clean canvases."""
    rng = random.Random(f"probe/{config.seed}")
    few = replace(
        data,
        harmful=tuple(rng.sample(data.harmful, min(NUM_PROBED, len(data.harmful)))),
        benign=tuple(rng.sample(data.benign, min(NUM_PROBED, len(data.benign)))),
    )
    share = 0.5 if config.num_benign else 0.0
    wanted = {
        "objective": probe_objective(config),
        "benign_share": share,
        "batch_size": NUM_PROBED * (2 if share else 1),
        "micro_batch_size": None,
        "num_prompts": NUM_PROBED,
    }
    return draw_samples(lm, few, config.model_copy(update=wanted))


class _Report(TrainerCallback):
    """Tells a caller's progress bar about every step."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        row = state.log_history[-1]
        if "loss" in row:  # The last row sums up the run.
            self.progress(state.global_step, state.max_steps, row)


def _recipe(lm: DiffusionLM, data: AlignmentData, config: AlignmentConfig) -> dict[str, Any]:
    """What must be equal for a folder to be continued."""
    return {
        "config": config.model_dump(mode="json"),
        "base": lm.fingerprint,
        "data": key_of(
            harmful=[asdict(example) for example in data.harmful],
            benign=[asdict(example) for example in data.benign],
            safe=data.phrases.safe,
            procedural=data.phrases.procedural,
        ),
    }


def _finished(folder: Path, recipe: dict[str, Any], *, writes: bool) -> AlignmentResult | None:
    """Check that the folder is ours and writable; record the recipe on the first visit."""
    path = folder / RECIPE_FILE
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            found = {}
        if {key: found.get(key) for key in recipe} != recipe:
            raise MidspanError(
                f"{folder} holds an adapter of another recipe, base or data set; "
                "choose another -o folder or delete it"
            )
        return AlignmentResult(folder, 0.0, found["stopped"]) if found.get("finished") else None
    if any(folder.glob("checkpoint-*")):
        raise MidspanError(
            f"{folder} holds checkpoints of another program; choose another -o folder"
        )
    if writes:
        try:
            write_atomic(path, json.dumps(recipe | {"finished": False}, indent=1))
        except OSError as error:
            raise MidspanError(f"cannot write to {folder}: {error.strerror}") from error
    return None


def _last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint whose last-written file is whole; torn ones are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for checkpoint in reversed(found):
        try:
            json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            shutil.rmtree(checkpoint)
        else:
            return str(checkpoint)
    return None


@contextmanager
def _adapted(lm: DiffusionLM, config: AlignmentConfig) -> Iterator[DiffusionLM]:
    """The model with a fresh adapter; afterwards the network is as it was before."""
    from peft import LoraConfig, get_peft_model

    base = lm.model
    if hasattr(base, "peft_config"):
        raise MidspanError(f"{lm.name} has an adapter already; merge it or align its base")
    was_training = base.training
    trainable = [weight for weight in base.parameters() if weight.requires_grad]
    torch.manual_seed(config.seed)
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=list(lm.family.lora_targets),
    )
    policy = get_peft_model(base, lora)
    try:
        yield replace(lm, model=policy)
    finally:
        policy.unload()
        base.train(was_training)
        for weight in trainable:
            weight.requires_grad_(True)
        if config.gradient_checkpointing:
            base.activation_checkpointing_disable()


def _save(policy: Policy, tensors: dict[str, torch.Tensor], folder: Path) -> None:
    """Write the adapter under its base's name, the same bytes in every process.

    PEFT lists its modules unsorted, and names the folder that the base was read from.
    """
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    policy.network.peft_config[ADAPTER_NAME].save_pretrained(folder)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["target_modules"].sort()
    config["base_model_name_or_path"] = policy.lm.name
    config["inference_mode"] = True
    write_atomic(path, json.dumps(config, indent=2, sort_keys=True))


def _arguments(
    folder: Path, config: AlignmentConfig, lm: DiffusionLM, track: str
) -> TrainingArguments:
    share, left = divmod(config.batch_size, int(os.environ.get("WORLD_SIZE", 1)))
    micro = config.micro_batch_size or share
    if left or share % micro:
        raise MidspanError(
            f"batch_size {config.batch_size} cannot be cut into micro-batches of {micro} for "
            f"{os.environ.get('WORLD_SIZE', 1)} processes; choose a multiple"
        )
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=config.num_steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=share // micro,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.lr_scheduler,
        warmup_steps=round(config.num_steps * config.warmup_ratio),
        max_grad_norm=config.max_grad_norm,
        weight_decay=0.0,
        activation_checkpointing=config.gradient_checkpointing,
        train_sampling_strategy="sequential",
        logging_steps=1,
        logging_nan_inf_filter=False,
        # Where probes decide which state is good, they ask for the checkpoints.
        save_strategy="no" if config.watch.every else "steps",
        save_steps=max(1, config.num_steps // 4),
        save_total_limit=2,
        seed=config.seed,
        bf16=lm.model.dtype == torch.bfloat16,
        use_cpu=lm.device.type == "cpu",
        dataloader_pin_memory=lm.device.type == "cuda",
        ddp_find_unused_parameters=False,
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to=track,
    )
