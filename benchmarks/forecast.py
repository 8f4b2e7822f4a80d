"""What `midspan study --dry-run` says of three small studies, and what they then take.

Run: python benchmarks/forecast.py [attacks probes training] [--behaviors N] [--items N]

Seconds are the process's CPU seconds on both sides, so that other work beside it does not count.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from midspan.alignment import PRESETS as RECIPES
from midspan.runs.progress import quiet
from midspan.studies.paper.config import ORIGINAL, PaperConfig
from midspan.studies.paper.forecast import forecast
from midspan.studies.paper.parts import seconds_of
from midspan.studies.paper.run import run_paper
from midspan.studies.probes.config import ProbeSpec
from midspan.studies.redteam.config import RedteamConfig
from midspan.studies.redteam.presets import organism_attack, organism_redteam
from midspan.studies.tasks.config import TaskConfig

CANVAS = {"length": 64, "block_length": 32, "steps": 32}


def studies(behaviors: int, items: int) -> dict[str, PaperConfig]:
    """Three studies of the organism, by what they are made of."""
    attacks = organism_redteam().model_copy(
        update={
            "models": (ORIGINAL,),
            "paper_models": {},
            "attacks": tuple(organism_attack(name) for name in ("direct", "tap", "dia", "pair")),
            "behaviors": f"organism:{behaviors}",
            "decoding": CANVAS,
        }
    )
    probe: dict[str, Any] = {"models": (ORIGINAL,), "n": items, "decoding": CANVAS}
    return {
        "attacks": PaperConfig(
            base="organism", attacks={"attacks": RedteamConfig(**attacks.model_dump())}
        ),
        "probes": PaperConfig(
            base="organism",
            probes={
                "prefill": ProbeSpec(probe="prefill", fields={"positions": (0, 20, 40)}, **probe),
                "samples": ProbeSpec(probe="samples", fields={"start": 20}, **probe),
            },
        ),
        "training": PaperConfig(
            base="organism",
            recipes={"MOSA-stable": RECIPES["mosa-stable"](num_prompts=16 * items)},
            tasks={"utility": TaskConfig(models=(ORIGINAL,), tasks=("choice",), items=items)},
        ),
    }


def needed(config: PaperConfig, folder: Path) -> tuple[dict[str, int], float]:
    """Rows through the network by part, where its records hold them, and hours of all parts."""
    forwards: dict[str, int] = {}
    for name in config.parts:
        for line in (folder / name / "records.jsonl").read_text().splitlines():
            record = json.loads(line)
            usage = record.get("usage", {}).get("target", {})
            found = usage.get("forwards", record.get("forwards"))
            if found is not None:
                forwards[name] = forwards.get(name, 0) + found
    names = (*config.trainings, *config.parts)
    return forwards, sum(seconds_of(config, folder, name) for name in names) / 3600


def compare(config: PaperConfig) -> dict[str, float]:
    """Forecast over need: of forwards, and of hours."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.perf_counter()
        rows = forecast(config, folder)
        took = time.perf_counter() - began
        run_paper(config, folder, "benchmarks/forecast.py")
        forwards, hours = needed(config, folder)
        said = sum(row.forwards for row in rows if row.part in forwards)
        need = sum(forwards.values())
        return {
            "forwards": said / need if need else float("nan"),
            "hours": sum(row.hours for row in rows) / hours,
            "needed_forwards": need,
            "needed_seconds": 3600 * hours,
            "dry_run": took,
        }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["attacks", "probes", "training"])
    parser.add_argument("--behaviors", type=int, default=16)
    parser.add_argument("--items", type=int, default=16)
    options = parser.parse_args(arguments)
    quiet()
    # Forecast and run both read these clocks.
    for clock in ("perf_counter", "monotonic"):
        mock.patch.object(time, clock, time.process_time).start()
    print(
        "| study | forwards needed | forecast / need | CPU s needed | forecast / need | dry run |"
    )
    print("|---|---|---|---|---|---|")
    for name, config in studies(options.behaviors, options.items).items():
        if name in options.parts:
            found = compare(config)
            print(
                f"| {name} | {found['needed_forwards']:,} | {found['forwards']:.2f} | "
                f"{found['needed_seconds']:.0f} | {found['hours']:.2f} "
                f"| {found['dry_run']:.0f} s |",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
