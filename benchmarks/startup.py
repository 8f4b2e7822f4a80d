"""CPU seconds that the command line and the package take to start, and what heavy they load.

Run: python benchmarks/startup.py
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

REPEATS = 7
LINES = {
    "midspan --version": ("--version",),
    "midspan --help": ("--help",),
    "midspan audti (a typo)": ("audti",),
    "midspan attack --help": ("attack", "--help"),
    "midspan probe prefill --help": ("probe", "prefill", "--help"),
    "midspan generate organism, 4 steps": (
        *("generate", "organism", "-p", "hello", "--length", "32", "--steps", "4"),
    ),
    "midspan audit organism --dry-run": ("audit", "organism", "--dry-run"),
}
# What takes a tenth of a second or more to import.
HEAVY = (
    *("torch", "torch._dynamo", "torch.distributed.tensor", "transformers", "peft", "accelerate"),
    *("sympy", "scipy.optimize", "pydantic", "yaml", "rich", "matplotlib", "pandas", "fastapi"),
)
# The command line as its script runs it, then what it has loaded, into a file.
_SCRIPT = """
import atexit, sys, pathlib
file, heavy = pathlib.Path(sys.argv[1]), sys.argv[2].split(",")
sys.argv[1:] = sys.argv[3:]
atexit.register(lambda: file.write_text("\\n".join(m for m in heavy if m in sys.modules)))
from midspan.cli import main
main()
"""


def cpu_seconds(*arguments: str) -> float:
    """User and system time of one Python process, its children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    # A typo ends with an error, as it should.
    subprocess.run([sys.executable, *arguments], capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def loaded(*line: str) -> list[str]:
    """The heavy packages that a command line has loaded when it ends."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "loaded")
        cpu_seconds("-c", _SCRIPT, str(file), ",".join(HEAVY), *line)
        return file.read_text().split()


def main() -> None:
    starts: dict[str, tuple[str, ...]] = {
        "python -c pass": ("-c", "pass"),
        "import midspan": ("-c", "import midspan"),
        "import torch": ("-c", "import torch"),
    }
    starts |= {name: ("-m", "midspan.cli", *line) for name, line in LINES.items()}
    base = 0.0
    print("| start | CPU seconds, median | lowest | times python alone | heavy packages loaded |")
    print("|---|---|---|---|---|")
    for name, arguments in starts.items():
        seconds = [cpu_seconds(*arguments) for _ in range(REPEATS)]
        median = statistics.median(seconds)
        base = base or median
        found = ", ".join(loaded(*LINES[name])) if name in LINES else ""
        print(f"| `{name}` | {median:.2f} | {min(seconds):.2f} | {median / base:.0f} | {found} |")


if __name__ == "__main__":
    main()
