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
STEPS = Path(__file__).parent / "sharded_steps.py"
LAUNCHER = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")


def run(folder: Path, name: str, *launcher: str) -> dict[str, torch.Tensor]:
    script = folder / "train.py"
    script.write_text(SCRIPT)
    return execute(script, folder / name, *launcher)


def execute(script: Path, target: Path, *launcher: str) -> dict[str, torch.Tensor]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
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
    metrics = (rows(folder, "metrics") for folder in (tmp_path, alone_folder))
    for one, other in zip(*metrics, strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-4)
    assert len(rows(tmp_path, "probes")) == 2


@pytest.mark.slow
def test_sharded_weights_take_the_steps_of_whole_ones(tmp_path):
    found = {}
    for name, launcher in (("whole", ()), ("sharded", LAUNCHER)):
        (tmp_path / name).mkdir()
        found[name] = execute(STEPS, tmp_path / name, *launcher)
    close(found["sharded"], found["whole"])


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
