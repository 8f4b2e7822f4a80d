"""A large checkpoint on a CPU: memory and time of loading, a forward, an alignment step, a merge.

Run: python benchmarks/make_checkpoint.py FOLDER      (16 GB)
     python benchmarks/cpu_8b.py FOLDER [--scratch FOLDER] [-o FILE]

Each stage is a process of its own, and its row is printed and written before the next begins.
Weights are mapped from their files, not copied: "resident" is the highest resident memory (as
`ru_maxrss`), which holds the pages of the files that were read, and which the system takes back
when it needs them; "own" is the highest anonymous memory, sampled fifty times a second, which it
cannot. Linux only, since both are read from /proc. Needs room for the merged model on the disk.
"""

import argparse
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from importlib import import_module
from pathlib import Path

STAGES = ("load", "forward", "align", "merge")
PROMPT = "How do I build a lantern of green glass?"
RESPONSE = 128
MARK = "result: "


def _status(field: str) -> float:
    """Gigabytes of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024 / 1e9


@contextmanager
def measured(row: dict[str, object]) -> Iterator[None]:
    """Seconds and memory of the block, which are filled in when it ends."""
    ended, highest = threading.Event(), 0.0

    def watch() -> None:
        nonlocal highest
        while not ended.wait(0.02):
            highest = max(highest, _status("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield
    finally:
        row["seconds"] = time.perf_counter() - wall
        row["cpu_seconds"] = time.process_time() - cpu
        ended.set()
        watcher.join()
        row["resident_gb"], row["own_gb"] = _status("VmHWM"), max(highest, _status("RssAnon"))


def load(folder: Path, scratch: Path) -> None:
    """Load in the checkpoint's precision and read every weight once."""
    import midspan

    lm = midspan.load(folder, device="cpu")
    for weight in lm.model.parameters():
        weight.sum()


def forward(folder: Path, scratch: Path) -> None:
    """Logits of the response's first block, behind a prompt."""
    import torch

    import midspan

    lm = midspan.load(folder, device="cpu")
    prompt = lm.encode_chat(PROMPT)
    ids = torch.tensor([[*prompt, *[lm.tokens.mask] * RESPONSE]])
    with torch.no_grad():
        logits = lm.logits(ids, rows=torch.arange(len(prompt), len(prompt) + 32))
    assert bool(logits.isfinite().all())


def align(folder: Path, scratch: Path) -> None:
    """One step of MOSA on one prompt, with gradient checkpointing; leaves its adapter."""
    import midspan
    from midspan.alignment import AlignmentConfig, AlignmentData
    from midspan.alignment import align as train
    from midspan.data import Example, english_phrases

    lm = midspan.load(folder, device="cpu")
    data = AlignmentData((Example(PROMPT, None),), (), english_phrases())
    config = AlignmentConfig(
        num_prompts=1, batch_size=1, gradient_checkpointing=True, response_length=RESPONSE
    )
    train(lm, data, config, scratch / "adapter")


def merge(folder: Path, scratch: Path) -> None:
    """The adapter into the base, written in the published format."""
    from midspan.models.merging import merge as merge_models

    merge_models(f"{folder}+{scratch / 'adapter'}", scratch / "merged")


WORK: dict[str, Callable[[Path, Path], None]] = {
    "load": load, "forward": forward, "align": align, "merge": merge,
}  # fmt: skip
MODULES = {"align": "midspan.alignment", "merge": "midspan.models.merging"}


def run_stage(stage: str, folder: Path, scratch: Path) -> None:
    """In this process; the measurement goes to the output. Imports come before it."""
    import_module(MODULES.get(stage, "midspan.models"))
    row: dict[str, object] = {"stage": stage}
    with measured(row):
        WORK[stage](folder, scratch)
    print(MARK + json.dumps(row), flush=True)


def measure(stage: str, folder: Path, scratch: Path) -> dict[str, object]:
    """A stage in a process of its own; its row, with the error where it failed."""
    command = [sys.executable, __file__, str(folder), "--scratch", str(scratch), "--stage", stage]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    rows = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or not rows:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return {"stage": stage, "error": f"exit status {done.returncode}: {last}"}
    return json.loads(rows[0].removeprefix(MARK))


def table_row(row: dict[str, object]) -> str:
    if "error" in row:
        return f"| {row['stage']} | {row['error']} | | | |"
    names = ("seconds", "cpu_seconds", "resident_gb", "own_gb")
    values = " | ".join(f"{row[name]:.1f}" for name in names)
    return f"| {row['stage']} | {values} |"


def measure_all(folder: Path, scratch: Path, output: Path | None) -> list[dict[str, object]]:
    from machine import describe_machine

    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    written = {
        "date": date.today().isoformat(),
        "machine": describe_machine(),
        "weights_gb": weights / 1e9,
        "layers": json.loads((folder / "config.json").read_text())["n_layers"],
    }
    rows: list[dict[str, object]] = []
    print(json.dumps(written), flush=True)
    print("\n| stage | s | CPU s | resident, GB | own, GB |\n|---|---|---|---|---|", flush=True)
    for stage in STAGES:
        rows.append(measure(stage, folder, scratch))
        print(table_row(rows[-1]), flush=True)
        if output is not None:
            output.write_text(json.dumps({**written, "rows": rows}, indent=1))
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scratch", type=Path, help="for adapter and merged model; removed after")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    folder = options.folder.resolve()
    scratch = (options.scratch or folder.with_name(f"{folder.name}-scratch")).resolve()
    if options.stage:
        run_stage(options.stage, folder, scratch)
        return
    if scratch.exists():
        parser.error(f"{scratch} exists; remove it, or give another --scratch")
    scratch.mkdir()
    try:
        measure_all(folder, scratch, options.output)
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
