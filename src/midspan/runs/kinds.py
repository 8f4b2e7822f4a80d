"""What can be done with a finished run, by the kind that its ``run.json`` names.

A study joins with one line. Functions are named, not imported, so that reading one kind of run
loads no other study.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

from midspan.errors import MidspanError
from midspan.report import Report, write_report
from midspan.report.styles import one_report
from midspan.runs.folder import FinishedRun, reading


class Kind(NamedTuple):
    """Two functions as ``module:name``, imported when they are asked for."""

    report_name: str
    trials_name: str

    @property
    def report(self) -> Callable[[FinishedRun], Report]:
        """From a finished run to its report, in which a model looks the same everywhere."""
        function: Callable[[FinishedRun], Report] = resolve_name(self.report_name)

        def report(run: FinishedRun) -> Report:
            with one_report():
                return function(run)

        return report

    @property
    def trials(self) -> Callable[[FinishedRun], Iterator[Any]]:
        """From a finished run to its `midspan.runs.compare.Trial`s."""
        function: Callable[[FinishedRun], Iterator[Any]] = resolve_name(self.trials_name)
        return function


KINDS = {
    "demo": Kind(
        "midspan.studies.organism.demo.page:report_of", "midspan.runs.compare:case_trials"
    ),
    "probe": Kind("midspan.studies.probes.page:report_of", "midspan.runs.compare:probe_trials"),
    "paper": Kind("midspan.studies.paper.page:report_of", "midspan.studies.paper.page:trials_of"),
    "red-team": Kind(
        "midspan.studies.redteam.page:report_of", "midspan.studies.redteam.page:trials_of"
    ),
    "audit": Kind("midspan.studies.audit.page:report_of", "midspan.studies.audit.trials:trials_of"),
    "objectives": Kind(
        "midspan.studies.organism.objectives.page:report_of", "midspan.runs.compare:case_trials"
    ),
    "verify": Kind(
        "midspan.studies.organism.verify.page:report_of", "midspan.runs.compare:case_trials"
    ),
    "choice": Kind(
        "midspan.studies.choice.page:report_of", "midspan.studies.choice.page:trials_of"
    ),
    "task": Kind("midspan.studies.tasks.page:report_of", "midspan.studies.tasks.page:trials_of"),
}


def kind_of(run: FinishedRun) -> Kind:
    """What can be done with a run.

    Raises:
        MidspanError: No study of its kind is known.
    """
    kind = KINDS.get(run.info.get("kind", ""))
    if kind is None:
        raise MidspanError(
            f"{run.path} was written by: {run.info.get('command')}; "
            f"only these kinds of run can be read: {', '.join(KINDS)}"
        )
    return kind


def read_report(run: FinishedRun) -> Report:
    """The report of a finished run, made from its folder alone.

    Raises:
        MidspanError: The folder is damaged, or its kind is not known.
    """
    report = kind_of(run).report
    with reading(run.path):
        return report(run)


def read_trials(run: FinishedRun) -> list[Any]:
    """The `midspan.runs.compare.Trial`s of a finished run.

    Raises:
        MidspanError: The folder is damaged, or its kind is not known.
    """
    trials = kind_of(run).trials
    with reading(run.path):
        return list(trials(run))


def write_page(folder: Path) -> Path:
    """Write the report of a run that has come to its end; returns the page's path."""
    run = FinishedRun.open(folder)
    with one_report():
        return write_report(kind_of(run).report(run), run.path)
