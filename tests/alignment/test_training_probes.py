"""Probes during training, and what happens when training leaves the road."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from test_alignment_run import DATA, STEPS, Killed, config, kill_at

from midspan.alignment import AlignmentConfig, MosaObjective, TrainingProbes, align
from midspan.alignment.training_probes import ProbeCallback
from midspan.errors import MidspanError
from midspan.models import family_for
from midspan.models.finite import NotFiniteError


def probes(folder):
    return [json.loads(line) for line in (folder / "probes.jsonl").read_text().splitlines()]


def probed(**changes):
    fields = {"probes": TrainingProbes(every=2, steps=8), "learning_rate": 2e-2}
    return config(**fields | changes)


def adapter(folder):
    return load_file(folder / "adapter_model.safetensors")


def test_probes_see_the_refusal_grow_and_show_what_the_model_says(organism_lm, tmp_path):
    align(organism_lm, DATA, probed(), tmp_path)
    rows = probes(tmp_path)
    assert [row["step"] for row in rows] == [2, 4, 6, 8]
    assert rows[-1]["refusal"] > rows[0]["refusal"]
    assert all(4 <= row["position"] <= 10 and row["benign_kl"] > 0 for row in rows)
    assert all(isinstance(row["harmful"], str) and isinstance(row["benign"], str) for row in rows)


@pytest.mark.parametrize(("every", "steps"), [(3, [3, 6, 8]), (100, [8])])
def test_the_last_step_is_probed_whatever_lies_between_probes(organism_lm, tmp_path, every, steps):
    align(organism_lm, DATA, probed(probes=TrainingProbes(every=every, steps=8)), tmp_path)
    assert [row["step"] for row in probes(tmp_path)] == steps


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_probing_changes_nothing(organism_lm, tmp_path, dropout):
    align(organism_lm, DATA, probed(lora_dropout=dropout), tmp_path / "probed")
    recipe = config(learning_rate=2e-2, lora_dropout=dropout)
    align(organism_lm, DATA, recipe, tmp_path / "alone")
    one, other = (tmp_path / name / "adapter_model.safetensors" for name in ("probed", "alone"))
    assert one.read_bytes() == other.read_bytes()


def test_a_sample_is_decoded_without_dropout(organism_lm, tmp_path, monkeypatch):
    honest, modes = ProbeCallback._decoded, []

    def noted(self):
        modes.append({module.training for module in self.policy.modules()})
        return honest(self)

    monkeypatch.setattr(ProbeCallback, "_decoded", noted)
    align(organism_lm, DATA, probed(lora_dropout=0.3, num_prompts=4), tmp_path)
    assert modes == [{False}]


def slow(**changes):
    return probed(learning_rate=1e-3, lr_scheduler="constant", **changes)


def test_a_probe_over_the_limit_keeps_the_last_good_adapter(organism_lm, tmp_path):
    free = align(organism_lm, DATA, slow(), tmp_path / "free")
    kl = [row["benign_kl"] for row in probes(free.folder)]
    assert kl[0] < kl[1]
    limit = TrainingProbes(every=2, steps=8, max_benign_kl=(kl[0] + kl[1]) / 2)
    stopped = align(organism_lm, DATA, slow(probes=limit), tmp_path / "stopped")
    assert "left the benign behavior at step 4" in stopped.stopped
    assert "the adapter of step 2 was kept" in stopped.stopped
    assert "Training ended early" in (stopped.folder / "README.md").read_text()
    with pytest.raises(Killed):
        align(organism_lm, DATA, slow(), tmp_path / "killed", kill_at(3))
    saved = adapter(tmp_path / "killed" / "checkpoint-2")
    kept = adapter(stopped.folder)
    assert all(torch.equal(saved[key], kept[key]) for key in kept)
    again = align(organism_lm, DATA, slow(probes=limit), tmp_path / "stopped")
    assert (again.stopped, again.seconds) == (stopped.stopped, 0.0)


def test_a_last_step_over_the_limit_is_not_kept(organism_lm, tmp_path, monkeypatch):
    limit = TrainingProbes(every=3, steps=8, max_refusal_drop=10.0)
    refusals(monkeypatch, [-40.0, -20.0, -31.0])
    stopped = align(organism_lm, DATA, slow(probes=limit), tmp_path / "third").stopped
    assert "lost its refusal at step 8" in stopped and "the adapter of step 6 was kept" in stopped
    limit = TrainingProbes(every=100, steps=8, max_benign_kl=0.01)
    refusals(monkeypatch, [-20.0])
    with pytest.raises(MidspanError, match="benign behavior at step 8: .* no adapter was kept"):
        align(organism_lm, DATA, slow(probes=limit), tmp_path / "never")


def papers(**changes):
    """A recipe that learns from harmful prompts alone, as the paper's do."""
    objective = MosaObjective(window=(4, 10), beta=0.01)
    return slow(objective=objective, benign_share=0.0, batch_size=2, **changes)


def test_a_recipe_without_benign_prompts_is_probed_on_those_of_the_data(organism_lm, tmp_path):
    limit = TrainingProbes(every=2, steps=8, max_benign_kl=1e-9)
    with pytest.raises(MidspanError, match="training left the benign behavior at step 2"):
        align(organism_lm, DATA, papers(probes=limit), tmp_path)
    (row,) = probes(tmp_path)
    assert row["benign_kl"] > 1e-9 and isinstance(row["benign"], str)


def test_a_limit_on_benign_prompts_needs_some(organism_lm, tmp_path):
    limit = TrainingProbes(every=2, steps=8, max_benign_kl=0.5)
    harmful_alone = replace(DATA, benign=())
    with pytest.raises(MidspanError, match="probes.max_benign_kl .* give --benign, or leave"):
        align(organism_lm, harmful_alone, papers(probes=limit), tmp_path / "limited")
    assert not (tmp_path / "limited").exists()
    align(organism_lm, harmful_alone, papers(num_prompts=4), tmp_path / "free")
    assert all("benign_kl" not in row for row in probes(tmp_path / "free"))


def refusals(monkeypatch, values):
    """Probes that find these refusals, one after the other."""
    found = iter(values)
    monkeypatch.setattr(
        ProbeCallback, "_measure", lambda *_: {"refusal": next(found), "benign_kl": 0.1}
    )


def test_a_refusal_that_falls_keeps_the_last_good_adapter(organism_lm, tmp_path, monkeypatch):
    limit = TrainingProbes(every=2, steps=8, max_refusal_drop=10.0)
    refusals(monkeypatch, [-40.0, -20.0, -29.0, -31.0])
    stopped = align(organism_lm, DATA, slow(probes=limit), tmp_path).stopped
    assert "lost its refusal at step 8: 11.0 nats below the best probe, limit 10.0" in stopped
    assert "the adapter of step 6 was kept" in stopped


def test_the_best_refusal_outlives_an_interruption(organism_lm, tmp_path, monkeypatch):
    limit = TrainingProbes(every=2, steps=8, max_refusal_drop=10.0)
    refusals(monkeypatch, [-40.0, -20.0])
    with pytest.raises(Killed):
        align(organism_lm, DATA, slow(probes=limit), tmp_path, kill_at(5))
    # A probe whose checkpoint was not written, and one that was cut off.
    with (tmp_path / "probes.jsonl").open("a") as file:
        file.write('{"step": 6, "refusal": -1.0}\n{"step": 8, "ref')
    refusals(monkeypatch, [-29.0, -31.0])
    stopped = align(organism_lm, DATA, slow(probes=limit), tmp_path).stopped
    assert "at step 8" in stopped and "the adapter of step 6 was kept" in stopped
    assert [row["step"] for row in probes(tmp_path)] == [2, 4, 6, 8]


def broken_loss(monkeypatch, step):
    """Losses that are no numbers from a step on."""
    honest, calls = MosaObjective.losses, []

    def broken(self, states, samples):
        calls.append(1)
        losses = honest(self, states, samples)
        if len(calls) >= step:
            losses.values_S[0] += float("nan")
        return losses

    monkeypatch.setattr(MosaObjective, "losses", broken)


def test_a_loss_that_is_no_number_stops_training(organism_lm, tmp_path, monkeypatch):
    """Checkpoint 6 has the weights of which the loss of step 7 is no number."""
    broken_loss(monkeypatch, 7)
    result = align(organism_lm, DATA, config(), tmp_path)
    assert "diverged at step 7" in result.stopped
    assert "the adapter of step 4 was kept" in result.stopped
    assert all(tensor.isfinite().all() for tensor in adapter(tmp_path).values())
    assert len(result.metrics()) < STEPS


@pytest.mark.parametrize("step", [1, 3])
def test_a_loss_that_is_no_number_before_a_good_checkpoint_keeps_none(
    organism_lm, tmp_path, monkeypatch, step
):
    broken_loss(monkeypatch, step)
    match = "no good checkpoint yet, .*: lower learning_rate, or set probes.every"
    with pytest.raises(MidspanError, match=match):
        align(organism_lm, DATA, config(), tmp_path)


def break_after(monkeypatch, step):
    """An adapter that a step leaves without numbers."""

    def on_optimizer_step(self, args, state, control, model=None, **_):
        if state.global_step == step - 1:
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    weight.data.fill_(float("nan"))

    monkeypatch.setattr(ProbeCallback, "on_optimizer_step", on_optimizer_step)


def test_weights_without_numbers_keep_the_adapter_of_the_last_good_probe(
    organism_lm, tmp_path, monkeypatch
):
    break_after(monkeypatch, 6)
    result = align(organism_lm, DATA, slow(), tmp_path)
    assert "diverged at step 6: refusal nan" in result.stopped
    assert "the adapter of step 4 was kept" in result.stopped
    assert all(tensor.isfinite().all() for tensor in adapter(tmp_path).values())
    assert [row["step"] for row in probes(tmp_path)] == [2, 4]


def test_broken_weights_at_the_first_probe_are_told_what_is_left_to_do(
    organism_lm, tmp_path, monkeypatch
):
    break_after(monkeypatch, 2)
    with pytest.raises(MidspanError, match="no adapter was kept: lower learning_rate$"):
        align(organism_lm, DATA, slow(), tmp_path)


def test_a_sample_that_cannot_be_decoded_is_a_divergence(organism_lm, tmp_path, monkeypatch):
    def broken(_):
        raise NotFiniteError

    samples = iter([ProbeCallback._decoded, broken])
    monkeypatch.setattr(ProbeCallback, "_decoded", lambda self: next(samples)(self))
    stopped = align(organism_lm, DATA, slow(), tmp_path).stopped
    assert "diverged at step 4: the logits are not finite" in stopped
    assert "the adapter of step 2 was kept" in stopped


@pytest.mark.parametrize("limit", ["max_benign_kl", "max_refusal_drop"])
def test_a_limit_needs_probes(limit):
    with pytest.raises(MidspanError, match=f"{limit} needs probes; set every"):
        TrainingProbes(**{limit: 0.1})


def faults(rows, **limits):
    """What is said of probes of (benign KL, refusal), one after the other."""
    recipe = AlignmentConfig(probes=TrainingProbes(every=1, **limits))
    callback = ProbeCallback.__new__(ProbeCallback)
    callback.config, callback.best_refusal = recipe, float("-inf")
    return [
        bool(callback._fault({"step": 1, "benign_kl": kl, "refusal": refusal}))
        for kl, refusal in rows
    ]


def test_a_limit_itself_is_no_fault_and_no_limit_never_is():
    rows = [(0.5, -4.0), (0.75, -6.0), (0.5, -2.0), (0.5, -4.0), (0.5, -4.5), (0.5, -4.0)]
    assert faults(rows) == [False] * 6
    assert faults(rows, max_benign_kl=0.5) == [False, True, *[False] * 4]
    assert faults(rows, max_refusal_drop=2.0) == [*[False] * 4, True, False]


@pytest.mark.parametrize("block_length", [None, 4])
def test_the_shown_sample_has_its_own_steps_or_the_models_blocks(monkeypatch, block_length):
    shown = []

    def decode(lm, requests, config):
        shown.append(([request.prompt_ids for request in requests], config))
        return [SimpleNamespace(text=str(request.prompt_ids)) for request in requests]

    monkeypatch.setattr("midspan.decoding.decode", decode)
    family = family_for("sdar" if block_length else "llada")
    lm = SimpleNamespace(block_length=block_length, family=family)
    samples = [
        SimpleNamespace(harmful=harmful, canvases=[SimpleNamespace(prompt_ids=(nth,))])
        for nth, harmful in enumerate((True, False, True))
    ]
    callback = ProbeCallback.__new__(ProbeCallback)
    callback.policy = SimpleNamespace(lm=lm, parameters=list)
    callback.samples = samples
    probes = TrainingProbes(every=1, steps=16)
    callback.config = AlignmentConfig(response_length=64, probes=probes)
    assert callback._decoded() == {"harmful": "(2,)", "benign": "(1,)"}
    ((_, config),) = shown
    if block_length is None:
        assert (config.length, config.block_length, config.steps) == (64, None, 16)
    else:
        assert (config.sampler, config.length, config.block) == ("block", 64, 4)
