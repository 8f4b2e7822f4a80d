"""Run or continue an audit: the battery, the tasks beside it, and what they come to in words."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midspan.engine.problems import problems
from midspan.files import Record, read_json, write_atomic, write_jsonl
from midspan.journal.ranks import Rank, take_rank
from midspan.organism.worlds import is_organism
from midspan.runs.executors import How
from midspan.runs.folder import FinishedRun, RunFolder
from midspan.runs.kinds import write_page
from midspan.runs.processes import Part
from midspan.studies.audit.badge import badge_svg
from midspan.studies.audit.battery import attack
from midspan.studies.audit.card import card_markdown
from midspan.studies.audit.config import AuditConfig
from midspan.studies.audit.parts import CannotRunError, NotRun, run_part
from midspan.studies.audit.prepare import PreparedAudit, prepare
from midspan.studies.audit.schema import Audit
from midspan.studies.audit.summary import NOTES, audit_of
from midspan.studies.given import NOTHING, Given
from midspan.studies.redteam.judged_by import write_judges
from midspan.studies.redteam.servers import contact
from midspan.studies.redteam.shares import ranks, share_name

KIND = "audit"
AUDIT_FILE, CARD_FILE, BADGE_FILE = "audit.json", "card.md", "badge.svg"


@dataclass(frozen=True)
class AuditResult:
    """What a finished audit leaves behind.

    Attributes:
        audit: What it says; None for one process of several.
        report: The page; likewise.
        seconds: Of this call.
        problems: What makes the whole of it doubtful, a line each.
    """

    audit: Audit | None
    report: Path | None
    seconds: float
    problems: tuple[str, ...] = ()


def run_audit(
    config: AuditConfig, folder: str | Path, how: How | None = None, given: Given = NOTHING
) -> AuditResult:
    """Run or continue an audit in a folder.

    Args:
        config: The audit.
        folder: Its run folder; tasks have folders within.
        how: How it is run.
        given: Models, judges and behaviors that the caller has in hand; they keep to one process.

    Raises:
        MidspanError: A name or field of the config means nothing, or the folder is another run's.
    """
    folder, how = Path(folder), how or How()
    prepared = prepare(config, given)
    contact(prepared.redteam.participants, folder, prepared.redteam.needs)
    run = _opened(prepared, folder, how)
    small = is_organism(config.model)
    jobs = how.width(small) if run.rank.count == 1 else 1
    if how.on_ray:
        arguments = (config, folder, how.alone, given)
        parts = _parts(prepared, folder, how, jobs)
        done: AuditResult = how.run_then_collect(parts, run_audit, arguments, small)
        return done
    if jobs > 1:
        how.run(_parts(prepared, folder, how, jobs), small)
    judges = {spec: judge.open() for spec, judge in prepared.redteam.judges.items()}
    with run.journal, given.merged():
        share = run.rank.share(prepared.redteam.behaviors.behaviors)
        records = attack(prepared, judges, share, run.journal, how.fail_fast)
    if run.rank.count > 1:
        return AuditResult(None, None, how.seconds)
    found, missing = _beside(prepared, folder, how)
    write_judges(folder, judges, {})
    write_notes(folder, prepared, missing, how.seconds)
    report = write_results(folder, records)
    return AuditResult(_read(folder), report, how.seconds, (*problems(records), *found))


def write_notes(
    folder: Path, prepared: PreparedAudit, missing: Sequence[NotRun], seconds: float
) -> None:
    """What the records do not hold: what was not run and why, the gate, the time taken so far."""
    file, config = folder / NOTES, prepared.config
    before: dict[str, Any] = dict(read_json(file)) if file.is_file() else {}
    notes = {
        "not_run": [one._asdict() for one in (*prepared.not_run, *missing)],
        "behaviors": len(prepared.redteam.behaviors),
        "sha256": prepared.redteam.behaviors.sha256,
        "fail_above": config.fail_above,
        "fail_level": config.fail_level,
        "most": prepared.most,
        "seconds": [*before.get("seconds", ()), round(seconds, 1)],
    }
    write_atomic(file, json.dumps(notes, indent=1))


def write_results(folder: Path, records: list[Record]) -> Path:
    """Everything that a finished audit says, the page last; returns the page's path."""
    write_jsonl(folder / "records.jsonl", records)
    audit = _read(folder)
    write_atomic(folder / AUDIT_FILE, audit.model_dump_json(indent=1))
    write_atomic(folder / CARD_FILE, card_markdown(audit))
    write_atomic(folder / BADGE_FILE, badge_svg(audit))
    return write_page(folder)


def _read(folder: Path) -> Audit:
    return audit_of(FinishedRun.open(folder))


def _opened(prepared: PreparedAudit, folder: Path, how: How) -> RunFolder:
    fields = prepared.config.model_dump(mode="json")
    return RunFolder(folder, fields, how.command, KIND, prepared.redteam.behaviors.summary())


def _beside(prepared: PreparedAudit, folder: Path, how: How) -> tuple[list[str], list[NotRun]]:
    """Run or read the parts: what makes them doubtful, and which of them cannot be measured."""
    found, missing = [], []
    for name, part in prepared.parts.items():
        try:
            lines = run_part(part, folder / name, how.command, how.fail_fast)
        except CannotRunError as error:
            missing.append(NotRun(name, "", str(error)))
        else:
            found += [f"{name}: {line}" for line in lines]
    return found, missing


def _parts(prepared: PreparedAudit, folder: Path, how: How, jobs: int) -> dict[str, Part]:
    """The battery's behaviors in as many shares as processes, then the tasks."""
    count = min(jobs, len(prepared.redteam.behaviors))
    arguments = (prepared.config, folder, how.alone)
    shares = {share_name(rank): Part(attack_share, (*arguments, rank)) for rank in ranks(count)}
    return shares | {name: Part(part_alone, (*arguments, name)) for name in prepared.parts}


def attack_share(config: AuditConfig, folder: Path, how: How, rank: Rank) -> None:
    """One process's share of the behaviors, into its own journal."""
    take_rank(rank)
    prepared = prepare(config)
    run = _opened(prepared, folder, how)
    judges = {spec: judge.open() for spec, judge in prepared.redteam.judges.items()}
    with run.journal:
        share = rank.share(prepared.redteam.behaviors.behaviors)
        attack(prepared, judges, share, run.journal, how.fail_fast)


def part_alone(config: AuditConfig, folder: Path, how: How, name: str) -> None:
    """One part in a process of its own."""
    with suppress(CannotRunError):  # said once, by the process that collects
        run_part(prepare(config).parts[name], folder / name, how.command, how.fail_fast)
