"""Tasks: what the engine costs beside the model, and what an interruption changes.

Run: python benchmarks/tasks.py [overhead kill processes] --gsm8k test.jsonl [-n ITEMS] [-o FILE]

overhead: the whole GSM8K test set with a scripted model: every response is made up at once, with a
trace of 512 commits, so that all the time is prompts, batches, journal, records and scores.
kill: `midspan task organism` ended by SIGKILL whenever its journal has grown by a random number of
bytes, until it is done, against one that was left alone. processes: the same under torchrun with
two processes.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine

from midspan import decoding
from midspan.decoding import Generation, Trace
from midspan.files import write_jsonl
from midspan.journal.journal import Journal
from midspan.organism.weights import load_organism
from midspan.tasks import gsm8k
from midspan.tasks.fit import How, fit_prompts
from midspan.tasks.run import run_task

COMMAND = ("task", "organism", "--task", "arithmetic,choice,overrefusal", "--batch-size", "8")


def scripted(lm: Any, requests: Sequence[Any], config: Any, **_: Any) -> list[Generation]:
    """A response of 512 tokens to each request, with its whole trace."""
    places = np.arange(config.length)
    return [
        Generation(
            tuple(places.tolist()),
            f"So {len(request.prompt_ids)} words. The answer is {len(request.prompt_ids)}",
            Trace(places, places, places, np.linspace(0, 1, config.length, dtype=np.float32)),
            config.steps,
            False,
        )
        for request in requests
    ]


def overhead(file: Path) -> dict[str, Any]:
    lm = load_organism()
    lm.max_length = 4096  # as LLaDA's; nothing goes through the network here
    task = gsm8k.load("llada", file)
    decoding.decode = scripted
    how, count = How(), len(task.items)
    clocks = [_clocks()]
    scripted(lm, [_Request()] * count, task.preset.decoding(lm))
    clocks.append(_clocks())
    with tempfile.TemporaryDirectory() as folder:
        ready = fit_prompts(lm, task, how)
        clocks.append(_clocks())
        with Journal(Path(folder) / "journal.jsonl") as journal:
            records = run_task(lm, ready, journal, how)
            write_jsonl(Path(folder) / "records.jsonl", records)
        clocks.append(_clocks())
        with Journal(Path(folder) / "journal.jsonl") as journal:
            again = run_task(lm, ready, journal, how)
        clocks.append(_clocks())
    assert again == records
    script, prompts, engine, resume = 1000 * np.diff(clocks, axis=0) / count
    return {
        "items": count,
        "of each": "milliseconds an item, wall clock and CPU",
        "prompts": prompts.round(3).tolist(),
        "engine": (engine - script).round(3).tolist(),
        "resume": resume.round(3).tolist(),
    }


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


class _Request:
    prompt_ids = (1,) * 700


def _start(folder: Path, items: int, launcher: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
    command = [sys.executable, *launcher, "-m", "midspan.cli", *COMMAND, "-n", str(items)]
    command += ["-o", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _records(folder: Path) -> str:
    return (folder / "records.jsonl").read_text()


def kill(whole: Path, base: Path, items: int) -> dict[str, Any]:
    rng, folder, kills = random.Random(0), base / "killed", []
    journal, full = folder / "journal.jsonl", (whole / "journal.jsonl").stat().st_size
    process = _start(folder, items)
    goal = rng.uniform(0, full / 6)
    while process.poll() is None:
        size = journal.stat().st_size if journal.exists() else 0
        if goal <= size < full:
            process.kill()
            process.wait()
            kills.append(size)
            goal = size + rng.uniform(1, full / 6)
            process = _start(folder, items)
        time.sleep(0.001)
    return {"full": full, "kills_at_bytes": kills, "same": _records(folder) == _records(whole)}


def processes(whole: Path, base: Path, items: int) -> dict[str, Any]:
    folder = base / "two"
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    status = _start(folder, items, launcher).wait()
    return {"status": status, "same": _records(folder) == _records(whole)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["overhead", "kill", "processes"])
    parser.add_argument("--gsm8k", type=Path)
    parser.add_argument("-n", "--items", type=int, default=24)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/benchmarks/tasks.json"))
    given = parser.parse_args(arguments)
    result: dict[str, Any] = {"machine": describe_machine()}
    if "overhead" in given.parts:
        result["overhead"] = overhead(given.gsm8k)
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        if {"kill", "processes"} & set(given.parts):
            _start(base / "whole", given.items).wait()
        if "kill" in given.parts:
            result["kill"] = kill(base / "whole", base, given.items)
        if "processes" in given.parts:
            result["processes"] = processes(base / "whole", base, given.items)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(result, indent=1))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
