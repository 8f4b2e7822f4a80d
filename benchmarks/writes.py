"""What it costs that a file outlives a power cut: milliseconds a write, medians.

Run: python benchmarks/writes.py [FOLDER on the disk to measure]
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from midspan.files import write_atomic
from midspan.journal.journal import Journal

REPLY = {"raw": "a reply of a thousand characters " * 30, "tokens": 200, "prompt_tokens": 60}
PAGE = "x" * 20_000
WRITES = 200


def milliseconds(write: Callable[[int], None]) -> list[float]:
    """Each write's wall time."""
    times = []
    for number in range(WRITES):
        started = time.perf_counter()
        write(number)
        times.append(1000 * (time.perf_counter() - started))
    return times


def main() -> None:
    place = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(dir=place) as name, Journal(Path(name) / "j") as journal:
        folder = Path(name)
        kinds = {
            "a reply, journalled": lambda n: journal.write({f"w{n}": REPLY}),
            "a reply, journalled and synced": lambda n: journal.append({f"a{n}": REPLY}),
            "a file, replaced": lambda n: write_atomic(folder / "page", PAGE, durable=False),
            "a file, replaced and synced": lambda n: write_atomic(folder / "record", PAGE),
        }
        print(f"| {WRITES} writes each | median ms | 90th percentile |\n|---|---|---|")
        for what, write in kinds.items():
            times = milliseconds(write)
            tail = statistics.quantiles(times, n=10)[-1]
            print(f"| {what} | {statistics.median(times):.2f} | {tail:.2f} |")


if __name__ == "__main__":
    main()
