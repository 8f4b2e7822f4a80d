"""What fixed shapes and a compiled step cost and bring; whose bits depend on their company.

Run: OMP_NUM_THREADS=1 python benchmarks/shapes.py [time company] [-n 8] [--rounds 3] [--batch 1 8]
     [--modes MODE ...] [--dtypes bfloat16 float16]
     [--shapes ragged fixed compiled]
     python benchmarks/shapes.py --tiny   (few requests, short canvases: checks the script)

The organism on its own requests of different lengths. time: CPU seconds of a decode in float32, of
the first one too, which compiles; rounds take turns between ragged, fixed and compiled. company:
in half precision, the responses of a batch of 8 with the bits (tokens, steps, confidences) of the
same rows decoded alone under the same batch size.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch

import midspan
from decoding import organism_cases
from midspan.decoding import Request, decoding_config
from midspan.decoding.batch import Filled
from midspan.decoding.decoder import fill
from midspan.models import DiffusionLM

SHAPES = ("ragged", "fixed", "compiled")
MODES: dict[str, dict[str, Any]] = {
    "threshold 0.9": {"threshold": 0.9},
    "dual cache, threshold 0.9": {"cache": "dual", "threshold": 0.9},
    "dual cache, 32 steps": {"cache": "dual", "steps": 32},
}


def requests_of(lm: DiffusionLM, count: int) -> list[Request]:
    cases = organism_cases(count, 5, frozenset())
    return [Request(tuple(lm.encode_chat(case.prompt))) for case in cases]


def seconds(
    lm: DiffusionLM, requests: Sequence[Request], fields: dict[str, Any], batch: int
) -> tuple[float, list[Filled]]:
    """CPU seconds of a decode, and what it filled."""
    config = decoding_config(lm, **fields)
    start = time.process_time()
    found = fill(lm, requests, config, batch_size=batch)
    return time.process_time() - start, found


def times(
    lm: DiffusionLM,
    requests: Sequence[Request],
    fields: dict[str, Any],
    batch: int,
    rounds: int,
    compared: Sequence[str],
) -> list[list[str]]:
    """A row of the table for each kind of shapes, ragged ones first."""
    first, same = dict[str, float](), dict[str, int]()
    later: dict[str, list[float]] = {shapes: [] for shapes in compared}
    base: list[Filled] = []
    for shapes in compared:
        first[shapes], found = seconds(lm, requests, {**fields, "shapes": shapes}, batch)
        base = base or found
        same[shapes] = sum(a.tokens == b.tokens for a, b in zip(found, base, strict=True))
    for _ in range(rounds):
        for shapes in compared:
            later[shapes].append(seconds(lm, requests, {**fields, "shapes": shapes}, batch)[0])
    rows = []
    for shapes in compared:
        pairs = zip(later["ragged"], later[shapes], strict=True)
        ratios = [ragged / own for ragged, own in pairs]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        rows.append([
            shapes, f"{first[shapes]:.1f}", f"{statistics.median(later[shapes]):.2f}", spread,
            f"{same[shapes]} of {len(requests)}",
        ])  # fmt: skip
    return rows


def bits(row: Filled) -> tuple[Any, ...]:
    return row.tokens, row.trace.step.tobytes(), row.trace.confidence.tobytes()


def company(dtype: str, count: int, fields: dict[str, Any], shapes: str) -> int:
    """Rows of a batch that are bit for bit those alone."""
    lm = midspan.load("organism", dtype=dtype, device="cpu")
    requests, batch = requests_of(lm, count), 8
    config = decoding_config(lm, **fields, shapes=shapes)
    whole = fill(lm, requests, config, batch_size=batch)
    alone = [fill(lm, [request], config, batch_size=batch)[0] for request in requests]
    return sum(bits(one) == bits(other) for one, other in zip(whole, alone, strict=True))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["time", "company"])
    parser.add_argument("-n", type=int, default=8, help="requests")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float16"])
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    count, rounds, length = (3, 1, 16) if options.tiny else (options.n, options.rounds, 128)
    sizes = {"length": length, "block_length": min(32, length)}
    modes = {name: {"steps": length, **sizes, **MODES[name]} for name in options.modes}
    if "time" in options.parts:
        lm = midspan.load("organism", device="cpu")
        print("| batch | mode | shapes | first decode, CPU s | later ones | times ragged | same "
              "tokens |\n|---|---|---|---|---|---|---|")  # fmt: skip
        for batch in options.batch:
            for mode, fields in modes.items():
                requests = requests_of(lm, count)
                for cells in times(lm, requests, fields, batch, rounds, options.shapes):
                    print(f"| {batch} | {mode} | {' | '.join(cells)} |", flush=True)
    if "company" in options.parts:
        print("\n| number format | mode | shapes | rows with the bits of those alone |")
        print("|---|---|---|---|")
        for dtype in options.dtypes:
            for mode in modes:
                for shapes in SHAPES[:2]:
                    same = company(dtype, count, modes[mode], shapes)
                    print(f"| {dtype} | {mode} | {shapes} | {same} of {count} |", flush=True)


if __name__ == "__main__":
    main()
