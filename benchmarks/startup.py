"""CPU seconds that the command line and the package take to start, beside Python alone.

Run: python benchmarks/startup.py
"""

import resource
import statistics
import subprocess
import sys

REPEATS = 7
STARTS = {
    "python -c pass": ("-c", "pass"),
    "import midspan": ("-c", "import midspan"),
    "midspan --help": ("-m", "midspan.cli", "--help"),
    "midspan attack --help": ("-m", "midspan.cli", "attack", "--help"),
    "midspan probe prefill --help": ("-m", "midspan.cli", "probe", "prefill", "--help"),
}


def cpu_seconds(arguments: tuple[str, ...]) -> float:
    """User and system time of one process, its children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    base = 0.0
    print("| start | CPU seconds, median | lowest | times python alone |\n|---|---|---|---|")
    for name, arguments in STARTS.items():
        seconds = [cpu_seconds(arguments) for _ in range(REPEATS)]
        median = statistics.median(seconds)
        base = base or median
        print(f"| `{name}` | {median:.2f} | {min(seconds):.2f} | {median / base:.0f} |")


if __name__ == "__main__":
    main()
