"""What can be done with a finished run, by the kind that its ``run.json`` names.

A study joins with one line. Functions are named, not imported, so that reading one kind of run
loads no other study.
"""

from importlib import import_module
from typing import Any, NamedTuple

from midspan.errors import MidspanError
from midspan.study.folder import FinishedRun


class Kind(NamedTuple):
    """Two functions as ``module:name``.

    Attributes:
        report: From a `FinishedRun` to its `Report`.
        trial: From a record to a `midspan.study.compare.Trial`.
    """

    report: str
    trial: str


KINDS = {
    "demo": Kind("midspan.study.demo_report:report_of", "midspan.study.compare:demo_trial"),
    "probe": Kind("midspan.study.probing:report_of", "midspan.study.compare:probe_trial"),
    "paper": Kind("midspan.study.paper.report:report_of", "midspan.study.compare:demo_trial"),
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
