"""The demo: train MOSA and its rivals on the organism, attack all models, write one report."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midspan.files import write_jsonl
from midspan.runs.cards import write_page_and_cards
from midspan.runs.folder import RunFolder
from midspan.runs.progress import Reporter
from midspan.studies.decodings import organism_decodings
from midspan.studies.organism.cases import build_cases
from midspan.studies.organism.demo.config import BASE, LABELS, TRACED_CELLS, DemoConfig
from midspan.studies.organism.measure import CANVAS_FIELDS, measure, write_records


@dataclass(frozen=True)
class DemoResult:
    """What a finished demo leaves behind."""

    records: list[dict[str, Any]]
    report: Path
    seconds: float


def run_demo(config: DemoConfig, folder: str | Path, command: str = "") -> DemoResult:
    """Run or continue the demo in a folder.

    Raises:
        MidspanError: The folder belongs to another configuration or cannot be written.
    """
    started = time.monotonic()
    run = RunFolder(folder, config.model_dump(mode="json"), command, kind="demo")
    reporter = Reporter()
    reporter.say("loading torch, transformers and the organism")
    from midspan.organism.weights import load_organism

    records: list[dict[str, Any]] = []
    cases = build_cases(config.sizes, config.seed)
    decodings = organism_decodings(config.steps)
    with run.journal:
        adapters = _train(config, run, reporter)
        for name, adapter in {BASE: None, **adapters}.items():
            lm = load_organism(adapter)
            with reporter.stage(f"measuring {name}", len(cases) * len(decodings)) as stage:
                records += measure(lm, name, cases, decodings, run.journal, stage.advance)
    _write_traces(run, records)
    write_records(run.path / "records.jsonl", records)
    folders = {LABELS[name]: [path] for name, path in adapters.items()}
    report = write_page_and_cards(run.path, LABELS[BASE], folders)
    reporter.say(f"report: {report}")
    return DemoResult(records, report, time.monotonic() - started)


def _train(config: DemoConfig, run: RunFolder, reporter: Reporter) -> dict[str, Path]:
    """Train every objective; finished adapters are taken as they are."""
    from midspan.alignment import align
    from midspan.organism.training_data import alignment_data
    from midspan.organism.weights import load_organism

    data = alignment_data(config.training_seed)
    adapters: dict[str, Path] = {}
    for name in config.objectives:
        recipe = config.recipe(name)
        folder = run.path / "adapters" / name
        with reporter.training(name, recipe.num_steps, ("reward",)) as show:
            align(load_organism(), data, recipe, folder, show)
        adapters[name] = folder
    return adapters


def _write_traces(run: RunFolder, records: Sequence[Mapping[str, Any]]) -> None:
    """The canvases that records.jsonl leaves out, for the traced cells only."""
    kept = ("model", "decoding", "id", *CANVAS_FIELDS)
    write_jsonl(
        run.path / "traces" / "traces.jsonl",
        ({key: row[key] for key in kept} for row in records if row["cell"] in TRACED_CELLS),
    )
