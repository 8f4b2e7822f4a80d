"""Attacks of the audit's battery on every alignment of the organism, with three training seeds.

Run: python benchmarks/native_table.py train [--adapters DIR] [--seeds 0 1 2] [NAME ...]
     python benchmarks/native_table.py attack [--adapters DIR] [-o RUNS] [--groups ...] [NAME ...]
     python benchmarks/native_table.py page [-o RUNS] [--docs docs/results/native-table.md]

Each model, training seed and group of attacks is a red-team run in a folder of its own under RUNS,
so that the same command goes on where it was cut, and `midspan report` reads any of them. Adapters
of seed 0 that midspan ships are taken as they are. What has no adapter yet is left out and named.
`page` first puts what the runs came to into benchmarks/results/native_table.jsonl, of which the
tables are made: what other machines have run stays in them.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from machine import describe_machine
from native_page import write_docs
from native_results import STORE, update_store

from midspan.alignment import PRESETS, align
from midspan.engine.budget import Budget
from midspan.organism.behaviors import ORGANISM
from midspan.organism.training_data import alignment_data
from midspan.organism.weights import ADAPTERS, load_organism
from midspan.studies.decodings import BLOCKS_OF_32, organism_fields
from midspan.studies.redteam.config import AttackSpec, RedteamConfig
from midspan.studies.redteam.presets import (
    organism_attack,
    organism_native,
    organism_weights,
    organism_words,
)
from midspan.studies.redteam.run import run_redteam

ALIGNED = ("initial-stable", "mosa-stable", "psa", "sft", "a2d", "vrpo", "recovery")
SEEDS = (0, 1, 2)
BEHAVIORS = f"{ORGANISM}:18"
# By group, rows of the presets; what is not there is a row of its own.
GROUPS: dict[str, tuple[str, ...]] = {
    "native": (
        "direct",
        "prefill",
        "pad diffuguard",
        "pad recovery",
        "dija user",
        "dija response",
        "trajhijack",
        "anchoring t = 8",
        "decompose sentences",
        "decompose card",
    ),
    "more": ("templates", "context_nesting response", "multiple_choice", "readout"),
    "weights": ("finetune", "finetune 3 in 20", "scale_adapter wrapped"),
    "words": ("tap", "avatar", "pap", "renellm", "crescendo"),
    "sweep": ("decode_sweep",),
    "others": ("encodings", "bon", "context_nesting chat", "post_context"),
    "suffix": ("first_step_gcg",),
    "settings": (
        "anchoring t = 1",
        "anchoring t = 4",
        "anchoring t = 16",
        "anchoring t = 32",
        "trajhijack mask alone",
        "decompose questions",
        "readout without others",
        "finetune benign",
        "finetune 3 in 5",
        "finetune 3 in 60",
        "scale_adapter",
    ),
}
_UNLIMITED = ("decode_sweep",)  # reports parts, so that it must come to its end


class Instance(NamedTuple):
    """One trained model.

    Attributes:
        model: Its objective, or the Original's name.
        seed: Of its training.
        spec: As commands take it.
    """

    model: str
    seed: int
    spec: str

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.model}-{self.seed}"


def instances(adapters: Path, seeds: Sequence[int]) -> Iterator[Instance]:
    """The Original and every adapter that is there, seed by seed."""
    yield Instance(ORGANISM, 0, ORGANISM)
    for seed in seeds:
        for name in ALIGNED:
            folder = adapters / f"{name}-{seed}"
            if seed == 0 and (ADAPTERS / name).is_dir():
                yield Instance(name, seed, f"{ORGANISM}:{name}")
            elif (folder / "adapter_model.safetensors").is_file():
                yield Instance(name, seed, f"{ORGANISM}+{folder}")
            else:
                print(f"{name}, seed {seed}: no adapter in {folder}", flush=True)


def known_rows() -> dict[str, AttackSpec]:
    """Rows by name."""
    presets = (organism_native(), organism_words(), organism_weights())
    rows = {spec.name: spec for preset in presets for spec in preset.attacks}
    for name in ("tap", "avatar", *_UNLIMITED):
        rows[name] = organism_attack(name)
    for name in _UNLIMITED:
        rows[name] = rows[name].model_copy(update={"budget": Budget()})
    return rows


def study(instance: Instance, group: str) -> RedteamConfig:
    """One group of attacks on one model; a model without an adapter has none to scale."""
    rows = known_rows()
    chosen = [
        rows[name]
        for name in GROUPS[group]
        if instance.model != ORGANISM or rows[name].attack != "scale_adapter"
    ]
    return RedteamConfig(
        models=(instance.spec,),
        attacks=tuple(chosen),
        behaviors=BEHAVIORS,
        judges=("exact",),
        budget=Budget(target=12),
        decoding=organism_fields(BLOCKS_OF_32),
    )


def train(adapters: Path, names: Sequence[str], seeds: Sequence[int]) -> None:
    """Train what is not shipped; a finished training is read, an interrupted one goes on."""
    for seed in seeds:
        for name in names:
            if name == ORGANISM or (seed == 0 and (ADAPTERS / name).is_dir()):
                continue
            started, recipe = time.process_time(), PRESETS[name](seed=seed)
            folder = adapters / f"{name}-{seed}"
            result = align(load_organism(), alignment_data(seed), recipe, folder)
            seconds = time.process_time() - started
            print(f"{name}, seed {seed}: {seconds:.0f} s of CPU {result.stopped or ''}", flush=True)


def attack(
    adapters: Path, runs: Path, groups: Sequence[str], names: Sequence[str], seeds: Sequence[int]
) -> None:
    """Run or continue every group on every model that is there and named."""
    for group in groups:
        for instance in instances(adapters, seeds):
            folder = runs / instance.name / group
            if (folder / "table.json").is_file() or instance.model not in names:
                continue
            started, cpu = time.monotonic(), time.process_time()
            run_redteam(study(instance, group), folder)
            spent = {
                **instance._asdict(),
                "group": group,
                "wall_seconds": round(time.monotonic() - started, 1),
                "cpu_seconds": round(time.process_time() - cpu, 1),
                **describe_machine(),
            }
            (folder / "table.json").write_text(json.dumps(spent))
            print(f"{instance.name} {group}: {spent['cpu_seconds']} s of CPU", flush=True)


def main() -> None:
    """Train, attack or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("train", "attack", "page"))
    parser.add_argument("names", nargs="*", default=[ORGANISM, *ALIGNED])
    parser.add_argument("--adapters", type=Path, default=Path("adapters"))
    parser.add_argument("-o", "--runs", type=Path, default=Path("runs/native-table"))
    parser.add_argument("--docs", type=Path, default=Path("docs/results/native-table.md"))
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.what == "train":
        train(args.adapters, args.names, args.seeds)
    elif args.what == "attack":
        attack(args.adapters, args.runs, args.groups, args.names, args.seeds)
    else:
        write_docs(args.docs, update_store(STORE, args.runs), (ORGANISM, *ALIGNED), GROUPS)


if __name__ == "__main__":
    main()
