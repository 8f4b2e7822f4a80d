"""Two processes give the adapter of one, whole weights or sharded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = """
import sys
from midspan.alignment import TrainingProbes, align, mosa_stable
from midspan.models import load
from midspan.organism.training_data import alignment_data
from midspan.organism.weights import WEIGHTS

lm = load(WEIGHTS, device="cpu")
data = alignment_data(num_harmful=8, num_benign=8)
config = mosa_stable(num_prompts=16, batch_size=8, micro_batch_size=2, learning_rate=1e-3,
                     probes=TrainingProbes(every=2, steps=8))
align(lm, data, config, sys.argv[1])
"""
# accelerate shards on accelerators alone: here it takes the CPU for one.
PRETENDED = """
from accelerate import PartialState
from accelerate.utils import DistributedType
from midspan.alignment import job
PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)
job.is_sharded = lambda: True
"""
SHARDED = """
import os
from torch.distributed.tensor import DTensor
assert all(isinstance(weight, DTensor) for weight in lm.model.parameters())
os._exit(0)  # See sharded_steps.py.
"""
# As `accelerate launch --use_fsdp` sets them for the line in docs/scaling.md.
FSDP = {
    "ACCELERATE_USE_CPU": "false",
    "ACCELERATE_TORCH_DEVICE": "cpu",
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
}
STEPS = Path(__file__).parent / "sharded_steps.py"
LAUNCHER = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")


def run(folder: Path, name: str, *launcher: str, fsdp: bool = False) -> dict[str, torch.Tensor]:
    script = folder / "train.py"
    script.write_text(PRETENDED + SCRIPT + SHARDED if fsdp else SCRIPT)
    return execute(script, folder / name, *launcher, **(FSDP if fsdp else {}))


def execute(script: Path, target: Path, *launcher: str, **settings: str) -> dict[str, torch.Tensor]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", **settings}
    command = [sys.executable, *launcher, str(script), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return load_file(target / "adapter_model.safetensors")


def rows(folder: Path, name: str) -> list[dict]:
    lines = (folder / "adapter" / f"{name}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def alone_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("alone")


@pytest.fixture(scope="module")
def alone(alone_folder):
    return run(alone_folder, "adapter")


@pytest.mark.slow
def test_two_processes_train_the_adapter_of_one(alone, alone_folder, tmp_path):
    both = run(tmp_path, "adapter", *LAUNCHER)
    close(both, alone)
    same_metrics(tmp_path, alone_folder)
    assert len(rows(tmp_path, "probes")) == 2


@pytest.mark.slow
def test_two_processes_that_accelerate_shards_train_the_adapter_of_one(
    alone, alone_folder, tmp_path
):
    close(run(tmp_path, "adapter", *LAUNCHER, fsdp=True), alone)
    same_metrics(tmp_path, alone_folder)
    # Sharded weights do not decode, so that is what the probes are without.
    assert [row["step"] for row in rows(tmp_path, "probes")] == [2, 4]


@pytest.mark.slow
def test_sharded_weights_take_the_steps_of_whole_ones(tmp_path):
    found = {}
    for name, launcher in (("whole", ()), ("sharded", LAUNCHER)):
        (tmp_path / name).mkdir()
        found[name] = execute(STEPS, tmp_path / name, *launcher)
    close(found["sharded"], found["whole"])


def same_metrics(folder: Path, other_folder: Path) -> None:
    metrics = (rows(each, "metrics") for each in (folder, other_folder))
    for one, other in zip(*metrics, strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-4)


def close(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    """Sums are taken in another order, which Adam's first steps enlarge where gradients vanish."""
    assert found.keys() == wanted.keys()
    # B starts at zero: what it holds is what training did.
    left, right = (
        torch.cat([tensors[name].flatten() for name in sorted(tensors) if "lora_B" in name])
        for tensors in (found, wanted)
    )
    assert right.norm() > 0
    assert (left - right).norm() < 1e-3 * right.norm()
