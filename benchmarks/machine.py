"""What a benchmark says of its machine, and the memory that a piece of work takes at most."""

import ctypes
import gc
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers


@dataclass
class Peak:
    """Filled in when the block ends."""

    mebibytes: float = 0.0


def describe_machine() -> dict[str, Any]:
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return {
        "cpu": cpu[0].partition(": ")[2] if cpu else platform.processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """The peak resident memory of the block over what was resident before it (Linux)."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # Sets the peak back to the present.
    before, peak = _status("VmRSS"), Peak()
    yield peak
    peak.mebibytes = (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])
