"""The demo: train MOSA and its rivals on the organism, attack all models, write one report."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from midspan.alignment import PRESETS, AlignmentConfig
from midspan.engine.journal import write_jsonl
from midspan.study.cards import fill_cards
from midspan.study.cases import Sizes, build_cases
from midspan.study.claims import NUMBERS, demo_hypotheses
from midspan.study.folder import RunFolder
from midspan.study.hypotheses import Hypothesis
from midspan.study.kinds import write_page
from midspan.study.measure import (
    CANVAS_FIELDS,
    measure,
    organism_decodings,
    write_records,
)
from midspan.study.progress import Reporter

BASE = "original"
LABELS = {
    BASE: "Original",
    "initial": "Initial",
    "mosa": "MOSA",
    "anywhere": "Anywhere",
    "mosa_paper": "MOSA (verbatim)",
}
# Cells whose traces are kept, for the decoding order and the player.
TRACED_CELLS = ("plain", "benign_plain", "wraps_held_out", "prefill_40")


class DemoConfig(BaseModel):
    """One demo run.

    Attributes:
        objectives: Alignment presets to train, in the order of the tables.
        sizes: Cases a cell.
        steps: Decoding steps for the canvas of 128 tokens.
        num_prompts: Harmful prompts of each training; None takes each preset's number.
        seed: Seed of the cases; training data and adapters have ``training_seed``.
        hypotheses: What is expected; by default the demo's, at the n of its sizes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    objectives: tuple[str, ...] = ("initial", "mosa", "anywhere", "mosa_paper")
    sizes: Sizes = Sizes()
    steps: int = Field(32, gt=0)
    num_prompts: int | None = Field(None, gt=0)
    seed: int = 1
    training_seed: int = 0
    hypotheses: tuple[Hypothesis, ...] = Field(
        default_factory=lambda fields: demo_hypotheses(fields.get("sizes", Sizes()))
    )

    @field_validator("hypotheses")
    @classmethod
    def _are_measured(cls, given: tuple[Hypothesis, ...]) -> tuple[Hypothesis, ...]:
        for hypothesis in given:
            if hypothesis.number not in NUMBERS:
                raise ValueError(
                    f"nothing measures {hypothesis.number!r}; choose from {', '.join(NUMBERS)}"
                )
        return given

    def recipe(self, objective: str) -> AlignmentConfig:
        """The alignment config of one of the objectives."""
        changes = {"seed": self.training_seed, "num_prompts": self.num_prompts}
        given = {name: value for name, value in changes.items() if value is not None}
        return PRESETS[objective](**given)


def full() -> DemoConfig:
    """Cells large enough to decide the claims; about an hour on two cores."""
    return DemoConfig(sizes=Sizes(plain=108, wraps=54, prefill=54, benign=90, utility=100))


def smoke() -> DemoConfig:
    """Every step of the demo on the smallest cells; for tests."""
    sizes = Sizes(plain=2, wraps=1, prefill=1, benign=1, utility=2)
    return DemoConfig(sizes=sizes, steps=8, num_prompts=24)


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
    report = write_page(run.path)
    fill_cards(run.path, LABELS[BASE], {LABELS[name]: [path] for name, path in adapters.items()})
    reporter.say(f"report: {report}")
    return DemoResult(records, report, time.monotonic() - started)


def _train(config: DemoConfig, run: RunFolder, reporter: Reporter) -> dict[str, Path]:
    """Train every objective; finished adapters are taken as they are."""
    from midspan.alignment import align
    from midspan.organism.lessons import alignment_data
    from midspan.organism.weights import load_organism

    data = alignment_data(config.training_seed)
    adapters: dict[str, Path] = {}
    for name in config.objectives:
        recipe = config.recipe(name)
        folder = run.path / "adapters" / name
        with reporter.stage(f"training {name}", recipe.num_steps) as stage:

            def show(step: int, total: int, row: Mapping[str, float], stage: Any = stage) -> None:
                stage.advance(step - stage.done, f"reward {row['reward']:.1f}")

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
