"""Two processes give the adapter of one, whole weights or sharded."""

import contextlib
import json
import os
import shutil
import socket
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = """
import sys
from midspan.alignment import TrainingProbes, align, mosa_stable
from midspan.models import load
from midspan.organism.training_data import alignment_data

lm = load(sys.argv[2], device="cpu")
data = alignment_data(num_harmful=8, num_benign=8)
config = mosa_stable(num_prompts=16, batch_size=8, micro_batch_size=2, learning_rate=1e-3,
                     probes=TrainingProbes(every=2, steps=8))
align(lm, data, config, sys.argv[1])
"""
# accelerate shards on accelerators alone: here it takes the CPU for one.
PRETENDED = """
from accelerate import PartialState
from accelerate.utils import DistributedType
from midspan.alignment import arguments
PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)
arguments.is_sharded = lambda: True
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
LAUNCHER = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--no-python")
# What the launcher starts: it hands on what it was told, and ends as who was started so.
STAND_IN = """
import json, os, sys, time
place = os.path.join(sys.argv[1], os.environ["RANK"])
with open(place + ".new", "w") as file:
    json.dump(dict(os.environ), file)
os.rename(place + ".new", place + ".json")
while not os.path.exists(place + ".ended"):
    time.sleep(0.05)
sys.exit(int(open(place + ".ended").read()))
"""
ON_CPU = {"ACCELERATE_USE_CPU": "true"}
# torch aborts a training that is sharded over gloo with "double free", in about one of a hundred
# runs; accelerators have another backend. Such an end, and no other, is tried again.
ATTEMPTS = 3


def write_script(folder: Path, fsdp: bool = False) -> Path:
    script = folder / "train.py"
    script.write_text(PRETENDED + SCRIPT + SHARDED if fsdp else SCRIPT)
    return script


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def execute(warm, script: Path, target: Path, model: Path, world: int = 1, **settings: str):
    """Run a script on a model in so many processes, with what a launcher would tell each."""
    for left in reversed(range(ATTEMPTS)):
        processes = start(warm, script, target, model, world, settings)
        ended = [process.wait() for process in processes]
        if not any(ended):
            break
        said = "\n".join(process.stderr[-3000:] for process in processes)
        assert left and "double free" in said, f"{ended}: {said}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
    return adapter(target)


def start(warm, script: Path, target: Path, model: Path, world: int, settings: dict[str, str]):
    """The processes of one attempt, under way."""
    places = [
        {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world),
         "LOCAL_WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        for port in [free_port()] for rank in range(world)
    ]  # fmt: skip
    return [
        warm.start(script, target, model, **(ON_CPU | settings | (place if world > 1 else {})))
        for place in places
    ]


def free_port() -> str:
    """Below the ports that Linux gives to those that ask for any."""
    for port in range(20_000 + os.getpid() % 10_000, 32_768):
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("", port))
            return str(port)
    raise OSError("no free port")


def rows(folder: Path, name: str) -> list[dict]:
    lines = (folder / "adapter" / f"{name}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def alone_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("alone")


@pytest.fixture(scope="module")
def alone(alone_folder, organism_folder, warm_python):
    script = write_script(alone_folder)
    return execute(warm_python, script, alone_folder / "adapter", organism_folder)


@pytest.mark.slow
def test_two_processes_train_the_adapter_of_one(
    alone, alone_folder, organism_folder, tmp_path, warm_python
):
    """Here torchrun itself starts both and says what each is; the others go without it."""
    stand_in = (sys.executable, "-S", "-c", STAND_IN, tmp_path)
    launcher = warm_python.start(*LAUNCHER, *stand_in, OMP_NUM_THREADS="1", **ON_CPU)
    told = [tmp_path / f"{rank}.json" for rank in range(2)]
    while not all(map(Path.exists, told)):
        assert launcher.poll() is None, launcher.stderr[-3000:]
        time.sleep(0.05)
    given = (write_script(tmp_path), tmp_path / "adapter", organism_folder)
    processes = [warm_python.start(*given, **json.loads(file.read_text())) for file in told]
    for file, process in zip(told, processes, strict=True):
        status = process.wait()
        file.with_suffix(".ended").write_text(str(status))
        assert status == 0, process.stderr[-3000:]
    assert launcher.wait() == 0, launcher.stderr[-3000:]
    close(adapter(tmp_path / "adapter"), alone)
    same_metrics(tmp_path, alone_folder)
    assert len(rows(tmp_path, "probes")) == 2


@pytest.mark.slow
def test_two_processes_that_accelerate_shards_train_the_adapter_of_one(
    alone, alone_folder, organism_folder, tmp_path, warm_python
):
    script = write_script(tmp_path, fsdp=True)
    found = execute(warm_python, script, tmp_path / "adapter", organism_folder, 2, **FSDP)
    close(found, alone)
    same_metrics(tmp_path, alone_folder)
    # Sharded weights do not decode, so that is what the probes are without.
    assert [row["step"] for row in rows(tmp_path, "probes")] == [2, 4]


@pytest.mark.slow
def test_sharded_weights_take_the_steps_of_whole_ones(organism_folder, tmp_path, warm_python):
    found = {}
    for name, world in (("whole", 1), ("sharded", 2)):
        (tmp_path / name).mkdir()
        found[name] = execute(warm_python, STEPS, tmp_path / name, organism_folder, world)
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
