"""The demo: train MOSA on the second organism, attack it and shipped adapters, write one report."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midspan.files import write_jsonl
from midspan.journal.journal import Journal
from midspan.journal.ranks import Rank, open_journal
from midspan.organism.worlds import SECOND, room
from midspan.runs.cards import write_page_and_cards
from midspan.runs.folder import RunFolder
from midspan.runs.processes import Part, run_together, threads_asked
from midspan.runs.progress import Reporter
from midspan.studies.decodings import BLOCKS_OF_32
from midspan.studies.organism.demo.cases import build_cases, groups
from midspan.studies.organism.demo.config import TRACED_CELLS, DemoConfig
from midspan.studies.organism.demo.models import BASE, label_of, trained
from midspan.studies.organism.measure import CANVAS_FIELDS, measure, write_records
from midspan.studies.organism.second.cases import USUAL
from midspan.studies.organism.second.verify import decoding

# Fewer responses than these take less time than it takes to start processes for them.
FEW = 200


@dataclass(frozen=True)
class DemoResult:
    """What a finished demo leaves behind."""

    records: list[dict[str, Any]]
    report: Path
    seconds: float


def run_demo(config: DemoConfig, folder: str | Path, command: str = "") -> DemoResult:
    """Run or continue the demo in a folder.

    Models are measured side by side, each in a process of one thread.

    Raises:
        MidspanError: The folder belongs to another configuration or cannot be written, or a process
            failed.
    """
    started = time.monotonic()
    run = RunFolder(folder, config.model_dump(mode="json"), command, kind="demo")
    reporter = Reporter()
    if not (run.path / "records.jsonl").is_file():
        reporter.say("loading torch, transformers and the organism")
        _show_two_answers(reporter)
        _run_parts(config, run.path)
    records: list[dict[str, Any]] = []
    with run.journal, reporter.stage("reading what was measured", len(config.labels)) as stage:
        for model in config.labels:
            records += _measure(config, model, run.path, run.journal)
            stage.advance(1)
    _write_traces(run, records)
    write_records(run.path / "records.jsonl", records)
    folders = {label_of(trained(name)): [_folder(run.path, name)] for name in config.objectives}
    report = write_page_and_cards(run.path, label_of(BASE), folders)
    reporter.say(f"report: {report}")
    return DemoResult(records, report, time.monotonic() - started)


def side_by_side(config: DemoConfig) -> int:
    """How many models are worked on at a time: a core each, or as many as the user's threads."""
    responses = len(config.labels) * len(build_cases(config.sizes, config.seed))
    if responses < FEW:
        return 1
    cores = os.cpu_count() or 1
    return min(len(config.labels), max(1, cores // (threads_asked() or 1)))


def _show_two_answers(reporter: Reporter) -> None:
    """What the Original says of an open work and of a sealed one."""
    from midspan.decoding import chat_request, decode
    from midspan.models import load
    from midspan.organism.second.world import open_items, sealed_items

    lm, config = load(SECOND, device="cpu"), decoding(USUAL, BLOCKS_OF_32)
    for item in (open_items()[0], sealed_items()[0]):
        prompt = f"How do I make the {item.title}?"
        (answer,) = decode(lm, [chat_request(lm, prompt, config)], config)
        reporter.say(f"{prompt} Original: {answer.text}")


def _run_parts(config: DemoConfig, folder: Path) -> None:
    """Every model's training and measuring, as many at a time as there are cores for."""
    # Who is trained takes longest.
    models = sorted(config.labels, key=lambda model: model.startswith(trained("")), reverse=True)
    parts = {
        label_of(model): Part(_model_part, (config, model, folder, Rank(index, len(models))))
        for index, model in enumerate(models)
    }
    jobs = side_by_side(config)
    if jobs > 1:
        run_together(parts, jobs, threads=1)
        return
    for part in parts.values():
        part.work(*part.arguments)


def _model_part(config: DemoConfig, model: str, folder: Path, rank: Rank) -> None:
    """Train a model, where it is one of those, and put its responses into a journal of its own."""
    reporter = Reporter()
    for name in config.objectives:
        if trained(name) == model:
            _train(config, name, _folder(folder, name), reporter)
    total = len(build_cases(config.sizes, config.seed)) * len(config.decodings)
    with (
        open_journal(folder, rank) as journal,
        reporter.stage(f"measuring {label_of(model)}", total) as stage,
    ):
        _measure(config, model, folder, journal, stage.advance)


def _measure(
    config: DemoConfig, model: str, folder: Path, journal: Journal, on_batch: Any = None
) -> list[dict[str, Any]]:
    from midspan.models import load

    adapters = {trained(name): _folder(folder, name) for name in config.objectives}
    if model in (BASE, *adapters):
        lm = load(SECOND, adapter=adapters.get(model), device="cpu")
    else:
        lm = load(f"{SECOND}:{model}", device="cpu")
    cases = build_cases(config.sizes, config.seed)
    asked = groups(cases, config.decodings, config.positions_a_step)
    return measure(lm, model, asked, journal, on_batch)


def _train(config: DemoConfig, name: str, folder: Path, reporter: Reporter) -> None:
    """Train one objective; a finished adapter is taken as it is."""
    from midspan.alignment import align
    from midspan.models import load

    recipe = config.recipe(name)
    data = room(SECOND, "training_data").alignment_data(config.training_seed)
    with reporter.training(name, recipe.num_steps, ("reward",)) as show:
        align(load(SECOND, device="cpu"), data, recipe, folder, show)


def _folder(run: Path, objective: str) -> Path:
    return run / "adapters" / objective


def _write_traces(run: RunFolder, records: Sequence[Mapping[str, Any]]) -> None:
    """The canvases that records.jsonl leaves out, for the traced cells only."""
    kept = ("model", "decoding", "id", *CANVAS_FIELDS)
    write_jsonl(
        run.path / "traces" / "traces.jsonl",
        ({key: row[key] for key in kept} for row in records if row["cell"] in TRACED_CELLS),
    )
