"""Where a decode's time goes: the model's forward, and what lies outside of it.

Run: OMP_NUM_THREADS=1 python benchmarks/overhead.py [--batch 1 8] [-n 16] [--rounds 5]
     python benchmarks/overhead.py --tiny   (few requests: checks the script)

The organism, with its own requests of different lengths. Each decode is timed whole and by what it
spends in `DiffusionLM.logits`; then again with transformers' modules in place of the bare trunk.
Both take turns in one run, on one thread, so that what else the machine does meets both: CPU
seconds, and of the rounds' ratios the median with the least and the greatest.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from machine import describe_machine

from midspan.decoding import DecodingConfig, Request, decoding_config
from midspan.decoding.decoder import fill
from midspan.models import DiffusionLM
from midspan.models import model as model_module

MODES: dict[str, dict[str, Any]] = {
    "exact, 32 steps": {"steps": 32},
    "threshold 0.9": {"threshold": 0.9},
    "dual cache, threshold 0.9": {"cache": "dual", "threshold": 0.9},
}


@dataclass
class Clock:
    """CPU seconds in the forward, and the number of forwards."""

    seconds: float = 0.0
    forwards: int = 0


@contextmanager
def watched(lm: DiffusionLM) -> Iterator[Clock]:
    """Count what a decode spends in the model."""
    clock, logits = Clock(), lm.logits

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.process_time_ns()
        result = logits(*args, **kwargs)
        clock.seconds += (time.process_time_ns() - start) / 1e9
        clock.forwards += 1
        return result

    lm.logits = timed  # type: ignore[method-assign]
    try:
        yield clock
    finally:
        del lm.logits


@contextmanager
def modules() -> Iterator[None]:
    """Forwards of transformers' modules."""
    with mock.patch.object(model_module, "lean_states", lambda *args: None):
        yield


def decode(
    lm: DiffusionLM, requests: Sequence[Request], config: DecodingConfig, batch: int
) -> tuple[float, Clock]:
    """CPU seconds of a decode, and its clock."""
    with watched(lm) as clock:
        start = time.process_time()
        fill(lm, requests, config, batch_size=batch)
        return time.process_time() - start, clock


def measure(
    lm: DiffusionLM, requests: Sequence[Request], mode: str, batch: int, rounds: int
) -> dict[str, Any]:
    """A row of the table."""
    config = decoding_config(lm, length=128, block_length=32, **MODES[mode])
    decode(lm, requests[:batch], config, batch)
    shares, trunks, wholes, steps = [], [], [], []
    for _ in range(rounds):
        seconds, clock = decode(lm, requests, config, batch)
        with modules():
            before, old = decode(lm, requests, config, batch)
        shares.append(1 - clock.seconds / seconds)
        steps.append(1000 * (seconds - clock.seconds) / clock.forwards)
        trunks.append(clock.seconds / old.seconds)
        wholes.append(seconds / before)
    return {
        "batch": batch, "mode": mode, "forwards": clock.forwards, "outside": shares,
        "outside_ms": steps, "forward_of_modules": trunks, "whole_of_modules": wholes,
    }  # fmt: skip


def spread(values: Sequence[float], scale: float = 1.0, digits: int = 2) -> str:
    """The median, the least and the greatest."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{scale * middle:.{digits}f} ({scale * low:.{digits}f}-{scale * high:.{digits}f})"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("-n", type=int, default=16, help="requests")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    from decoding import organism_cases
    from midspan.organism.weights import load_organism

    lm = load_organism()
    count, rounds = (2, 1) if options.tiny else (options.n, options.rounds)
    cases = organism_cases(count, 5, frozenset())
    requests = [Request(tuple(lm.encode_chat(case.prompt))) for case in cases]
    print("| batch | mode | forwards | outside the forward, % | ms a step | forward, times the "
          "modules' | whole decode, times the modules' |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    rows = []
    for batch in options.batch:
        for mode in MODES:
            row = measure(lm, requests, mode, batch, rounds)
            rows.append(row)
            cells = [
                spread(row["outside"], 100, 1), spread(row["outside_ms"]),
                spread(row["forward_of_modules"]), spread(row["whole_of_modules"]),
            ]  # fmt: skip
            print(f"| {batch} | {mode} | {row['forwards']} | {' | '.join(cells)} |", flush=True)
    if options.output:
        written = {"machine": describe_machine(), "rows": rows}
        options.output.write_text(json.dumps(written, indent=1))


if __name__ == "__main__":
    main()
