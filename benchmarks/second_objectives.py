"""Every objective anew on the second organism: rates chosen alike, then attacked and used alike.

Run: python benchmarks/second_objectives.py search [NAME ...] [--adapters DIR]
     python benchmarks/second_objectives.py train [NAME ...] [--adapters DIR] [--seeds 0 1 2]
         [--base MODEL]
     python benchmarks/second_objectives.py attack [NAME ...] [--adapters DIR] [--seeds ...] [-n 12]
         [--base MODEL]
     python benchmarks/second_objectives.py ship [NAME ...] [--adapters DIR]
     python benchmarks/second_objectives.py page [--docs docs/results/second-objectives.md]

`search` trains each objective at four rates with seed 0, and asks held-in requests.
`train` trains more seeds at the rate of the preset, which is the best try's. `attack` asks held-out
requests of the Original and of every adapter that is there. Each try and each attacked model is one
JSON line of benchmarks/results/second_objectives.jsonl, and is not measured again. `ship` puts the
adapters of seed 0 beside the weights. `page` writes the tables and the frontier from the lines.

With `--base`, another model of this world is trained and attacked at the same rates; see
second_sizes.py. Each base needs an adapters' folder of its own.
"""

import argparse
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine
from second_objectives_page import (
    BASE,
    CHOOSING,
    CHOSEN_BY,
    HELD_IN,
    HELD_OUT,
    JUDGING_SEED,
    OBJECTIVES,
    RATES,
    STORE,
    last_rate,
    read_lines,
    write_docs,
)

from midspan.alignment import AlignmentConfig, align, on_organism2
from midspan.models import DiffusionLM, load
from midspan.organism.second.training_data import alignment_data
from midspan.organism.second.weights import ADAPTERS, NAME, export_adapter
from midspan.studies.organism.second.aligned import choosing_asks, judging_asks, measure

SEEDS = (0, 1, 2)
_FILE = "adapter_model.safetensors"


def folder_of(adapters: Path, recipe: AlignmentConfig) -> Path:
    """Of an adapter, by what tells the trainings apart."""
    return adapters / f"{recipe.name}-{recipe.learning_rate:g}-{recipe.num_steps}-{recipe.seed}"


def trained(adapters: Path, recipe: AlignmentConfig, base: str = NAME) -> tuple[Path, float]:
    """An adapter's folder and the CPU seconds of its training, by this call or an earlier one."""
    folder = folder_of(adapters, recipe)
    note = folder / "cpu.json"
    if not note.is_file():
        started = time.process_time()
        align(load(base), alignment_data(recipe.seed), recipe, folder)
        note.write_text(json.dumps(round(time.process_time() - started, 1)))
    return folder, json.loads(note.read_text())


def search(adapters: Path, names: Iterable[str]) -> None:
    """Every rate of every objective that has no line for this base yet."""
    for name in names:
        for rate in RATES:
            attempt(adapters, on_organism2(name, learning_rate=rate))
        keys = [key_of(HELD_IN, on_organism2(name, learning_rate=rate), CHOOSING) for rate in RATES]
        tries = [line for line in read_lines() if any(key.items() <= line.items() for key in keys)]
        attempt(adapters, on_organism2(name, learning_rate=last_rate(tries)))


def attempt(adapters: Path, recipe: AlignmentConfig) -> None:
    """Train once, and ask held-in requests; nothing if there is a line."""
    key = key_of(HELD_IN, recipe, CHOOSING)
    if not is_known(key):
        folder, seconds = trained(adapters, recipe)
        keep(key, load(f"{NAME}+{folder}"), seconds)


def train(base: str, adapters: Path, names: Iterable[str], seeds: Iterable[int]) -> None:
    """Every seed at the preset's own rate."""
    for seed in seeds:
        for name in names:
            folder, seconds = trained(adapters, on_organism2(name, seed=seed), base)
            print(f"{folder.name}: {seconds:.0f} s of CPU", flush=True)


def attack(base: str, adapters: Path, names: Iterable[str], seeds: Iterable[int], n: int) -> None:
    """The Original and every adapter that is there, with what is shipped as it is shipped."""
    for recipe, spec in [(None, base), *instances(base, adapters, names, seeds)]:
        key = key_of(HELD_OUT, recipe, n, base)
        if not is_known(key):
            keep(key, load(spec))


def instances(
    base: str, adapters: Path, names: Iterable[str], seeds: Iterable[int]
) -> Iterator[tuple[AlignmentConfig, str]]:
    """Recipes at the chosen rates with the name that loads each; what is not there is said."""
    every = list(names)
    for seed in seeds:
        for name in every:
            recipe = on_organism2(name, seed=seed)
            folder = folder_of(adapters, recipe)
            if base == NAME and seed == 0 and (ADAPTERS / name).is_dir():
                yield recipe, f"{base}:{name}"
            elif (folder / _FILE).is_file():
                yield recipe, f"{base}+{folder}"
            else:
                print(f"{name}, seed {seed}: no adapter in {folder}", flush=True)


def keep(key: Mapping[str, Any], lm: DiffusionLM, seconds: float = 0.0) -> None:
    """Measure a model, and append its line."""
    n, is_try = key["n"], key["kind"] == HELD_IN
    asks = choosing_asks(n, CHOSEN_BY) if is_try else judging_asks(n, JUDGING_SEED)
    started = time.process_time()
    found = measure(lm, asks)
    line = {
        **key,
        "cells": {
            decoding: {cell: asdict(tally) for cell, tally in cells.items()}
            for decoding, cells in found.items()
        },
        "training_seconds": seconds,
        "measuring_seconds": round(time.process_time() - started, 1),
        "date": time.strftime("%Y-%m-%d"),
        **describe_machine(),
    }
    with STORE.open("a", encoding="utf-8") as file:
        file.write(f"{json.dumps(line)}\n")
    print(line["kind"], line["objective"], line["rate"], line["seed"], "done", flush=True)


@cache
def fingerprint_of(base: str) -> str:
    """Of an Original's weights."""
    return load(base).fingerprint


def key_of(kind: str, recipe: AlignmentConfig | None, n: int, base: str = NAME) -> dict[str, Any]:
    """What tells lines apart; the base's fingerprint is among it."""
    return {
        "kind": kind,
        "n": n,
        "objective": recipe.name if recipe else BASE,
        "rate": recipe.learning_rate if recipe else 0.0,
        "steps": recipe.num_steps if recipe else 0,
        "seed": recipe.seed if recipe else 0,
        "base": fingerprint_of(base),
    }


def is_known(key: Mapping[str, Any]) -> bool:
    """Whether there is a line."""
    return any(key.items() <= line.items() for line in read_lines())


def ship(adapters: Path, names: Iterable[str]) -> None:
    """Seed 0 at the presets' rates, rounded and beside the weights."""
    for name in names:
        print(export_adapter(folder_of(adapters, on_organism2(name)), name), flush=True)


def main() -> None:
    """Search, train, attack, ship or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("search", "train", "attack", "ship", "page"))
    parser.add_argument("names", nargs="*", default=list(OBJECTIVES))
    parser.add_argument("--adapters", type=Path, default=Path("adapters"))
    parser.add_argument("--docs", type=Path, default=Path("docs/results/second-objectives.md"))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("-n", type=int, default=12)
    parser.add_argument("--base", default=NAME, help="of train and attack")
    args = parser.parse_args()
    torch.set_num_threads(1)
    run(args)


def run(args: argparse.Namespace) -> None:
    """One of the commands."""
    names: Sequence[str] = args.names
    if args.what == "search":
        search(args.adapters, names)
    elif args.what == "train":
        train(args.base, args.adapters, names, args.seeds)
    elif args.what == "attack":
        attack(args.base, args.adapters, names, args.seeds, args.n)
    elif args.what == "ship":
        ship(args.adapters, names)
    else:
        write_docs(args.docs, fingerprint_of(NAME))


if __name__ == "__main__":
    main()
