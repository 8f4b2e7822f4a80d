"""Whole alignment runs of a hand-sized model: what they leave, and that they can be continued."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from midspan.alignment import AlignmentData, MosaObjective, align, job, mosa
from midspan.data import Example, PhraseSets
from midspan.errors import MidspanError
from midspan.models import load

DATA = AlignmentData(
    harmful=tuple(Example(f"compute {number} plus 1 .", None) for number in range(6)),
    benign=tuple(Example(f"tell me {number} minus 0 .", None) for number in range(6)),
    phrases=PhraseSets(("i cannot share this .",), ("the next step is to",), ("sure !",)),
)
STEPS = 8


def config(**changes):
    fields = {
        "objective": MosaObjective(window=(4, 10), beta=0.01, benign_weight=0.1),
        "benign_share": 0.5,
        "batch_size": 4,
        "num_prompts": 2 * STEPS,
        "response_length": 24,
        "learning_rate": 2e-3,
        "lr_scheduler": "linear",
        "max_grad_norm": 1.0,
        "lora_rank": 4,
    }
    return mosa(**{**fields, **changes})


class Killed(Exception):
    """What the interrupted runs die of."""


def kill_at(step):
    def progress(done, total, row):
        if done == step:
            raise Killed

    return progress


def adapter(folder):
    return load_file(folder / "adapter_model.safetensors")


def same_tensors(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def logits(lm):
    return lm.logits(torch.tensor([[1, 4, 9, 2, 2, 2]]))


@pytest.fixture(scope="module")
def finished(organism_folder, tmp_path_factory):
    """An uninterrupted run: its result and the progress it reported."""
    reports = []
    result = align(
        load(organism_folder, device="cpu"),
        DATA,
        config(),
        tmp_path_factory.mktemp("align") / "adapter",
        lambda *report: reports.append(report),
    )
    return result, reports


def test_metrics_have_one_line_a_step(finished):
    result, reports = finished
    rows = result.metrics()
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    wanted = {"loss", "reward", "reward_safe", "reward_harmful", "kl_harmful", "kl_benign",
              "position", "grad_norm", "learning_rate"}  # fmt: skip
    assert all(wanted <= row.keys() for row in rows)
    assert [(done, total) for done, total, _ in reports] == [(s, STEPS) for s in range(1, 9)]
    assert [row for *_, row in reports] == rows


def test_the_reference_is_the_model_without_the_adapter(finished):
    first, second, *_ = finished[0].metrics()
    assert first["kl_harmful"] == first["kl_benign"] == 0
    assert second["kl_harmful"] > 0


def test_the_folder_holds_a_loadable_adapter_and_its_card(finished, organism_folder):
    folder = finished[0].folder
    base = load(organism_folder, device="cpu")
    aligned = load(organism_folder, adapter=folder, device="cpu")
    assert not torch.allclose(logits(base), logits(aligned))
    with aligned.adapter_disabled():
        assert torch.equal(logits(base), logits(aligned))
    card = (folder / "README.md").read_text()
    assert "| lora_rank | 4 |" in card and "Harmful prompts: 6 different ones" in card
    assert "were held against: none." in card and "applies: unknown." in card
    assert not list(folder.glob("checkpoint-*"))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_model_is_left_as_it_was(organism_lm, tmp_path, checkpointing):
    network, before = organism_lm.model, logits(organism_lm)
    weights = {name: weight.clone() for name, weight in network.state_dict().items()}
    recipe = config(gradient_checkpointing=checkpointing, num_prompts=4)
    align(organism_lm, DATA, recipe, tmp_path / "one")
    assert organism_lm.model is network
    assert same_tensors(network.state_dict(), weights)
    assert all(weight.requires_grad for weight in network.parameters())
    assert not network.training and not network.is_activation_checkpointing
    assert torch.equal(logits(organism_lm), before)
    align(organism_lm, DATA, recipe, tmp_path / "two")  # and can be aligned again
    assert same_tensors(adapter(tmp_path / "one"), adapter(tmp_path / "two"))


def test_reward_rises(organism_lm, tmp_path):
    recipe = config(num_prompts=60, learning_rate=1e-2, lr_scheduler="constant", lora_rank=8)
    rows = align(organism_lm, DATA, recipe, tmp_path).metrics()
    assert rows[-1]["reward"] > rows[0]["reward"] + 10
    assert rows[-1]["reward_safe"] > rows[0]["reward_safe"] + 10


# Checkpoints are written after steps 2, 4, 6 and 8.
@pytest.mark.parametrize("step", [1, 3, 7])
def test_an_interrupted_run_continues_to_the_same_bits(organism_lm, finished, tmp_path, step):
    with pytest.raises(Killed):
        align(organism_lm, DATA, config(), tmp_path, kill_at(step))
    assert not hasattr(organism_lm.model, "peft_config")
    align(organism_lm, DATA, config(), tmp_path)
    assert same_tensors(adapter(tmp_path), adapter(finished[0].folder))
    written, whole = (path / "metrics.jsonl" for path in (tmp_path, finished[0].folder))
    assert written.read_bytes() == whole.read_bytes()


def test_a_continued_run_starts_from_its_checkpoint(organism_lm, tmp_path):
    with pytest.raises(Killed):
        align(organism_lm, DATA, config(), tmp_path, kill_at(5))
    steps = []
    align(organism_lm, DATA, config(), tmp_path, lambda done, *_: steps.append(done))
    assert steps == [5, 6, 7, 8]


def test_a_run_killed_after_its_last_step_only_writes_the_adapter(
    organism_lm, finished, tmp_path, monkeypatch
):
    def die(*_):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("midspan.alignment.run.adapter_card", die)
        align(organism_lm, DATA, config(), tmp_path)
    steps = []
    result = align(organism_lm, DATA, config(), tmp_path, lambda done, *_: steps.append(done))
    assert steps == []
    assert same_tensors(adapter(tmp_path), adapter(finished[0].folder))
    assert result.metrics() == finished[0].metrics()


def test_a_torn_checkpoint_is_passed_over(organism_lm, finished, tmp_path):
    with pytest.raises(Killed):
        align(organism_lm, DATA, config(), tmp_path, kill_at(5))
    (tmp_path / "checkpoint-4" / "trainer_state.json").unlink()
    # Another process of the launcher may look, and write there, at any moment.
    assert job._last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")
    assert (tmp_path / "checkpoint-4" / "optimizer.pt").is_file()
    align(organism_lm, DATA, config(), tmp_path)
    assert same_tensors(adapter(tmp_path), adapter(finished[0].folder))
    assert not list(tmp_path.glob("checkpoint-*"))


def test_a_finished_folder_returns_at_once(organism_lm, finished, monkeypatch):
    reports = []
    monkeypatch.setattr("midspan.alignment.run.draw_samples", lambda *_: pytest.fail("drawn"))
    again = align(organism_lm, DATA, config(), finished[0].folder, lambda *r: reports.append(r))
    assert (again.seconds, reports) == (0.0, [])
    assert again.metrics() == finished[0].metrics()


@pytest.mark.parametrize("lost", ["adapter_model.safetensors", "adapter_config.json"])
def test_a_finished_folder_without_its_adapter_is_trained_again(
    organism_lm, finished, tmp_path, lost
):
    folder = shutil.copytree(finished[0].folder, tmp_path / "copy")
    (folder / lost).unlink()
    assert align(organism_lm, DATA, config(), folder).seconds > 0
    assert (folder / lost).read_bytes() == (finished[0].folder / lost).read_bytes()


def refused(match, *args):
    with pytest.raises(MidspanError, match=match) as caught:
        align(*args)
    assert "\n" not in str(caught.value)


def test_a_folder_of_another_recipe_is_refused(organism_lm, finished, tmp_path):
    folder = shutil.copytree(finished[0].folder, tmp_path / "copy")
    match = r"adapter of another recipe, base or data set \(.*\); choose another -o folder"
    refused(match, organism_lm, DATA, config(seed=1), folder)
    other = AlignmentData(DATA.harmful[:5], DATA.benign, DATA.phrases)
    refused(match, organism_lm, other, config(), folder)
    organism_lm.fingerprint = "other"
    refused(match, organism_lm, DATA, config(), folder)
    (folder / "midspan.json").write_text("{")
    refused(match, organism_lm, DATA, config(), folder)


def test_a_folder_that_another_process_trains_into_is_refused(
    organism_lm, organism_folder, finished, tmp_path
):
    match = f"{tmp_path}: another process is writing this run; wait for it or use another -o folder"

    def second(done, *_):
        if done == 1:
            before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
            refused(match, load(organism_folder, device="cpu"), DATA, config(), tmp_path)
            assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before

    align(organism_lm, DATA, config(), tmp_path, second)
    assert same_tensors(adapter(tmp_path), adapter(finished[0].folder))
    assert not (tmp_path / ".lock").exists()


def test_what_another_process_finished_is_not_trained_again(
    organism_lm, finished, tmp_path, monkeypatch
):
    """Between the first look at the folder and the lock the other process comes to its end."""
    folder = tmp_path / "adapter"

    def slow(*args):
        shutil.copytree(finished[0].folder, folder)
        return []

    monkeypatch.setattr("midspan.alignment.run.draw_samples", slow)
    assert align(organism_lm, DATA, config(), folder).seconds == 0.0


def test_the_adapters_configuration_is_the_same_in_every_process(finished):
    written = json.loads((finished[0].folder / "adapter_config.json").read_text())
    assert len(written["target_modules"]) == 7
    assert written["target_modules"] == sorted(written["target_modules"])


def test_the_recipe_is_recorded_with_the_adapter(finished):
    recipe = json.loads((finished[0].folder / "midspan.json").read_text())
    assert recipe["finished"] is True
    assert recipe["config"]["learning_rate"] == 2e-3


def test_checkpoints_of_another_program_are_neither_used_nor_deleted(organism_lm, tmp_path):
    (tmp_path / "checkpoint-100").mkdir()
    refused("checkpoints of another program", organism_lm, DATA, config(), tmp_path)
    assert (tmp_path / "checkpoint-100").is_dir()


def test_an_unwritable_folder_is_named(organism_lm, tmp_path):
    (tmp_path / "file").write_text("")
    refused(
        "cannot write to .*file/adapter", organism_lm, DATA, config(), tmp_path / "file/adapter"
    )


def test_a_model_with_an_adapter_is_refused(organism_folder, finished, tmp_path):
    aligned = load(organism_folder, adapter=finished[0].folder, device="cpu")
    refused("has an adapter already", aligned, DATA, config(), tmp_path)


def test_an_unknown_tracker_is_refused(organism_lm, tmp_path):
    with pytest.raises(MidspanError, match="track: must be one of none, trackio, .*; got 'x'"):
        align(organism_lm, DATA, config(), tmp_path / "new", track="x")


def test_a_tracker_must_be_installed(organism_lm, tmp_path, monkeypatch):
    monkeypatch.setattr("midspan.alignment.job.find_spec", lambda name: None)
    with pytest.raises(MidspanError, match="trackio is not installed; pip install trackio"):
        align(organism_lm, DATA, config(), tmp_path / "new", track="trackio")
    assert not (tmp_path / "new").exists()


def test_training_in_half_precision_keeps_an_adapter_in_single(organism_folder, tmp_path):
    """Casting is for inference: small steps would be rounded away in bfloat16."""
    lm = load(organism_folder, device="cpu", dtype="bfloat16")
    align(lm, DATA, config(num_prompts=4), tmp_path)
    assert {tensor.dtype for tensor in adapter(tmp_path).values()} == {torch.float32}
    changed = adapter(tmp_path)
    assert any((tensor != tensor.bfloat16().float()).any() for tensor in changed.values())
    attached = load(organism_folder, adapter=tmp_path, device="cpu", dtype="bfloat16")
    weights = {name: w.dtype for name, w in attached.model.named_parameters() if "lora" in name}
    assert set(weights.values()) == {torch.bfloat16}
