"""Measure the organism's Original against the figures that it must reach."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from midspan.runs.folder import RunFolder
from midspan.runs.kinds import write_page
from midspan.runs.progress import Reporter
from midspan.studies.decodings import organism_decodings
from midspan.studies.organism.cases import Case, Sizes, build_cases
from midspan.studies.organism.measure import by_canvas, measure, write_records
from midspan.studies.organism.results import Results
from midspan.studies.organism.verify.config import VerifyConfig
from midspan.studies.organism.verify.page import NAME, VerifiedFigure, figures_of

if TYPE_CHECKING:
    from midspan.models import DiffusionLM


def verify(
    lm: "DiffusionLM", folder: str | Path, config: VerifyConfig, command: str = ""
) -> list[VerifiedFigure]:
    """All rows in both decodings; resumable in its run folder."""
    identity = {**asdict(config), "model": lm.fingerprint}
    run = RunFolder(folder, identity, command, "verify")
    reporter = Reporter()
    cases = verification_cases(config)
    decodings = organism_decodings()
    with run.journal, reporter.stage("verifying", len(cases) * len(decodings)) as stage:
        records = measure(lm, NAME, by_canvas(cases, decodings), run.journal, stage.advance)
    write_records(run.path / "records.jsonl", records)
    reporter.say(f"report: {write_page(run.path)}")
    return [row for name in decodings for row in figures_of(Results(records), name)]


def verification_cases(config: VerifyConfig) -> list[Case]:
    """Half of the wrap behaviors meet the trained families, half the others."""
    n = config.n
    sizes = Sizes(plain=n, wraps=-(-config.wraps // 2), prefill=1, benign=n, utility=n)
    return [c for c in build_cases(sizes, config.seed) if not c.cell.startswith("prefill")]
