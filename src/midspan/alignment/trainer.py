"""A transformers Trainer whose loss is an alignment objective."""

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object
from peft import get_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from midspan.alignment.config import AlignmentConfig
from midspan.alignment.objectives import SampleLosses, TrainingSample
from midspan.alignment.policy import Collator, Policy
from midspan.alignment.rollouts import Rollouts, unrated
from midspan.errors import MidspanError
from midspan.files import PUBLISHED_FILE, disk, sync_file, write_jsonl
from midspan.models.border import border, write_tensors
from midspan.models.finite import NotFiniteError

METRICS_FILE = "metrics.jsonl"
WEIGHTS_FILE = "adapter_model.safetensors"
SETTINGS_FILE = "adapter_config.json"
# The name that PEFT gives to a model's only adapter.
ADAPTER_NAME = "default"


class Diverged(MidspanError):
    """Training left the numbers, or the limits of its probes.

    Attributes:
        last_good: The last step whose weights may be good.
    """

    def __init__(self, message: str, last_good: int) -> None:
        """An error and the step to go back to."""
        super().__init__(message)
        self.last_good = last_good


@contextmanager
def decoding_after(step: int) -> Iterator[None]:
    """Within the context the weights of a step are decoded with.

    Raises:
        Diverged: Their logits are not finite.
    """
    try:
        yield
    except NotFiniteError as error:
        raise Diverged(
            f"training diverged at step {step}: the logits are not finite", step - 1
        ) from error


class AlignmentTrainer(Trainer):
    """Trains an adapter with an objective; checkpoints hold the adapter alone."""

    def __init__(
        self,
        policy: Policy,
        config: AlignmentConfig,
        samples: list[TrainingSample],
        args: TrainingArguments,
        rollouts: Rollouts | None = None,
    ) -> None:
        super().__init__(
            model=policy,
            args=args,
            train_dataset=samples,
            data_collator=Collator(policy.lm),
            callbacks=[MetricsFile(Path(args.output_dir) / METRICS_FILE)],
        )
        self.remove_callback(PrinterCallback)
        keep_sums_precise(self.accelerator.state)
        self.policy = policy
        self.config = config
        self._rollouts = rollouts
        self._values: dict[str, list[float]] = defaultdict(list)
        self._unrated: list[str] = []

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """The share of this micro-batch in the batch's loss, mean over harmful + over benign.

        Scaled so that the trainer's mean over micro-batches and processes is the batch's loss,
        however the batch is cut.
        """
        if self._rollouts is not None:
            progress = self.state.global_step / self.state.max_steps
            with decoding_after(self.state.global_step):
                completed = self._rollouts(inputs["samples"], progress)
            self._unrated += unrated(completed)
            inputs = self._prepare_inputs(self.data_collator(completed))
        losses: SampleLosses = model(inputs)
        counts = [
            self.config.num_harmful if sample.harmful else self.config.num_benign
            for sample in inputs["samples"]
        ]
        weight_S = 1 / torch.tensor(counts, device=losses.values_S.device)
        pieces = self.args.gradient_accumulation_steps * self.args.world_size
        loss = pieces * (losses.values_S * weight_S).sum()
        for name, values in losses.metrics.items():
            self._values[name] += values.detach().tolist()
        # Where the trainer adds up losses; that of a spread model is on its last device.
        return loss.to(self.args.device)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the objective's metrics, means over the whole batch, to a step's own.

        Raises:
            Diverged: Loss or gradient is not a number; every process sees the same.
            MidspanError: No completion of the step has a reward.
        """
        if "loss" in logs:
            for values in gather_object([dict(self._values)])[1:]:
                for name, more in values.items():
                    self._values[name] += more
            self._check_rated()
            logs = logs | {name: sum(values) / len(values) for name, values in self._values.items()}
            self._values.clear()
            self._check_finite(logs)
        super().log(logs, start_time)

    def _check_rated(self) -> None:
        if self._values.get("reward") == []:
            raise MidspanError(
                f"reward: no completion of step {self.state.global_step} has a verdict: "
                f"{self._unrated[-1]}; the same command continues"
            )
        self._unrated.clear()

    def _check_finite(self, logs: dict[str, float]) -> None:
        step, loss, norm = self.state.global_step, logs["loss"], logs.get("grad_norm", 0.0)
        if math.isfinite(loss) and math.isfinite(norm):
            return
        # The loss is that of the weights before this step: those are broken where it is no number.
        last_good = step - 1 if math.isfinite(loss) else step - 2
        message = f"training diverged at step {step}: loss {loss}, gradient norm {norm}"
        raise Diverged(message, last_good)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the adapter's tensors; the base is never copied."""
        tensors = adapter_tensors(self.policy)
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            write_tensors(tensors, folder / WEIGHTS_FILE)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        remedy = "make room; the same command continues from the last whole checkpoint"
        with border(f"cannot write {folder}", remedy):
            super()._save_checkpoint(model, trial)
            # Sharded optimizers are folders within.
            for path in folder.rglob("*") if self.args.should_save else ():
                if path.is_file():
                    sync_file(path)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_adapter_tensors(self.policy, Path(resume_from_checkpoint))


def keep_sums_precise(state: AcceleratorState) -> None:
    """Under FSDP2 let half precision end at the layers, as autocast does without it.

    accelerate also sums gradients over processes in half precision, and rounds losses and metrics.
    """
    plugin: Any = getattr(state, "fsdp_plugin", None)
    policy = getattr(plugin, "mixed_precision_policy", None)
    if isinstance(policy, MixedPrecisionPolicy):
        plugin.mixed_precision_policy = replace(
            policy, reduce_dtype=torch.float32, output_dtype=torch.float32
        )


def adapter_tensors(policy: Policy) -> dict[str, Tensor]:
    """The adapter under PEFT's names, gathered from all processes; call it on each of them."""
    state = get_peft_model_state_dict(policy.network, save_embedding_layers=False)
    whole = {
        name: tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        for name, tensor in state.items()
    }
    return {name: tensor.detach().cpu().contiguous() for name, tensor in whole.items()}


def load_adapter_tensors(policy: Policy, folder: Path) -> None:
    """Put a checkpoint's adapter into the policy, whose weights may be sharded."""
    stored = load_file(folder / WEIGHTS_FILE)
    for name, weight in policy.network.named_parameters():
        whole = stored.get(name.replace(f".{ADAPTER_NAME}", ""))
        if whole is None:
            continue
        if isinstance(weight, DTensor):
            whole = distribute_tensor(
                whole.to(weight.device), weight.device_mesh, weight.placements
            )
        with torch.no_grad():
            weight.copy_(whole)


class MetricsFile(TrainerCallback):
    """Writes one JSON line a step; a resumed run rewrites what its checkpoint remembers.

    Keys are sorted, as a checkpoint has them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the file from the checkpoint's history."""
        if state.is_world_process_zero:
            rows = (dict(sorted(row.items())) for row in state.log_history if "loss" in row)
            write_jsonl(self.path, rows, PUBLISHED_FILE)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Append the step that was just logged."""
        row = state.log_history[-1]
        if "loss" in row and state.is_world_process_zero:
            with disk("cannot write", self.path), self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, sort_keys=True) + "\n")
