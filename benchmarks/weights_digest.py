"""What it costs to know a model by its weights: the first time and the second.

Run: python benchmarks/weights_digest.py [--gib 2]
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from midspan.models import digest
from midspan.models.checkpoint import TensorFile, read_header
from midspan.organism.weights import WEIGHTS

ROWS, WIDTH = 4096, 4096


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=float, default=2.0, help="size of the random weights")
    gib = parser.parse_args(arguments).gib
    # Only an old file is remembered; this one is written now.
    digest._SETTLED_NS = -(10**12)
    print("| weights | GiB | wall s | CPU s | CPU s a GiB |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        file = random_weights(Path(folder) / "model.safetensors", gib)
        measure("bfloat16, first time", file)
        measure("bfloat16, again", file)
    measure("the organism", read_header(WEIGHTS / "model.safetensors"))


def random_weights(path: Path, gib: float) -> TensorFile:
    """Square matrices as in an 8B model, one of them random; what they hold makes no difference."""
    matrix = torch.randn(ROWS, WIDTH).bfloat16()
    count = max(1, round(gib * 2**30 / matrix.nbytes))
    save_file({f"layer.{i}": matrix.clone() for i in range(count)}, path)
    return read_header(path)


def measure(name: str, file: TensorFile) -> None:
    """One row of the table."""
    seconds, cpu_seconds = timed(lambda: digest.weights_digest([file]))
    gib = file.path.stat().st_size / 2**30
    per_gib = f"{cpu_seconds / gib:.2f}"
    print(f"| {name} | {gib:.2f} | {seconds:.3f} | {cpu_seconds:.3f} | {per_gib} |")


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()
