"""All runs in a folder on one page: what each found, when, and how to go on with the others."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from midspan.errors import MidspanError
from midspan.files import read_object, write_atomic
from midspan.report import Cell, Headline, Report, Section, Table, figures
from midspan.report.model import Tone
from midspan.runs.folder import RUN_FILE, FinishedRun
from midspan.runs.kinds import read_report

INDEX_FILE = "index.html"
_PAGE = "report.html"
State = Literal["finished", "not finished", "not readable"]


class ListedRun(NamedTuple):
    """One run of a folder.

    Attributes:
        path: Relative to the folder.
        state: Whether it has a report.
        kind: Of its study.
        verdict: The report's word; empty where it passes none.
        tone: Whether that is good or bad.
        result: The report's sentence, or what to do.
        moment: When its last file was written, in seconds since 1970.
        version: Of midspan.
        has_page: Whether its page is there.
    """

    path: Path
    state: State
    kind: str
    verdict: str
    tone: Tone
    result: str
    moment: float
    version: str
    has_page: bool


def find_runs(folder: Path) -> list[Path]:
    """Run folders below a folder, in the order of their names; a run's own parts are not listed."""
    found = []
    for place, folders, files in os.walk(folder):
        if RUN_FILE in files:
            found.append(Path(place))
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))
    return sorted(found)


def overview(folder: Path) -> Report:
    """The page of a folder of runs, the newest first; reads every run and writes nothing."""
    runs = sorted((_listed(path, folder) for path in find_runs(folder)), key=_newest)
    table = Table(
        "Runs",
        ("Run", "Kind", "Verdict", "Result", "Written", "midspan"),
        tuple(map(_row, runs)),
        "The newest first; times are UTC.",
        name="runs",
    )
    return Report(
        title=f"Runs in {folder.resolve().name or folder.resolve()}",
        subtitle=str(folder),
        headline=Headline((), sentence=_counted(runs)),
        sections=(Section("Runs", "", tables=(table,)),),
        redact=False,
    )


def _counted(runs: Sequence[ListedRun]) -> str:
    counts = Counter(run.state for run in runs)
    parts = [f"{counts[state]} {state}" for state in ("finished", "not finished", "not readable")]
    kept = [part for part in parts if not part.startswith("0 ")]
    return f"{len(runs)} run{'s' if len(runs) != 1 else ''}: {', '.join(kept)}."


def write_overview(folder: Path) -> Path:
    """Write ``index.html`` into a folder of runs; returns its path."""
    from midspan.report.page import render

    path = folder / INDEX_FILE
    write_atomic(path, render(overview(folder)), durable=False)
    return path


def _newest(run: ListedRun) -> tuple[float, str]:
    return -run.moment, str(run.path)


def _listed(path: Path, folder: Path) -> ListedRun:
    state, report, told = _read(path)
    info = _info(path)
    headline = report.headline if report else None
    verdict = headline.verdict if headline else None
    return ListedRun(
        path.relative_to(folder),
        state,
        str(info.get("kind", "")),
        verdict.text if verdict else "",
        verdict.tone if verdict else "plain",
        told or (headline.sentence if headline else report.subtitle if report else ""),
        max((file.stat().st_mtime for file in _own_files(path)), default=0.0),
        str(info.get("versions", {}).get("midspan", "")),
        (path / _PAGE).is_file(),
    )


def _own_files(path: Path) -> Iterator[Path]:
    return (file for pattern in ("*.jsonl", RUN_FILE) for file in path.glob(pattern))


def _read(path: Path) -> tuple[State, Report | None, str]:
    """Its report without figures; else why there is none."""
    try:
        with figures.left_out():
            return "finished", read_report(FinishedRun.open(path)), ""
    except MidspanError as error:
        is_begun = not (path / "records.jsonl").is_file()
        return ("not finished" if is_begun else "not readable"), None, str(error)


def _info(path: Path) -> dict[str, Any]:
    try:
        return dict(read_object(path / RUN_FILE, ""))
    except MidspanError:
        return {}


def _row(run: ListedRun) -> tuple[Cell | str, ...]:
    name = run.path.as_posix()
    link = f"{name}/{_PAGE}" if run.has_page and run.state == "finished" else ""
    written = datetime.fromtimestamp(run.moment, UTC).strftime("%Y-%m-%d %H:%M")
    word = Cell(run.verdict or "-", tone=run.tone)
    if run.state != "finished":
        word = Cell(run.state, tone="muted")
    return Cell(name, link=link), run.kind, word, run.result, written, run.version
