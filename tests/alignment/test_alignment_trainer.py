"""What the model sees: left-padded prompts before a canvas that is masked throughout."""

from types import SimpleNamespace

import pytest
import torch

from midspan.alignment import AlignmentData, align, mosa, mosa_stable
from midspan.alignment.objectives import TrainingCanvas, TrainingSample
from midspan.alignment.policy import Collator, Policy
from midspan.alignment.samples import draw_samples
from midspan.alignment.scores import ResponseStates
from midspan.alignment.trainer import keep_sums_precise
from midspan.errors import MidspanError
from midspan.organism.training_data import alignment_data


def test_a_batch_is_padded_on_the_left(organism_lm):
    mask, pad = organism_lm.tokens.mask, organism_lm.tokens.pad
    canvases = [
        TrainingCanvas((1, 4), (mask, mask, 7)),
        TrainingCanvas((1, 4, 9, 5), (mask, 8, mask)),
    ]
    samples = [TrainingSample((canvas,), harmful=True) for canvas in canvases]
    batch = Collator(organism_lm)(samples)
    assert batch["input_ids"].tolist() == [
        [pad, pad, 1, 4, mask, mask, 7],
        [1, 4, 9, 5, mask, 8, mask],
    ]
    assert batch["attention_mask"].tolist() == [[0, 0, 1, 1, 1, 1, 1], [1] * 7]
    assert batch["masked"].tolist() == [[True, True, False], [True, False, True]]
    assert batch["samples"] == samples


def test_the_first_step_scores_the_model_as_each_prompt_alone_does(organism_lm, tmp_path):
    examples = alignment_data(num_harmful=8, num_benign=0)
    data = AlignmentData(examples.harmful, (), examples.phrases)
    config = mosa(num_prompts=4, batch_size=4)
    samples = draw_samples(organism_lm, data, config)
    canvases = [sample.canvases[0] for sample in samples]
    with torch.no_grad():
        rows = [
            organism_lm.hidden(torch.tensor([[*canvas.prompt_ids, *canvas.response_ids]]))
            for canvas in canvases
        ]
    hidden_BLD = torch.cat([row[:, -config.response_length :] for row in rows])
    masked_BL = torch.ones(hidden_BLD.shape[:2], dtype=torch.bool)
    head = organism_lm.base.lm_head.weight.detach()
    states = ResponseStates(hidden_BLD, hidden_BLD, head, masked_BL)
    expected = config.objective.losses(states, samples)
    assert len({len(canvas.prompt_ids) for canvas in canvases}) > 1
    (first,) = align(organism_lm, data, config, tmp_path).metrics()
    assert first["loss"] == pytest.approx(expected.values_S.mean().item(), rel=1e-4)
    for name in ("reward", "reward_safe", "reward_harmful", "position"):
        assert first[name] == pytest.approx(expected.metrics[name].mean().item(), rel=1e-4)


def test_micro_batches_change_nothing_but_rounding(organism_lm, tmp_path):
    data = alignment_data(num_harmful=8, num_benign=8)
    rows = {}
    for micro in (None, 2):
        config = mosa_stable(
            num_prompts=8, batch_size=8, micro_batch_size=micro, learning_rate=1e-3
        )
        rows[micro] = align(organism_lm, data, config, tmp_path / str(micro)).metrics()
    for one, other in zip(rows[None], rows[2], strict=True):
        assert one.keys() == other.keys()
        assert one == pytest.approx(other, rel=2e-4, abs=1e-5)


def short_of_memory(monkeypatch, rows):
    """A device on which no more than ``rows`` rows of training fit."""
    honest = Policy.forward

    def forward(self, batch, *args):
        if len(batch["input_ids"]) > rows:
            raise torch.OutOfMemoryError("no more")
        return honest(self, batch, *args)

    monkeypatch.setattr(Policy, "forward", forward)


def test_a_lack_of_memory_is_answered_by_smaller_forward_passes(organism_lm, tmp_path, monkeypatch):
    data = alignment_data(num_harmful=8, num_benign=8)
    config = mosa_stable(num_prompts=8, batch_size=8, learning_rate=1e-3)
    whole = align(organism_lm, data, config, tmp_path / "whole").metrics()
    short_of_memory(monkeypatch, 2)
    with pytest.warns(UserWarning, match="out of memory: going on with micro_batch_size=2"):
        rows = align(organism_lm, data, config, tmp_path / "short").metrics()
    for one, other in zip(whole, rows, strict=True):
        assert one == pytest.approx(other, rel=2e-4, abs=1e-5)


def test_where_not_even_one_prompt_fits_the_message_says_what_to_do(
    organism_lm, tmp_path, monkeypatch
):
    short_of_memory(monkeypatch, 0)
    data = alignment_data(num_harmful=8, num_benign=8)
    with (
        pytest.warns(UserWarning, match="micro_batch_size=1"),
        pytest.raises(MidspanError, match="out of memory with 1 prompts .*gradient_checkpointing"),
    ):
        align(organism_lm, data, mosa_stable(num_prompts=8, batch_size=8), tmp_path)
    assert not hasattr(organism_lm.model, "peft_config")


def test_fsdp_in_half_precision_sums_and_reports_in_single(monkeypatch):
    """accelerate's policy has all three in bfloat16: a loss of 107.37 is 107.5 there."""
    from accelerate.utils import FullyShardedDataParallelPlugin

    plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    plugin.set_mixed_precision("bf16")
    assert plugin.mixed_precision_policy.reduce_dtype is torch.bfloat16
    keep_sums_precise(SimpleNamespace(fsdp_plugin=plugin))
    policy = plugin.mixed_precision_policy
    assert (policy.param_dtype, policy.reduce_dtype, policy.output_dtype) == (
        torch.bfloat16,
        torch.float32,
        torch.float32,
    )
    keep_sums_precise(SimpleNamespace())
