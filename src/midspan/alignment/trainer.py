"""A transformers Trainer whose loss is an alignment objective."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from midspan.alignment.config import AlignmentConfig
from midspan.alignment.objective import mosa_loss
from midspan.alignment.samples import AlignmentSample
from midspan.engine.journal import write_jsonl
from midspan.models import DiffusionLM

METRICS_FILE = "metrics.jsonl"


class Collator:
    """Samples to one left-padded batch whose canvas is fully masked."""

    def __init__(self, lm: DiffusionLM, response_length: int) -> None:
        assert lm.tokens.mask is not None
        self.canvas = [lm.tokens.mask] * response_length
        self.pad = lm.tokens.pad

    def __call__(self, samples: Sequence[AlignmentSample]) -> dict[str, Any]:
        """Batch with ``input_ids`` and ``attention_mask`` [B, T] and the drawn phrase pairs."""
        longest = max(len(sample.prompt_ids) for sample in samples)
        gaps = [longest - len(sample.prompt_ids) for sample in samples]
        ids_BT = [
            [self.pad] * gap + [*sample.prompt_ids, *self.canvas]
            for gap, sample in zip(gaps, samples, strict=True)
        ]
        size = longest + len(self.canvas)
        return {
            "input_ids": torch.tensor(ids_BT),
            "attention_mask": torch.tensor([[0] * gap + [1] * (size - gap) for gap in gaps]),
            "pairs": [sample.pair for sample in samples],
        }


class AlignmentTrainer(Trainer):
    """Trains an adapter; the reference is the same weights with the adapter off."""

    def __init__(
        self,
        lm: DiffusionLM,
        config: AlignmentConfig,
        samples: list[AlignmentSample],
        args: TrainingArguments,
    ) -> None:
        super().__init__(
            model=lm.model,
            args=args,
            train_dataset=samples,
            data_collator=Collator(lm, config.response_length),
            callbacks=[MetricsFile(Path(args.output_dir) / METRICS_FILE)],
        )
        self.remove_callback(PrinterCallback)
        self.lm = lm
        self.config = config
        self.objective_metrics: dict[str, float] = {}

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """One forward pass with the adapter on and one with it off, same masked input."""
        # The trainer may have wrapped the model for several processes; call through the wrapper.
        lm = replace(self.lm, model=model)
        with torch.no_grad(), lm.adapter_disabled():
            reference_BLV = self._log_probabilities(lm, inputs)
        policy_BLV = self._log_probabilities(lm, inputs)
        result = mosa_loss(policy_BLV, reference_BLV, inputs["pairs"], self.config.objective)
        self.objective_metrics = result.metrics
        return result.loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the objective's metrics to a step's own (loss, gradient norm, rate)."""
        metrics = self.objective_metrics if "loss" in logs else {}
        super().log({**logs, **metrics}, start_time)

    def _log_probabilities(self, lm: DiffusionLM, inputs: dict[str, Any]) -> Tensor:
        ids_BT = inputs["input_ids"]
        length = self.config.response_length
        rows_L = torch.arange(ids_BT.shape[1] - length, ids_BT.shape[1], device=ids_BT.device)
        logits_BLV = lm.logits(ids_BT, inputs["attention_mask"], rows=rows_L)
        return logits_BLV.float().log_softmax(-1)


class MetricsFile(TrainerCallback):
    """Writes one JSON line a step; a resumed run rewrites what its checkpoint remembers."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the file from the checkpoint's history."""
        write_jsonl(self.path, [row for row in state.log_history if "reward" in row])

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Append the step that was just logged."""
        row = state.log_history[-1]
        if "reward" in row:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
