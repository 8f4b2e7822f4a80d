"""A quick look at the model every few steps, so that a collapse is seen while it happens."""

import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from midspan.alignment.config import AlignmentConfig
from midspan.alignment.objectives import TrainingSample
from midspan.alignment.policy import Collator, Policy
from midspan.alignment.probe_recipe import NUM_PROBED, probe_recipe
from midspan.alignment.samples import AlignmentData, draw_samples
from midspan.alignment.trainer import Diverged, decoding_after
from midspan.files import disk, parse_json, read_text, write_jsonl
from midspan.models import DiffusionLM

PROBES_FILE = "probes.jsonl"
Progress = Callable[[int, int, dict[str, Any]], None]


class ProbeCallback(TrainerCallback):
    """Measures a few training prompts on clean canvases, whatever the objective is.

    ``refusal`` is the best log-probability of a refusal in the window (nats), ``benign_kl`` the
    divergence from the reference (nats per token), ``harmful`` and ``benign`` a decoded response
    to each kind of prompt (not where weights are sharded). A probe within the limit asks for a
    checkpoint, so the newest checkpoint is always the last good one.
    """

    def __init__(
        self,
        policy: Policy,
        samples: Sequence[TrainingSample],
        config: AlignmentConfig,
        folder: Path,
    ) -> None:
        self.policy = policy
        self.config = config
        self.path = folder / PROBES_FILE
        self.samples = samples
        has_benign = not all(sample.harmful for sample in samples)
        self.objective = probe_recipe(config, has_benign=has_benign).objective
        self.batch = Collator(policy.lm)(samples)
        self.best_refusal = -math.inf

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Keep the probes up to the checkpoint that training continues from."""
        rows = [row for row in self._rows() if row["step"] <= state.global_step]
        self.best_refusal = max((row["refusal"] for row in rows), default=-math.inf)
        if state.is_world_process_zero:
            write_jsonl(self.path, rows)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: torch.nn.Module | None = None,
        **_: Any,
    ) -> None:
        """Probe every ``probes.every`` steps, and the last one, whose weights are kept.

        Raises:
            Diverged: The benign KL is above its limit, the refusal fell too far, or what is
                measured is not finite.
        """
        step = state.global_step
        if step % self.config.probes.every and step != state.max_steps:
            return
        with _in_evaluation(model):
            row = self._look(step, model)
        if state.is_world_process_zero:
            with disk("cannot write", self.path), self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        fault = self._fault(row)
        if fault:
            raise Diverged(f"training {fault}", step - 1)
        control.should_save = True

    def _look(self, step: int, model: Any) -> dict[str, Any]:
        """A probe's row; weights that are broken are not decoded with."""
        measured = self._measure(model)
        if not all(map(math.isfinite, measured.values())):
            shown = ", ".join(f"{name} {value}" for name, value in measured.items())
            raise Diverged(f"training diverged at step {step}: {shown}", step - 1)
        with decoding_after(step):
            return {"step": step, **measured, **self._decoded()}

    def _rows(self) -> list[dict[str, Any]]:
        """What an interrupted run wrote; its last line may be torn."""
        lines = read_text(self.path).split("\n") if self.path.is_file() else [""]
        return [parse_json(line, self.path) for line in lines[:-1]]

    def _fault(self, row: dict[str, Any]) -> str:
        """What is wrong with a probe, or nothing; the best refusal so far is kept."""
        max_kl, max_drop = self.config.probes.max_benign_kl, self.config.probes.max_refusal_drop
        step = row["step"]
        if max_kl is not None and row["benign_kl"] > max_kl:
            return (
                f"left the benign behavior at step {step}: KL {row['benign_kl']:.3f} nats per "
                f"token, limit {max_kl}"
            )
        self.best_refusal = max(self.best_refusal, row["refusal"])
        drop = self.best_refusal - row["refusal"]
        if max_drop is not None and drop > max_drop:
            return (
                f"lost its refusal at step {step}: {drop:.1f} nats below the best probe, "
                f"limit {max_drop}"
            )
        return ""

    def _measure(self, model: Any) -> dict[str, float]:
        """Refusal in the window and benign KL; through the wrapped model, for sharded weights."""
        inputs = {
            name: value.to(self.policy.device) if isinstance(value, torch.Tensor) else value
            for name, value in self.batch.items()
        }
        with torch.no_grad():
            metrics = model(inputs, self.objective).metrics
        names = {"reward_safe": "refusal", "position": "position", "kl_benign": "benign_kl"}
        return {new: metrics[old].mean().item() for old, new in names.items() if old in metrics}

    def _decoded(self) -> dict[str, str]:
        from midspan.decoding import Request, decode, decoding_config

        if any(isinstance(weight, DTensor) for weight in self.policy.parameters()):
            return {}
        length, steps = self.config.response_length, self.config.probes.steps
        if self.policy.lm.block_length is None:
            config = decoding_config(length=length, block_length=None, steps=steps)
        else:
            config = decoding_config(self.policy.lm, length=length)
        shown = {("harmful" if sample.harmful else "benign"): sample for sample in self.samples}
        requests = [Request(sample.canvases[0].prompt_ids) for sample in shown.values()]
        generations = decode(self.policy.lm, requests, config)
        return {name: one.text for name, one in zip(shown, generations, strict=True)}


@contextmanager
def _in_evaluation(model: Any) -> Iterator[None]:
    """Within the context there is no dropout, whose random numbers would change the training."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def probed_samples(
    lm: DiffusionLM, data: AlignmentData, config: AlignmentConfig
) -> list[TrainingSample]:
    """A few training prompts of each kind, on clean canvases."""
    rng = random.Random(f"probe/{config.seed}")
    few = replace(
        data,
        harmful=tuple(rng.sample(data.harmful, min(NUM_PROBED, len(data.harmful)))),
        benign=tuple(rng.sample(data.benign, min(NUM_PROBED, len(data.benign)))),
    )
    return draw_samples(lm, few, probe_recipe(config, has_benign=bool(data.benign)))
