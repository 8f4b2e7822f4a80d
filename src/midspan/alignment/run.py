"""Run one alignment: model and data in, adapter folder out."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from midspan.alignment.card import adapter_card
from midspan.alignment.config import AlignmentConfig
from midspan.alignment.samples import AlignmentData, draw_samples
from midspan.alignment.trainer import METRICS_FILE, AlignmentTrainer
from midspan.engine.journal import key_of, write_atomic
from midspan.errors import MidspanError
from midspan.models import DiffusionLM

Progress = Callable[[int, int, dict[str, float]], None]
RECIPE_FILE = "midspan.json"


@dataclass(frozen=True)
class AlignmentResult:
    """A finished adapter.

    Attributes:
        folder: Holds the PEFT adapter, its card, ``midspan.json`` and ``metrics.jsonl``.
        seconds: Wall time of the part that ran in this call; 0 when it was already finished.
    """

    folder: Path
    seconds: float

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
) -> AlignmentResult:
    """Train an adapter; the same call continues where an interrupted one stopped.

    The model is left as it was: the adapter lives in ``folder`` alone.

    Raises:
        MidspanError: Bad data (see ``draw_samples``), a model that has an adapter already, or a
            folder that belongs to another recipe or cannot be written.
    """
    folder = Path(folder)
    samples = draw_samples(lm, data, config)
    recipe = _recipe(lm, data, config)
    if _is_finished(folder, recipe):
        return AlignmentResult(folder, 0.0)
    started = time.monotonic()
    with _adapted(lm, config) as policy:
        trainer = AlignmentTrainer(policy, config, samples, _arguments(folder, config, policy))
        trainer.remove_callback(PrinterCallback)
        if progress is not None:
            trainer.add_callback(_Report(progress))
        trainer.train(resume_from_checkpoint=_last_checkpoint(folder))
        _save(policy, folder)
    write_atomic(folder / "README.md", adapter_card(lm, data, config))
    write_atomic(folder / RECIPE_FILE, json.dumps(recipe | {"finished": True}, indent=1))
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    return AlignmentResult(folder, time.monotonic() - started)


class _Report(TrainerCallback):
    """Tells a caller's progress bar about every step."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        row = state.log_history[-1]
        if "reward" in row:  # The last row sums up the run.
            self.progress(state.global_step, state.max_steps, row)


def _recipe(lm: DiffusionLM, data: AlignmentData, config: AlignmentConfig) -> dict[str, Any]:
    """What must be equal for a folder to be continued."""
    return {
        "config": config.model_dump(mode="json"),
        "base": lm.fingerprint,
        "data": key_of(
            harmful=data.harmful,
            benign=data.benign,
            safe=data.phrases.safe,
            procedural=data.phrases.procedural,
        ),
    }


def _is_finished(folder: Path, recipe: dict[str, Any]) -> bool:
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
        return bool(found.get("finished"))
    if any(folder.glob("checkpoint-*")):
        raise MidspanError(
            f"{folder} holds checkpoints of another program; choose another -o folder"
        )
    try:
        write_atomic(path, json.dumps(recipe | {"finished": False}, indent=1))
    except OSError as error:
        raise MidspanError(f"cannot write to {folder}: {error.strerror}") from error
    return False


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


def _save(policy: DiffusionLM, folder: Path) -> None:
    """Write the adapter under its base's name, the same bytes in every process.

    PEFT lists its modules unsorted, and names the folder that the base was read from.
    """
    policy.model.save_pretrained(folder)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["target_modules"].sort()
    config["base_model_name_or_path"] = policy.name
    write_atomic(path, json.dumps(config, indent=2, sort_keys=True))


def _arguments(folder: Path, config: AlignmentConfig, lm: DiffusionLM) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=config.num_steps,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.lr_scheduler,
        warmup_steps=round(config.num_steps * config.warmup_ratio),
        max_grad_norm=config.max_grad_norm,
        weight_decay=0.0,
        activation_checkpointing=config.gradient_checkpointing,
        train_sampling_strategy="sequential",
        logging_steps=1,
        save_steps=max(1, config.num_steps // 4),
        save_total_limit=2,
        seed=config.seed,
        bf16=lm.model.dtype == torch.bfloat16,
        use_cpu=lm.device.type == "cpu",
        dataloader_pin_memory=lm.device.type == "cuda",
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to="none",
    )
