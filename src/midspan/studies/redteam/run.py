"""Red-team studies: attacks on models, judged, in one resumable run folder."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from midspan.data.behaviors import Behavior
from midspan.engine.problems import problems
from midspan.engine.records import judge_results
from midspan.engine.roles import Role
from midspan.engine.scheduler import SchedulerProgress, run_attacks
from midspan.files import write_jsonl
from midspan.journal.journal import Journal
from midspan.runs.folder import RunFolder
from midspan.runs.kinds import write_page
from midspan.runs.progress import Reporter, Stage
from midspan.studies.given import NOTHING, Given
from midspan.studies.redteam.config import RedteamConfig
from midspan.studies.redteam.judged_by import write_judges
from midspan.studies.redteam.prepare import PreparedRedteam, Target, prepare
from midspan.studies.redteam.replay import REPLAY, REPLAYS_FILE, transfer_rows
from midspan.studies.redteam.servers import contact


@dataclass(frozen=True)
class RedteamResult:
    """What a finished study leaves behind.

    Attributes:
        cells: Records by model and the attack's label.
        report: The page; None for one process of several.
        seconds: Of this command.
    """

    cells: Mapping[tuple[str, str], list[dict[str, Any]]]
    report: Path | None
    seconds: float

    @property
    def problems(self) -> list[str]:
        """What makes the whole of the study doubtful, a line each."""
        return problems([record for records in self.cells.values() for record in records])


def run_redteam(
    config: RedteamConfig,
    folder: str | Path,
    command: str = "",
    given: Given = NOTHING,
    fail_fast: bool = False,
) -> RedteamResult:
    """Run or continue a study in a folder.

    Args:
        config: The study.
        folder: Its run folder.
        command: What started it; by default the program's own command line.
        given: Models, judges and behaviors that the caller has already.
        fail_fast: Raise an error in the code of an attack or a judge; by default it costs the
            outcome of its behavior alone.

    Raises:
        MidspanError: A name or field of the config means nothing, or the folder is another run's.
    """
    return run_prepared(prepare(config, given), folder, command, fail_fast)


def run_prepared(
    prepared: PreparedRedteam, folder: str | Path, command: str = "", fail_fast: bool = False
) -> RedteamResult:
    """Run or continue a prepared study in a folder.

    Raises:
        MidspanError: The folder is another run's, a model cannot be loaded, or a server not be
            asked.
    """
    started = time.monotonic()
    contact(prepared.participants, folder, prepared.needs)
    fields, behaviors = prepared.config.model_dump(mode="json"), prepared.behaviors
    study = RunFolder(folder, fields, command, "red-team", behaviors.summary())
    with study.journal, prepared.given.merged():
        share = study.rank.share(behaviors.behaviors)
        judges = {spec: judge.open() for spec, judge in prepared.judges.items()}
        cells = _attack_all(prepared, judges, share, study.journal, fail_fast)
    report = None
    if study.rank.count == 1:
        calibrations = (
            {"name": judge, "counts": one.to_dict()} for judge, one in prepared.calibrations.items()
        )
        write_jsonl(study.path / "calibrations.jsonl", calibrations)
        _write_replays(study.path, prepared.config, cells)
        write_judges(study.path, judges, prepared.calibrations)
        rows = (row for records in cells.values() for row in records)
        write_jsonl(study.path / "records.jsonl", rows)
        report = write_page(study.path)
    return RedteamResult(cells, report, time.monotonic() - started)


def replies_of(stage: Stage, target: str) -> Callable[[SchedulerProgress], None]:
    """Says beside the attacks that have ended how often the target has replied.

    Args:
        stage: Of the attacks.
        target: Its fingerprint.
    """
    replies = 0

    def show(step: SchedulerProgress) -> None:
        nonlocal replies
        replies += step.replies if step.role == target else 0
        stage.advance(0, f"{replies:,} replies")

    return show


def _write_replays(
    folder: Path, config: RedteamConfig, cells: Mapping[tuple[str, str], list[dict[str, Any]]]
) -> None:
    """What the replayed attempts had come to where they were found; no file without replays."""
    lines = [
        line
        for spec in config.attacks
        if spec.attack == REPLAY
        for line in transfer_rows(spec, cells[config.models[0], spec.name])
    ]
    if lines:
        write_jsonl(folder / REPLAYS_FILE, lines)


class _Others(NamedTuple):
    """Who answers beside the model under attack, the same throughout."""

    helpers: Mapping[str, Role]
    judges: Mapping[str, Role]


def _attack_all(
    prepared: PreparedRedteam,
    judges: Mapping[str, Role],
    behaviors: Sequence[Behavior],
    journal: Journal,
    fail_fast: bool,
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Every attack on every model, a model at a time; their records."""
    others = _Others({name: one.open() for name, one in prepared.helpers.items()}, judges)
    cells: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for target in prepared.targets:
        cells |= _attack_one(prepared, target, others, behaviors, journal, fail_fast)
    return cells


def _attack_one(
    prepared: PreparedRedteam,
    target: Target,
    others: _Others,
    behaviors: Sequence[Behavior],
    journal: Journal,
    fail_fast: bool,
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Every attack on one model; no name holds it afterwards, when the next one is loaded."""
    reporter, seed, judges = Reporter(), prepared.config.seed, others.judges
    reporter.say(f"loading {target.spec}")
    leading = judges[prepared.config.judges[0]]
    roles = {**others.helpers, "judge": leading, **target.open()}
    jobs = prepared.jobs(behaviors, roles)
    with reporter.stage(f"attacks on {target.spec}", len(jobs)) as stage:
        show = replies_of(stage, roles["target"].fingerprint)
        results = run_attacks(jobs, journal, seed, show, fail_fast, stage.advance)
    judged = judge_results(jobs, results, judges, journal, seed, fail_fast=fail_fast)
    count = len(behaviors)
    return {
        (target.spec, row.label): [
            {"model": target.spec, "attack_label": row.label} | item.record()
            for item in judged[index * count : (index + 1) * count]
        ]
        for index, row in enumerate(prepared.attacks)
    }
