"""Run a probe on one model or several, in a run folder with tables, figures and a page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midspan.engine.problems import error_line
from midspan.errors import MidspanError
from midspan.files import write_jsonl
from midspan.runs.folder import RunFolder
from midspan.runs.kinds import write_page
from midspan.runs.progress import Reporter
from midspan.studies.given import NOTHING, Given
from midspan.studies.probes.config import ProbeSpec
from midspan.studies.probes.page import ERRORS_FILE
from midspan.studies.probes.prepare import PreparedProbe, prepare
from midspan.studies.probes.registry import PROBES
from midspan.studies.probes.sections.cells import FIRST_ALONE


@dataclass(frozen=True)
class ProbeResult:
    """What a finished probe leaves behind.

    Attributes:
        records: As the run folder has them.
        errors: Records without an outcome, with the error that the judge's code raised; they are
            in errors.jsonl, and no rate counts them.
    """

    records: list[dict[str, Any]]
    errors: list[dict[str, Any]]

    @property
    def problems(self) -> list[str]:
        """What makes the rates doubtful, a line each."""
        reasons = [record["error"] for record in self.errors]
        return [error_line(reasons, "responses")] if reasons else []


def run_probe(
    spec: ProbeSpec,
    folder: str | Path,
    command: str = "",
    given: Given = NOTHING,
    fail_fast: bool = False,
) -> ProbeResult:
    """Measure every model, one after the other, and write the run folder.

    Args:
        spec: The probe.
        folder: The run folder.
        command: What started it; by default the program's own command line.
        given: Models that the caller has loaded.
        fail_fast: Raise an error in the judge's code.

    Raises:
        MidspanError: If the folder belongs to another run, or a model cannot do what is asked.
    """
    return run_prepared(prepare(spec, given), folder, command, fail_fast)


def run_prepared(
    prepared: PreparedProbe, folder: str | Path, command: str = "", fail_fast: bool = False
) -> ProbeResult:
    """Run or continue a prepared probe; see `run_probe`.

    Raises:
        MidspanError: If the folder belongs to another run, or a model cannot do what is asked.
    """
    spec, given = prepared.spec, prepared.given
    prepared.contact(folder)
    run = RunFolder(folder, prepared.identity, command, "probe")
    reporter = Reporter()
    for served in prepared.in_part:
        reporter.say(f"{served} {FIRST_ALONE}")
    measure = PROBES[spec.probe].measurement()
    records: list[dict[str, Any]] = []
    with run.journal, given.merged():
        for model in spec.models:
            # No name holds a model, so that it is gone when the next one is loaded.
            records += measure(
                prepared.context(model, run.journal, reporter.stage, fail_fast),
                prepared.data,
                prepared.config,
            )
    result = ProbeResult(
        [row for row in records if "error" not in row], [row for row in records if "error" in row]
    )
    if result.errors or (run.path / ERRORS_FILE).is_file():
        write_jsonl(run.path / ERRORS_FILE, result.errors)
    if not result.records:
        raise MidspanError(f"{spec.probe}: {result.problems[0]}")
    write_jsonl(run.path / "records.jsonl", result.records)
    reporter.say(f"report: {write_page(run.path)}")
    return result
