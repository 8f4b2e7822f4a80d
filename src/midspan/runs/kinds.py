"""What can be done with a finished run, by the kind that its ``run.json`` names.

A study joins with one line. Functions are named, not imported, so that reading one kind of run
loads no other study.
"""

from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from midspan.errors import MidspanError
from midspan.report import write_report
from midspan.runs.folder import FinishedRun


class Kind(NamedTuple):
    """Two functions as ``module:name``.

    Attributes:
        report: From a `FinishedRun` to its `Report`.
        trials: From a `FinishedRun` to its `midspan.runs.compare.Trial`s.
    """

    report: str
    trials: str


KINDS = {
    "demo": Kind("midspan.study.organism.demo.page:report_of", "midspan.runs.compare:case_trials"),
    "probe": Kind("midspan.study.probes.page:report_of", "midspan.runs.compare:probe_trials"),
    "paper": Kind("midspan.study.paper.page:report_of", "midspan.study.paper.page:trials_of"),
    "red-team": Kind(
        "midspan.study.redteam.page:report_of", "midspan.study.redteam.page:trials_of"
    ),
    "objectives": Kind(
        "midspan.study.organism.objectives.page:report_of", "midspan.runs.compare:case_trials"
    ),
    "verify": Kind(
        "midspan.study.organism.verify.page:report_of", "midspan.runs.compare:case_trials"
    ),
    "task": Kind("midspan.study.tasks.page:report_of", "midspan.study.tasks.page:trials_of"),
}


def function_of(run: FinishedRun, role: str) -> Any:
    """The function that a run's kind has for a role, a field of `Kind`.

    Raises:
        MidspanError: No study of this kind is known.
    """
    kind = KINDS.get(run.info.get("kind", ""))
    if kind is None:
        raise MidspanError(
            f"{run.path} was written by: {run.info.get('command')}; "
            f"only these kinds of run can be read: {', '.join(KINDS)}"
        )
    module, _, name = getattr(kind, role).partition(":")
    return getattr(import_module(module), name)


def write_page(folder: Path) -> Path:
    """Write the report of a run that has come to its end; returns the page's path."""
    run = FinishedRun.open(folder)
    return write_report(function_of(run, "report")(run), run.path)
