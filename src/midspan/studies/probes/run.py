"""Run a probe on one model or several, in a run folder with tables, figures and a page."""

from pathlib import Path
from typing import Any

from midspan.errors import MidspanError
from midspan.files import write_jsonl
from midspan.organism.behaviors import is_organism
from midspan.probes.context import ProbeContext
from midspan.runs.folder import RUN_FILE, RunFolder
from midspan.runs.kinds import write_page
from midspan.runs.progress import Reporter
from midspan.studies.decodings import probe_decodings
from midspan.studies.given import NOTHING, Given
from midspan.studies.probes.config import ProbeSpec
from midspan.studies.probes.prepare import PreparedProbe, prepare
from midspan.studies.probes.registry import PROBES


def run_probe(
    spec: ProbeSpec, folder: str | Path, command: str = "", given: Given = NOTHING
) -> list[dict[str, Any]]:
    """Measure every model, one after the other, and write the run folder; returns the records.

    Args:
        spec: The probe.
        folder: The run folder.
        command: What started it; by default the program's own command line.
        given: Models that the caller has loaded.

    Raises:
        MidspanError: If the folder belongs to another run, or a model cannot do what is asked.
    """
    return run_prepared(prepare(spec, given), folder, command)


def run_prepared(
    prepared: PreparedProbe, folder: str | Path, command: str = ""
) -> list[dict[str, Any]]:
    """Run or continue a prepared probe; see `run_probe`.

    Raises:
        MidspanError: If the folder belongs to another run, or a model cannot do what is asked.
    """
    spec, given = prepared.spec, prepared.given
    run = RunFolder(folder, prepared.identity, command, "probe")
    reporter = Reporter()
    measure = PROBES[spec.probe].measurement()
    records: list[dict[str, Any]] = []
    try:
        with run.journal, given.merged():
            for model in spec.models:
                lm = given.load(model)
                decodings = probe_decodings(lm, spec.decoding, is_organism(model))
                context = ProbeContext(lm, model, decodings, run.journal, spec.rows, reporter.stage)
                records += measure(context, prepared.data, prepared.config)
    except MidspanError:
        # A folder in which nothing was done must not hold on to settings that were refused.
        if not len(run.journal):
            (run.path / RUN_FILE).unlink()
        raise
    write_jsonl(run.path / "records.jsonl", records)
    reporter.say(f"report: {write_page(run.path)}")
    return records
