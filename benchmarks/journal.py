"""What it takes to open a long journal and to read from it: seconds, peak memory.

Run: python benchmarks/journal.py [--lines 4000000] [FOLDER on the disk to measure]
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

# A process of its own, so that its peak is the journal's.
_OPEN = """
import random, resource, sys, time
from pathlib import Path
from midspan.journal.journal import Journal
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, wall, cpu = peak(), time.perf_counter(), time.process_time()
with Journal(Path(sys.argv[1])) as journal:
    opened = time.perf_counter() - wall, time.process_time() - cpu
    keys = random.Random(0).sample(list(journal), min(len(journal), 10_000))
    wall = time.perf_counter()
    for key in keys:
        journal[key]
    read = time.perf_counter() - wall
    print(len(journal), *opened, peak() - before, 1e6 * read / len(keys))
"""


def write_journal(path: Path, lines: int) -> None:
    """A journal of replies of some hundred characters, as `Journal.write` puts them."""
    rng = random.Random(0)
    texts = ["a reply of some words and then some more " * rng.randint(2, 10) for _ in range(1000)]
    values = [json.dumps({"raw": text, "tokens": 60, "prompt_tokens": 40}) for text in texts]
    with path.open("w") as file:
        for number in range(lines):
            key = f"{number * 0x9E3779B97F4A7C15 % (1 << 128):032x}"
            file.write(f'{{"key": "{key}", "value": {values[number % 1000]}}}\n')


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--lines", type=int, nargs="+", default=[1_000_000, 4_000_000])
    options = parser.parse_args(arguments)
    print("| lines | GB | to open, s | CPU s | memory, MB | to read a value, us |")
    print("|---|---|---|---|---|---|")
    for lines in options.lines:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            path = Path(folder, "journal.jsonl")
            write_journal(path, lines)
            done = subprocess.run(
                [sys.executable, "-c", _OPEN, str(path)], check=True, capture_output=True, text=True
            )
            count, wall, cpu, memory, read = map(float, done.stdout.split())
            assert count == lines
            size = path.stat().st_size / 1e9
        row = f"{size:.2f} | {wall:.1f} | {cpu:.1f} | {memory:.0f} | {read:.0f}"
        print(f"| {lines:,} | {row} |")


if __name__ == "__main__":
    main()
