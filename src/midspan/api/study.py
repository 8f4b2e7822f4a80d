"""`midspan.study`: a whole comparison from one configuration, with one report."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from midspan.api.results import RunResult
from midspan.api.runs import call_text, listed, run_folder, warn_of
from midspan.errors import MidspanError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from midspan.report import Claim, Table


@dataclass(frozen=True, repr=False)
class StudyRun(RunResult[dict[str, Any]]):
    """A study; the types of its records are in `midspan.records`.

    Records are `CaseRecord`s (demo, objectives), `AttackRecord`s (organism-redteam) or
    `PartRecord`s (paper, organism), whose parts lie in folders of their own.

    Attributes:
        name: The preset, or the kind of the config.
        missing: Parts still to be run; there is no page before they have been.
    """

    name: str = field(default="")
    missing: tuple[str, ...] = ()

    @property
    def claims(self) -> "tuple[Claim, ...]":
        """Claims, what each predicted, and its outcome; none in some studies."""
        return self._report.claims

    def summary(self) -> str:
        """The result in a few words."""
        if self.missing:
            return f"{self.name}, still to be run: {', '.join(self.missing)}"
        return f"{self.name} of {super().summary()}"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<p>{escape(repr(self))}</p>" if self.missing else super()._repr_html_()

    def _tables(self) -> "Sequence[Table]":
        from midspan.report import Table

        rows = tuple(
            (claim.text, claim.outcome, claim.expected, claim.evidence) for claim in self.claims
        )
        columns = ("claim", "outcome", "expected", "measured")
        claims = (Table("Claims", columns, rows),) if rows else ()
        return (*claims, *super()._tables())


def study(
    preset: "str | BaseModel",
    *,
    out: str | Path | None = None,
    progress: bool | None = None,
    jobs: int = 1,
    parts: str | Sequence[str] = (),
    **fields: Any,
) -> StudyRun:
    """Run a whole study; the same call continues it.

    Examples:
        >>> result = midspan.study("organism", out="runs/organism")
        >>> result.report
        PosixPath('runs/organism/report.html')

    Args:
        preset: "organism" or "paper" (everything, on the organism or on LLaDA-8B),
            "organism-redteam", "objectives", "ablations", "samplers", "pieces", "demo",
            "demo-full" or "demo-smoke"; or the config of a study as an object.
        out: Run folder; a temporary one by default.
        progress: False for silence; by default bars on a terminal or in a notebook.
        jobs: Parts at a time, each in a process of its own ("organism", "paper"). Above 1 the
            calling program needs ``if __name__ == "__main__":``.
        parts: Parts to run, all by default ("organism", "paper").
        **fields: Fields of the config that replace the preset's; a group keeps what is left out.

    Returns:
        The records, claims, figures and page of the study.

    Raises:
        MidspanError: A name or field means nothing, data are missing, or the folder belongs to
            another configuration; one line that names it.
    """
    from midspan.runs.progress import library_output
    from midspan.studies.registry import preset_config, study_of

    started = time.monotonic()
    config: Any = preset_config(preset) if isinstance(preset, str) else preset
    if fields:
        config = config.changed(fields)
    kind = study_of(config)
    if kind is None:
        raise MidspanError(
            f"preset: must be a preset or a study's config; got {type(config).__name__}"
        )
    if not kind.has_parts and (jobs > 1 or parts):
        raise MidspanError("jobs, parts: only the studies organism and paper have parts")
    name = preset if isinstance(preset, str) else type(config).__name__
    folder = run_folder(out, "study")
    command = call_text("study", preset, out=out, parts=parts or None, **fields)
    own = {"jobs": jobs, "only": tuple(listed(parts) if parts else ())} if kind.has_parts else {}
    with library_output(progress):
        result = resolve_name(kind.run)(config, folder, command, **own)
    warn_of(getattr(result, "problems", ()))
    missing = result.missing if kind.has_parts else ()
    return StudyRun(folder, config.labels, time.monotonic() - started, name, missing)
