"""Where and how transformers' trainer trains."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from accelerate.utils import DistributedType
from transformers import TrainingArguments

from midspan.alignment.config import AlignmentConfig
from midspan.models import DiffusionLM
from midspan.models.placement import is_sharded


def trains_on_cpu(lm: DiffusionLM) -> bool:
    """Whether no GPU takes part; weights that FSDP has yet to shard wait on the CPU."""
    return lm.device.type == "cpu" and not is_sharded()


@contextmanager
def current_device(device: torch.device) -> Iterator[None]:
    """Within the context a GPU is the current one, whose random state checkpoints hold."""
    if device.type != "cuda":
        yield
        return
    with torch.cuda.device(device):
        yield


@dataclass(repr=False)
class OneDevice(TrainingArguments):
    """Arguments of a process that trains in itself alone, however many GPUs it sees.

    Attributes:
        home: The GPU that its model is on, and trains on; under a launcher, and for a model on the
            CPU, transformers says where.
    """

    home: str = "cpu"

    @property
    def n_gpu(self) -> int:
        """At most 1: above, the trainer copies the model to all and multiplies the batch."""
        return min(1, super().n_gpu)

    @cached_property
    def _setup_devices(self) -> torch.device:
        """Transformers takes the first GPU, and makes it the current one."""
        device: torch.device = super()._setup_devices
        home = torch.device(self.home)
        if home.type == "cpu" or self.distributed_state.distributed_type != DistributedType.NO:
            return device
        if home.type == "cuda":
            torch.cuda.set_device(home)
        # Where accelerate moves batches.
        self.distributed_state.device = home
        return home


def training_arguments(
    folder: Path, config: AlignmentConfig, lm: DiffusionLM, track: str, micro: int
) -> TrainingArguments:
    """Arguments of a training in forward passes of ``micro`` prompts."""
    share, on_cpu = config.batch_size // int(os.environ.get("WORLD_SIZE", 1)), trains_on_cpu(lm)
    return OneDevice(
        output_dir=str(folder),
        home=str(lm.device),
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
        save_strategy="no" if config.probes.every else "steps",
        save_steps=max(1, config.num_steps // 4),
        save_total_limit=2,
        seed=config.seed,
        bf16=lm.model.dtype == torch.bfloat16,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
        ddp_find_unused_parameters=False,
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to=track,
    )
