"""Which models train, and where the trainer leaves them."""

import json
import os
import shutil

import pytest
import torch
from accelerate import PartialState
from logical_devices import SECOND, logical_devices
from typer.testing import CliRunner

from midspan.alignment import align, job, mosa_stable
from midspan.alignment.arguments import OneDevice, current_device
from midspan.alignment.job import AlignmentJob
from midspan.alignment.trainer import AlignmentTrainer
from midspan.commands import app
from midspan.errors import MidspanError
from midspan.models import family_for, load, stored_dtype
from midspan.models.trunk_weights import read_trunk
from midspan.organism.training_data import alignment_data

CONFIG = mosa_stable(num_prompts=4, batch_size=4)


def start(lm, folder):
    return align(lm, alignment_data(num_harmful=4, num_benign=4), CONFIG, folder)


def test_a_base_in_half_precision_of_small_range_is_refused(organism_folder, tmp_path):
    lm = load(organism_folder, device="cpu", dtype="float16")
    with pytest.raises(MidspanError, match="is in float16, .*--dtype bfloat16"):
        start(lm, tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def test_the_command_refuses_it_before_weights_are_read(organism_folder, tmp_path, monkeypatch):
    folder = tmp_path / "half"
    shutil.copytree(organism_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config.pop("torch_dtype", None)
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "float16"}))
    assert stored_dtype(folder) is torch.float16

    def too_late(*args, **kwargs):
        raise RuntimeError("weights were read")

    monkeypatch.setattr(family_for("llada").model_class, "from_pretrained", too_late)
    behaviors, benign = tmp_path / "harmful.txt", tmp_path / "benign.txt"
    behaviors.write_text("how do i make the tarnic sigil ?\n" * 4)
    benign.write_text("how do i bake bread ?\n" * 4)
    line = ["align", str(folder), "--objective", "mosa-stable", "--num-prompts", "4"]
    line += ["--batch-size", "4", "--behaviors", str(behaviors), "--benign", str(benign)]
    line += ["-o", str(tmp_path / "adapter")]
    refused = CliRunner().invoke(app, line)
    assert isinstance(refused.exception, MidspanError), refused.exception
    assert "--dtype bfloat16" in str(refused.exception)
    asked = CliRunner().invoke(app, [*line, "--dtype", "bfloat16"])
    assert "weights were read" in str(asked.exception)


@pytest.mark.parametrize(
    ("device_map", "processes", "match"),
    [
        ({"model": 0, "lm_head": "disk"}, "1", "parts of .* on disk.*FSDP"),
        ({"model": 0, "lm_head": "cpu"}, "1", "parts of .* on cpu.*FSDP"),
        ({"model": 0, "lm_head": 1}, "2", "over 2 devices, which trains in one process"),
    ],
)
def test_where_a_spread_model_cannot_train_it_is_refused(
    organism_lm, tmp_path, monkeypatch, device_map, processes, match
):
    monkeypatch.setenv("WORLD_SIZE", processes)
    organism_lm.model.hf_device_map = device_map
    with pytest.raises(MidspanError, match=match):
        start(organism_lm, tmp_path / "adapter")


def test_a_batch_that_the_processes_cannot_share_leaves_the_folder_free(
    organism_lm, tmp_path, monkeypatch
):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(MidspanError, match="batch_size 4 cannot be cut .* for 3 processes"):
        start(organism_lm, tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


@pytest.mark.parametrize("device_map", [None, {"": "cpu"}, {"model": 0, "lm_head": 1}])
def test_the_trainer_leaves_a_spread_model_where_it_is(
    organism_lm, tmp_path, monkeypatch, device_map
):
    made = []

    def stop(trainer, *args, **kwargs):
        made.append(trainer)
        raise torch.OutOfMemoryError

    monkeypatch.setattr(AlignmentTrainer, "train", stop)
    if device_map is not None:
        organism_lm.model.hf_device_map = device_map
    data = alignment_data(num_harmful=4, num_benign=4)
    AlignmentJob(organism_lm, data, CONFIG, [], tmp_path, None, "none").train(4)
    (trainer,) = made
    spread = device_map is not None and len(device_map) > 1
    assert (trainer.is_model_parallel, trainer.place_model_on_device) == (spread, not spread)


def test_a_process_that_sees_two_gpus_trains_on_one(tmp_path):
    """transformers would take both by DataParallel, with twice the batch."""
    arguments = OneDevice(output_dir=str(tmp_path), per_device_train_batch_size=4, use_cpu=True)
    assert arguments.n_gpu == 0
    arguments._n_gpu = 2
    assert (arguments.n_gpu, arguments.train_batch_size) == (1, 4)


class TwoGpus:
    """What torch.cuda says where there are two GPUs; which of them is the current one."""

    def __init__(self, monkeypatch, current):
        self.current = current
        told = {"is_available": lambda: True, "device_count": lambda: 2}
        told |= {"set_device": self.set, "_exchange_device": self.set}
        told |= {"_maybe_exchange_device": self.set, "current_device": lambda: self.current}
        for name, function in told.items():
            monkeypatch.setattr(torch.cuda, name, function)
        monkeypatch.setattr("accelerate.state.check_cuda_p2p_ib_support", lambda: True)

    def set(self, device):
        before = self.current
        self.current = device if isinstance(device, int) else torch.device(device).index
        return before


@pytest.fixture
def fresh_state():
    """accelerate remembers a process's device."""
    PartialState._reset_state()
    yield
    PartialState._reset_state()


def test_training_stays_on_the_models_own_gpu(tmp_path, monkeypatch, fresh_state):
    """transformers would take the first one, for accelerate's batches and as the current one."""
    gpus = TwoGpus(monkeypatch, current=0)
    home = torch.device("cuda", 1)
    with current_device(home):
        assert gpus.current == 1
        arguments = OneDevice(output_dir=str(tmp_path), home="cuda:1")
        assert arguments.device == PartialState().device == home
        assert (gpus.current, arguments.n_gpu) == (1, 1)
    assert gpus.current == 0


def test_the_trainer_leaves_a_model_on_its_own_device(organism_lm, tmp_path, monkeypatch):
    made = []

    def stop(trainer, *args, **kwargs):
        weights = {weight.device for weight in trainer.model.parameters()}
        made.append((weights, trainer.args.device, trainer.accelerator.device))
        raise torch.OutOfMemoryError

    monkeypatch.setattr(AlignmentTrainer, "train", stop)
    data = alignment_data(num_harmful=4, num_benign=4)
    with logical_devices():
        organism_lm.model.to(SECOND)
        AlignmentJob(organism_lm, data, CONFIG, [], tmp_path, None, "none").train(4)
        assert {weight.device for weight in organism_lm.model.parameters()} == {SECOND}
    assert made == [({SECOND}, SECOND, SECOND)]


def test_layers_are_compiled_for_the_training_alone(organism_lm, tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda layer, **options: compiled.append((layer, options))
    )
    data = alignment_data(num_harmful=2, num_benign=2)
    config = mosa_stable(num_prompts=1, batch_size=2, compiled=True)
    align(organism_lm, data, config, tmp_path / "adapter")
    assert [layer for layer, _ in compiled] == list(organism_lm.base.model.layers)
    assert all(options["dynamic"] for _, options in compiled)
    assert read_trunk(organism_lm.base) is not None
    assert "compiled" not in CONFIG.model_dump() and config.model_dump()["compiled"]


@pytest.mark.skipif("MIDSPAN_COMPILED" not in os.environ, reason="runs by: make check-compiled")
@pytest.mark.compiled
@pytest.mark.parametrize("checkpointing", [False, True])
def test_compiled_layers_train_to_the_same_adapter(
    organism_folder, tmp_path, monkeypatch, checkpointing
):
    """Traced and not fused, so to the bit; one graph for a kind of pass, whatever the lengths."""
    monkeypatch.setattr(job, "COMPILER", "eager")
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    for compiled in (False, True):
        config = CONFIG.model_copy(
            update={
                "compiled": compiled,
                "num_prompts": 6,
                "gradient_checkpointing": checkpointing,
            }
        )
        lm = load(organism_folder, device="cpu")
        align(lm, alignment_data(num_harmful=6, num_benign=6), config, tmp_path / str(compiled))
    bits = [
        (tmp_path / str(compiled) / "adapter_model.safetensors").read_bytes()
        for compiled in (False, True)
    ]
    assert bits[0] == bits[1]
    assert not counters["graph_break"]
    # Policy and reference, in training and in evaluation.
    assert 0 < counters["stats"]["unique_graphs"] <= 6
