"""What a run was made with: library versions, hardware and source revision."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from midspan.version import __version__

_LIBRARIES = ("torch", "transformers", "peft", "accelerate", "numpy")


def versions() -> dict[str, str]:
    """Versions of midspan, Python and the libraries that decide numbers."""
    by_library = {"midspan": __version__, "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            by_library[library] = version(library)
        except PackageNotFoundError:
            by_library[library] = "not installed"
    return by_library


def hardware() -> dict[str, str]:
    """CPU, cores, GPU and operating system."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {"cpu": _cpu_name(), "cores": str(os.cpu_count()), "gpu": gpu, "os": platform.platform()}


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def git_revision() -> str:
    """The source checkout's revision; "none" for an installed package."""
    source = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(source), "rev-parse", "HEAD"], capture_output=True, text=True
        )
    except OSError:
        return "none"
    return done.stdout.strip() if done.returncode == 0 else "none"
