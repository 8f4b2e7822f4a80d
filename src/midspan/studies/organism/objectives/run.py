"""Every objective of alignment on the organism at one budget: attacked, used, compared."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midspan.alignment import AlignmentConfig
from midspan.errors import MidspanError
from midspan.files import read_json, write_jsonl
from midspan.runs.cards import write_page_and_cards
from midspan.runs.folder import RunFolder
from midspan.runs.progress import Reporter
from midspan.studies.organism.measure import by_canvas, measure, write_records
from midspan.studies.organism.objectives.config import BASE, ObjectivesConfig, stress_decodings


@dataclass(frozen=True)
class ObjectivesResult:
    """What a finished comparison leaves behind.

    Attributes:
        report: The page.
        seconds: Of this call.
    """

    report: Path
    seconds: float


def run_objectives(
    config: ObjectivesConfig, folder: str | Path, command: str = ""
) -> ObjectivesResult:
    """Train and measure everything; the same call continues an interrupted one.

    Raises:
        MidspanError: A training stopped, or the folder is another run's.
    """
    started = time.monotonic()
    run = RunFolder(folder, config.model_dump(mode="json"), command, "objectives")
    reporter = Reporter()
    from midspan.organism.weights import load_organism

    cases = config.cases()
    known = stress_decodings()
    decodings = {name: known[name] for name in config.decodings}
    records: list[dict[str, Any]] = []
    trainings: list[dict[str, Any]] = []
    adapters: dict[str, list[Path]] = {name: [] for name in config.recipes}
    with run.journal:
        models: dict[tuple[str, int], Path | None] = {(BASE, 0): None}
        for name, recipe in config.recipes.items():
            for seed in config.seeds:
                adapter = _train(run, reporter, name, recipe, seed)
                models[name, seed] = adapter
                adapters[name].append(adapter)
                trainings.append({"model": name, "seed": seed, "seconds": _seconds(adapter)})
        for (name, seed), trained in models.items():
            lm = load_organism(trained)
            with reporter.stage(f"measuring {name} {seed}", len(cases) * len(decodings)) as stage:
                measured = measure(
                    lm, name, by_canvas(cases, decodings), run.journal, stage.advance
                )
            records += [row | {"seed": seed} for row in measured]
    write_jsonl(run.path / "trainings.jsonl", trainings)
    write_records(run.path / "records.jsonl", records)
    page = write_page_and_cards(run.path, BASE, adapters)
    return ObjectivesResult(page, time.monotonic() - started)


def _train(
    run: RunFolder, reporter: Reporter, name: str, recipe: AlignmentConfig, seed: int
) -> Path:
    from midspan.alignment import align
    from midspan.organism.training_data import alignment_data
    from midspan.organism.weights import load_organism

    folder = run.path / "adapters" / f"{name}-{seed}"
    seeded = recipe.model_copy(update={"seed": seed})
    with reporter.training(f"{name} {seed}", recipe.num_steps) as show:
        result = align(load_organism(), alignment_data(seed), seeded, folder, show)
    if result.stopped:
        raise MidspanError(f"{name}, seed {seed}: {result.stopped}")
    return folder


def _seconds(adapter: Path) -> float:
    """Of the training call that finished an adapter."""
    return float(read_json(adapter / "midspan.json")["seconds"])
