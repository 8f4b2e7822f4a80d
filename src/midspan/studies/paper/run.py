"""Run the whole study, or one part of it, and write its report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from midspan.errors import not_one_of
from midspan.files import write_jsonl
from midspan.journal.ranks import Rank
from midspan.organism.worlds import is_organism
from midspan.runs.cards import write_page_and_cards
from midspan.runs.executors import How
from midspan.runs.folder import RunFolder
from midspan.runs.processes import Part
from midspan.runs.progress import Reporter
from midspan.studies.paper.config import ORIGINAL, PaperConfig
from midspan.studies.paper.parts import (
    is_done,
    part_folder,
    problems_of,
    run_part,
    run_share,
    seconds_of,
)
from midspan.studies.paper.prepare import PreparedPaper, prepare
from midspan.studies.probes.prepare import PreparedProbe
from midspan.studies.redteam.prepare import PreparedRedteam
from midspan.studies.redteam.servers import contact
from midspan.studies.redteam.shares import ranks, share_name

KIND = "paper"


@dataclass(frozen=True)
class PaperResult:
    """What a call leaves behind.

    Attributes:
        report: The page; None as long as parts are missing.
        missing: Parts that are still to be run.
        seconds: Of this call.
        problems: What makes parts doubtful, a line each; the same call runs these parts again.
    """

    report: Path | None
    missing: tuple[str, ...]
    seconds: float
    problems: tuple[str, ...] = ()


def run_paper(
    config: PaperConfig,
    folder: str | Path,
    command: str = "",
    jobs: int = 1,
    only: Sequence[str] = (),
    fail_fast: bool = False,
) -> PaperResult:
    """Run or continue the study; what is finished is not run again.

    Args:
        config: The study.
        folder: Its run folder; every part has a folder within.
        command: What started it; by default the program's own command line.
        jobs: Parts at a time, each in a process of its own; 1 for none.
        only: Parts or labels to run, for machines that share the folder; empty for all.
        fail_fast: Raise an error in the code of an attack, task or judge.

    Raises:
        MidspanError: Bad input, a part that failed, or a folder of another configuration.
    """
    return run_parts(config, folder, How(command, jobs, fail_fast), only)


def run_parts(
    config: PaperConfig, folder: str | Path, how: How, only: Sequence[str] = ()
) -> PaperResult:
    """As `run_paper`, by whoever runs its parts.

    Raises:
        MidspanError: See `run_paper`.
    """
    folder = Path(folder)
    stages = (tuple(config.trainings), tuple(config.parts))
    names = [name for stage in stages for name in stage]
    for name in only:
        if name not in names:
            raise not_one_of("--part", name, names)
    prepared = prepare(config, folder)
    wanted = [name for name in config.parts if not only or name in only]
    _contact(prepared, [name for name in wanted if _is_due(config, folder, name)])
    RunFolder(folder, config.identity, how.command, KIND)
    for stage in stages:
        chosen = [name for name in stage if not only or name in only]
        _run_stage(prepared, chosen, how)
    missing = tuple(name for name in names if not is_done(config, folder, name))
    report = None if missing else _finish(config, folder, names)
    problems = tuple(
        f"{name}: {line}"
        for name in names
        if name not in missing
        for line in problems_of(config, folder, name)
    )
    return PaperResult(report, missing, how.seconds, problems)


def _is_due(config: PaperConfig, folder: Path, name: str) -> bool:
    return not is_done(config, folder, name) or bool(problems_of(config, folder, name))


def _contact(prepared: PreparedPaper, names: Sequence[str]) -> None:
    """Find out whether the servers of parts can be asked, before anything is trained."""
    for name in names:
        part = prepared.parts[name]
        if isinstance(part, PreparedRedteam):
            contact(part.participants, prepared.folder / name)
        elif isinstance(part, PreparedProbe):
            part.contact(prepared.folder / name)


def _run_stage(prepared: PreparedPaper, names: Sequence[str], how: How) -> None:
    config, folder, reporter = prepared.config, prepared.folder, Reporter()
    due = [name for name in names if _is_due(config, folder, name)]
    for name in names:
        if name not in due:
            reporter.say(f"{name}: finished before")
    small = is_organism(config.base)
    if due and (how.on_ray or (len(due) > 1 and how.width(small) > 1)):
        how.run(_tasks(prepared, due, how), small)
        return
    for number, name in enumerate(due, start=1):
        reporter.say(f"{name} ({number} of {len(due)})")
        run_part(prepared, name, how)


def _tasks(prepared: PreparedPaper, due: Sequence[str], how: How) -> dict[str, Part]:
    """The parts; on Ray the behaviors of attacks in shares before them, as many as it has room."""
    config, folder = prepared.config, prepared.folder
    tasks: dict[str, Part] = {}
    for name in due:
        part, shares = prepared.parts.get(name), dict[str, Part]()
        if how.on_ray and isinstance(part, PreparedRedteam):
            count = min(how.width(is_organism(config.base)), len(part.behaviors))
            shares = {
                f"{name}: {share_name(rank)}": Part(_run_share, (config, folder, name, how, rank))
                for rank in ranks(count)
            }
        whole = Part(_run_alone, (config, folder, name, how, len(shares)), tuple(shares))
        tasks |= {**shares, name: whole}
    return tasks


def _run_alone(config: PaperConfig, folder: Path, name: str, how: How, shares: int = 0) -> None:
    """One part in a process of its own, which reads no other part's data."""
    run_part(prepare(config, folder, [name]), name, how, shares)


def _run_share(config: PaperConfig, folder: Path, name: str, how: How, rank: Rank) -> None:
    """One process's share of a part's behaviors."""
    run_share(prepare(config, folder, [name]), name, how, rank)


def _finish(config: PaperConfig, folder: Path, names: Sequence[str]) -> Path:
    """What the parts took is the study's own record; all else is read from their folders."""
    rows = [{"part": name, "seconds": seconds_of(config, folder, name)} for name in names]
    write_jsonl(folder / "records.jsonl", rows)
    # Tables of a further seed's own stand in the pages of its parts.
    adapters = {label: [part_folder(config, folder, label)] for label in config.recipes}
    return write_page_and_cards(folder, ORIGINAL, adapters)
