"""Attacker's and defender's reach by position, on a diffusion model and its autoregressive twin.

Run: python benchmarks/twin.py DIFFUSION TWIN [-o FOLDER] [-n 48] [--length 128] [--steps 1]
         [--prefills 0 4 8 ...] [--positions 0 5 10 ...] [--seed 0] [--docs PAGE]

DIFFUSION is organism2 or a folder; TWIN is a folder that `midspan organism train --second --twin`
made. FOLDER receives records.jsonl, table.md and a figure each (svg and csv). A model that has been
measured in the same settings is not measured again. PAGE, such as docs/results/second-twin.md,
receives table and figures between its marks.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from machine import describe_machine
from native_page import replace_between

from midspan.decoding import decoding_config
from midspan.files import write_atomic, write_jsonl
from midspan.models import load
from midspan.organism.second.weights import check_world
from midspan.report import Figure
from midspan.report.svg import standalone
from midspan.scoring.gcg_step import GCGConfig
from midspan.scoring.suffix import allowed_tokens
from midspan.studies.organism.second.reach import ReachConfig, figures, measure, table
from midspan.studies.organism.second.writers import CausalWriter, DiffusionWriter


def main() -> None:
    """Measure both, and write the table and the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("diffusion")
    parser.add_argument("twin")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/twin"))
    parser.add_argument("-n", type=int, default=48)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prefills", type=int, nargs="+", default=ReachConfig.prefills)
    parser.add_argument("--positions", type=int, nargs="+", default=ReachConfig.positions)
    parser.add_argument("--docs", type=Path)
    given = parser.parse_args()
    lm = load(given.diffusion, device="cpu")
    check_world(lm)
    search = GCGConfig(steps=given.steps, search_width=64, top_k=64, seed=given.seed)
    config = ReachConfig(
        n=given.n, prefills=tuple(given.prefills), positions=tuple(given.positions),
        search=search, seed=given.seed,
    )  # fmt: skip
    decoding = decoding_config(length=given.length, block_length=32, steps=given.length // 4)
    writers = (DiffusionWriter(lm, decoding), CausalWriter(given.twin, given.length))
    allowed_V = allowed_tokens(lm)
    settings = {**asdict(config), "search": search.model_dump(), "length": given.length}
    records = []
    for writer in writers:
        kept = given.output / f"records-{writer.kind}.json"
        identity = json.loads(json.dumps({**settings, "model": writer.name}))
        found = json.loads(kept.read_text()) if kept.is_file() else {}
        if found.get("settings") != identity:
            made = measure(writer, config, allowed_V, lambda n: print(f"{n} records", flush=True))
            found = {"settings": identity, "records": made}
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(kept, json.dumps(found))
        records += found["records"]
    write_jsonl(given.output / "records.jsonl", records)
    drawn = figures(records)
    for number, figure in enumerate(drawn, 1):
        write_atomic(given.output / f"figure-{number}.svg", figure.svg)
        write_atomic(given.output / f"figure-{number}.csv", figure.csv)
    origin = f"n = {given.n}, seed {given.seed}, canvas {given.length}. {describe_machine()['cpu']}"
    said = f"{table(records)}\n{origin}, {time.strftime('%Y-%m-%d')}."
    write_atomic(given.output / "table.md", f"{said}\n")
    if given.docs:
        write_docs(given.docs, said, drawn)
    print(said)


def write_docs(page: Path, said: str, drawn: Sequence[Figure]) -> None:
    """Put table and figures into a page, the figures as files beside it."""
    parts = [said]
    for number, figure in enumerate(drawn, 1):
        path = page.parent / "figures" / f"second-twin-{number}.svg"
        write_atomic(path, standalone(figure.svg), 0o644)
        parts.append(
            f"![{figure.title}](figures/{path.name})\n\n*{figure.title}. {figure.caption}*"
        )
    text = replace_between(page.read_text(encoding="utf-8"), "reach", "\n\n".join(parts))
    write_atomic(page, text, 0o644)


if __name__ == "__main__":
    main()
