"""One training in this process: its arguments, its memory, its checkpoints, its adapter."""

import gc
import json
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from midspan.alignment.arguments import current_device, training_arguments
from midspan.alignment.casts import leave_casts_to_autocast
from midspan.alignment.config import AlignmentConfig
from midspan.alignment.objectives import RecoveryObjective, TrainingSample
from midspan.alignment.policy import Policy
from midspan.alignment.rollouts import Rollouts
from midspan.alignment.samples import AlignmentData
from midspan.alignment.trainer import (
    ADAPTER_NAME,
    SETTINGS_FILE,
    WEIGHTS_FILE,
    AlignmentTrainer,
    Diverged,
    adapter_tensors,
    load_adapter_tensors,
)
from midspan.alignment.training_probes import ProbeCallback, Progress, probed_samples
from midspan.errors import MidspanError, not_one_of
from midspan.files import PUBLISHED_FILE, read_json, write_atomic
from midspan.models import DiffusionLM
from midspan.models.border import border, write_tensors
from midspan.models.placement import is_spread

# Of `torch.compile`.
COMPILER = "inductor"
TRACKERS = ("trackio", "wandb", "tensorboard")


def check_tracker(track: str) -> None:
    """Check that transformers can report there.

    Raises:
        MidspanError: No tracker is called so, or it is not installed.
    """
    if track == "none":
        return
    if track not in TRACKERS:
        raise not_one_of("track", track, ("none", *TRACKERS))
    if find_spec(track) is None:
        raise MidspanError(f"track: {track} is not installed; pip install {track}")


@dataclass(frozen=True)
class AlignmentJob:
    """What training needs, however its batches are cut."""

    lm: DiffusionLM
    data: AlignmentData
    config: AlignmentConfig
    samples: list[TrainingSample]
    folder: Path
    progress: Progress | None
    track: str

    def train(self, micro: int) -> str | None:
        """Train in forward passes of ``micro`` prompts, and write the adapter.

        Returns:
            Why training ended early, empty where it ran through; None where it ran out of memory.
        """
        lm, config, folder = self.lm, self.config, self.folder
        with current_device(lm.device), _adapted(lm, config) as adapted:
            policy = Policy(adapted, config.objective)
            arguments = training_arguments(folder, config, lm, self.track, micro)
            rollouts = self._rollouts(adapted)
            trainer = AlignmentTrainer(policy, config, self.samples, arguments, rollouts)
            if self.progress is not None:
                trainer.add_callback(_Report(self.progress))
            if config.probes.every:
                probed = probed_samples(lm, self.data, config)
                trainer.add_callback(ProbeCallback(policy, probed, config, folder))
            try:
                stopped = _train(trainer, policy, folder)
            except torch.OutOfMemoryError:
                return None
            tensors = adapter_tensors(policy)
            if PartialState().is_main_process:
                _save(policy, tensors, folder)
        return stopped

    def _rollouts(self, adapted: DiffusionLM) -> Rollouts | None:
        """What completes canvases in training, where the objective wants that."""
        objective, reward = self.config.objective, self.data.reward
        if not isinstance(objective, RecoveryObjective):
            return None
        assert reward is not None, "check_data has seen to it"
        return Rollouts(adapted, objective, reward, self.config.response_length)


def check_dtype(name: str, dtype: torch.dtype | None) -> None:
    """Check that a base of this number format trains.

    Raises:
        MidspanError: It is float16, in which small gradients are zero and large ones infinite.
    """
    if dtype == torch.float16:
        raise MidspanError(
            f"{name} is in float16, which overflows in training: load it with "
            "dtype='bfloat16' (--dtype bfloat16)"
        )


def check_placement(lm: DiffusionLM) -> None:
    """Check that training can run where the model is.

    Raises:
        MidspanError: Parts of it are off the GPUs, or each of several processes would spread it.
    """
    if not is_spread(lm.base):
        return
    places = set(map(str, lm.base.hf_device_map.values()))
    if places & {"cpu", "disk"}:
        raise MidspanError(
            f"device_map put parts of {lm.name} on {', '.join(sorted(places & {'cpu', 'disk'}))}, "
            "and they do not train there: quantization, or FSDP (docs/scaling.md)"
        )
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise MidspanError(
            f"device_map spread {lm.name} over {len(places)} devices, which trains in one process: "
            "start no launcher, or leave device_map out"
        )


def check_processes(config: AlignmentConfig) -> None:
    """Check that the recipe trains in as many processes as there are.

    Raises:
        MidspanError: A batch cannot be cut for them, or several processes would complete canvases,
            by weights that may be sharded.
    """
    first_micro_batch(config)
    is_alone = int(os.environ.get("WORLD_SIZE", 1)) == 1
    if isinstance(config.objective, RecoveryObjective) and not is_alone:
        raise MidspanError("objective: recovery trains in one process; start no launcher")


def first_micro_batch(config: AlignmentConfig) -> int:
    """Prompts of a forward pass, before memory has its say."""
    processes = int(os.environ.get("WORLD_SIZE", 1))
    share, left = divmod(config.batch_size, processes)
    micro = config.micro_batch_size or share
    if left or share % micro:
        raise MidspanError(
            f"batch_size {config.batch_size} cannot be cut into micro-batches of {micro} for "
            f"{processes} processes; choose a multiple"
        )
    return micro


def after_out_of_memory(config: AlignmentConfig, micro: int) -> int:
    """The next smaller cut of a batch, with what the failed one held given back."""
    # Processes that still have memory wait for those that have none.
    if micro == 1 or int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise MidspanError(
            f"out of memory with {micro} prompts a forward pass: lower micro_batch_size, or set "
            "gradient_checkpointing, or load the base in 4 bits (docs/scaling.md)"
        )
    smaller = next(size for size in range(micro // 2, 0, -1) if config.batch_size % size == 0)
    warnings.warn(f"out of memory: going on with micro_batch_size={smaller}", stacklevel=4)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return smaller


def _train(trainer: AlignmentTrainer, policy: Policy, folder: Path) -> str:
    """Train to the end, or to where it diverged; then the last good adapter is back in place."""
    try:
        trainer.train(resume_from_checkpoint=_last_checkpoint(folder))
    except Diverged as error:
        checkpoint = _last_checkpoint(folder, error.last_good)
        if checkpoint is None:
            more = "" if trainer.config.probes.every else ", or set probes.every"
            raise MidspanError(
                f"{error}; there was no good checkpoint yet, so no adapter was kept: "
                f"lower learning_rate{more}"
            ) from error
        load_adapter_tensors(policy, Path(checkpoint))
        return f"{error}; the adapter of step {checkpoint.rsplit('-', 1)[1]} was kept"
    return ""


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


def _last_checkpoint(folder: Path, up_to: float = math.inf) -> str | None:
    """The newest checkpoint whose last-written file is whole.

    Torn ones stay, since every process looks here: training comes to their step and writes them
    anew.

    Args:
        folder: Of the adapter.
        up_to: The last step whose checkpoint may be taken.
    """
    found = [(path.name.partition("-")[2], path) for path in folder.glob("checkpoint-*")]
    numbered = [(int(step), path) for step, path in found if step.isdecimal()]
    for step, checkpoint in sorted(numbered, reverse=True):
        if step > up_to:
            continue
        try:
            read_json(checkpoint / "trainer_state.json")
        except MidspanError:
            continue
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
    leave_casts_to_autocast(policy)
    layers = base.model.layers if config.compiled else ()
    for layer in layers:
        layer.compile(dynamic=True, backend=COMPILER)
    try:
        yield replace(lm, model=policy)
    finally:
        for layer in layers:
            layer._compiled_call_impl = None
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
    write_tensors(tensors, folder / WEIGHTS_FILE)
    path = folder / SETTINGS_FILE
    with border(f"cannot write {path}"):
        policy.network.peft_config[ADAPTER_NAME].save_pretrained(folder)
    config = read_json(path)
    config["target_modules"].sort()
    config["base_model_name_or_path"] = policy.lm.name
    config["inference_mode"] = True
    write_atomic(path, json.dumps(config, indent=2, sort_keys=True), PUBLISHED_FILE)
