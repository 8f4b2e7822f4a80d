"""The second organism in other sizes: the same data, order and rates, another width and depth.

Run: python benchmarks/second_sizes.py train [NAME ...] [--sizes DIR]
     python benchmarks/second_objectives.py train mosa-stable ... --base DIR/NAME/original \
         --adapters DIR/NAME/adapters          (then `attack` in place of `train`)
     python benchmarks/second_sizes.py page [--docs docs/results/second-sizes.md]

`train` makes DIR/NAME/helpful and DIR/NAME/original, or goes on with them, and keeps in
benchmarks/results/second_sizes.jsonl what each model is; the size that midspan ships is taken as it
is. What the models and their adapters came to is read from the lines of second_objectives.py.
"""

import argparse
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine
from native_page import replace_between, table
from second_objectives_page import (
    BASE,
    HELD_OUT,
    MEASURED,
    NAMES,
    OBJECTIVES,
    Line,
    of_objective,
    read_lines,
    seeds_text,
    shown_lines,
)

from midspan.files import read_jsonl, write_atomic
from midspan.models import load
from midspan.organism.second.make import OnGroup, make
from midspan.organism.second.training import TrainConfig
from midspan.organism.second.weights import NAME
from midspan.studies.organism.second import aligned

STORE = Path(__file__).parent / "results" / "second_sizes.jsonl"
SHIPPED = "usual"
# Heads keep at least 32 dimensions, in which the first layer copies a title's pieces.
SIZES: Mapping[str, TrainConfig] = {
    "small": TrainConfig(hidden_size=192, heads=6),
    SHIPPED: TrainConfig(),
    "large": TrainConfig(hidden_size=384, layers=4),
}


def train(sizes: Path, names: Iterable[str]) -> None:
    """Make every named size, and keep what it is."""
    for name in names:
        spec = NAME
        if name != SHIPPED:
            spec = str(make(sizes / name, SIZES[name], on_group=told(name)))
        keep(name, spec)


def told(name: str) -> OnGroup:
    """A line a group."""

    def on_group(done: int, total: int, stage: str, loss: float) -> None:
        print(f"{name}: {done} of {total} groups, {stage}, {loss:.3f} nats/token", flush=True)

    return on_group


def keep(name: str, spec: str) -> None:
    """Append a model's line, unless it is there."""
    lm = load(spec)
    if any(line["base"] == lm.fingerprint for line in read_sizes()):
        return
    config = SIZES[name]
    line = {
        "size": name,
        "base": lm.fingerprint,
        "parameters": sum(weight.numel() for weight in lm.model.parameters()),
        "shape": {k: asdict(config)[k] for k in ("hidden_size", "layers", "heads", "mlp_size")},
        "date": time.strftime("%Y-%m-%d"),
        **describe_machine(),
    }
    with STORE.open("a", encoding="utf-8") as file:
        file.write(f"{json.dumps(line)}\n")


def read_sizes() -> list[dict[str, Any]]:
    """Every model's line, the smallest first."""
    lines = read_jsonl(STORE) if STORE.is_file() else []
    return sorted(lines, key=lambda line: int(line["parameters"]))


def shapes_table(sizes: Sequence[Line]) -> str:
    """One row a model."""
    shapes = list(sizes[0]["shape"])
    rows = [
        [title(line), *(str(line["shape"][one]) for one in shapes), line["date"]] for line in sizes
    ]
    return table(["parameters", *(one.replace("_", " ") for one in shapes), "date"], rows)


def judged_table(sizes: Sequence[Line], judged: Sequence[Line]) -> str:
    """One row a cell, decoding and model, one column a size."""
    by_size = [shown_lines(line for line in judged if line["base"] == one["base"]) for one in sizes]
    found = {name: [of_objective(lines, name) for lines in by_size] for name in (BASE, *OBJECTIVES)}
    rows = [
        [label, decoding, NAMES[model], *(seeds_text(o, decoding, cell, estimate) for o in own)]
        for label, cell, estimate in MEASURED
        for decoding in aligned.DECODINGS
        for model, own in found.items()
        if all(own)
    ]
    return table(["measured", "decoding", "model", *map(title, sizes)], rows)


def title(size: Line) -> str:
    """A size by its parameters."""
    return f"{int(size['parameters']) / 1e6:.1f} million"


def write_docs(page: Path) -> None:
    """Write both tables into the page, and nothing else of it."""
    sizes = read_sizes()
    judged = [line for line in read_lines() if line["kind"] == HELD_OUT]
    text = replace_between(page.read_text(encoding="utf-8"), "shapes", shapes_table(sizes))
    write_atomic(page, replace_between(text, "judged", judged_table(sizes, judged)), 0o644)


def main() -> None:
    """Train, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("train", "page"))
    parser.add_argument("names", nargs="*", default=list(SIZES))
    parser.add_argument("--sizes", type=Path, default=Path("sizes"))
    parser.add_argument("--docs", type=Path, default=Path("docs/results/second-sizes.md"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.what == "train":
        train(args.sizes, args.names)
    else:
        write_docs(args.docs)


if __name__ == "__main__":
    main()
