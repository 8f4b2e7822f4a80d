"""What the organism's study attacks take of the shipped models, for dry runs of that study.

Run: python benchmarks/attack_costs.py [attacks adaptive] [--behaviors 6] [--minutes M]

Each part attacks some behaviors of each model, in the study's own settings. Seconds are CPU
seconds, told in forwards of a row as a dry run measures them before and after. What the package's
file has of as many behaviors is not measured again, so that the command can be given several times.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

from midspan.decoding import decoding_config
from midspan.models import load
from midspan.organism.behaviors import ORGANISM
from midspan.runs.progress import quiet
from midspan.studies.paper.known_costs import FILE, setting_of
from midspan.studies.paper.presets import organism
from midspan.studies.paper.rates import Rate
from midspan.studies.redteam.pilot import pilot
from midspan.studies.redteam.prepare import prepare

MODELS = (ORGANISM, *(f"{ORGANISM}:{name}" for name in ("initial-stable", "mosa-stable", "psa")))


def measured(name: str, model: str, behaviors: int) -> list[float]:
    """Responses, forwards and work a behavior."""
    part = organism().attacks[name]
    proxies = (ORGANISM, f"{ORGANISM}:mosa-stable")
    own = part.model_copy(update={"models": (model,), "proxies": proxies, "paper_models": {}})
    prepared = prepare(own)
    lm = load(ORGANISM)
    decoding = decoding_config(lm, **part.decoding)
    before = Rate(lm).seconds(decoding, part.batch_size)
    found = pilot(prepared, prepared.targets[0], behaviors)
    after = Rate(lm).seconds(decoding, part.batch_size)
    work = found.seconds / ((before + after) / 2)
    print(
        f"{name}, {model}: {found.responses:.1f} responses, {found.forwards:.0f} forwards, "
        f"work {work:.0f}, {found.seconds:.1f} CPU s; a row {before:.2e}, {after:.2e} s",
        flush=True,
    )
    return [round(found.responses, 2), round(found.forwards, 1), round(work, 1)]


def missing(
    stored: dict[str, Any], names: Sequence[str], behaviors: int
) -> Iterator[tuple[str, str]]:
    """Parts and models that the file lacks; a part of other behaviors is begun anew."""
    for name in names:
        key = setting_of(organism().attacks[name])
        if stored["parts"].get(key, {}).get("behaviors") != behaviors:
            stored["parts"][key] = {"part": name, "behaviors": behaviors, "costs": {}}
    for model in MODELS:
        for name in names:
            if model not in stored["parts"][setting_of(organism().attacks[name])]["costs"]:
                yield name, model


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["attacks", "adaptive"])
    parser.add_argument("--behaviors", type=int, default=6)
    parser.add_argument("--minutes", type=float, help="start no more after so many")
    options = parser.parse_args(arguments)
    quiet()
    end = time.time() + 60 * (options.minutes or 1e6)
    for clock in ("perf_counter", "monotonic"):
        mock.patch.object(time, clock, time.process_time).start()
    fingerprint = load(ORGANISM).fingerprint
    stored: dict[str, Any] = json.loads(FILE.read_text())
    if stored["fingerprint"] != fingerprint:
        stored = {"fingerprint": fingerprint, "parts": {}}
    for name, model in missing(stored, options.parts, options.behaviors):
        if time.time() > end:
            break
        key = setting_of(organism().attacks[name])
        stored["parts"][key]["costs"][model] = measured(name, model, options.behaviors)
        kept = {setting_of(part) for part in organism().attacks.values()}
        stored["parts"] = {key: one for key, one in stored["parts"].items() if key in kept}
        FILE.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
