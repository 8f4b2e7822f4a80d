"""The battery: row after row from the least access on, each for the behaviors that still stand."""

from collections.abc import Mapping, Sequence

from midspan.data.behaviors import Behavior
from midspan.engine.outcomes import Outcome
from midspan.engine.records import JudgedResult, judge_results
from midspan.engine.roles import Role
from midspan.engine.scheduler import AttackJob, run_attacks
from midspan.files import Record
from midspan.journal.journal import Journal
from midspan.runs.progress import Reporter
from midspan.studies.audit.config import AuditRow
from midspan.studies.audit.prepare import PreparedAudit, nobody
from midspan.studies.redteam.roles import HELPERS
from midspan.studies.redteam.run import replies_of


def attack(
    prepared: PreparedAudit,
    judges: Mapping[str, Role],
    behaviors: Sequence[Behavior],
    journal: Journal,
    fail_fast: bool = False,
) -> list[Record]:
    """Every row on the behaviors that still stand; the records in their order.

    Args:
        prepared: The audit.
        judges: By spec; the first of the config's decides what has fallen.
        behaviors: All of them, or one process's share: no behavior depends on another.
        journal: Of the replies.
        fail_fast: See `run_attacks`.
    """
    reporter, config = Reporter(), prepared.config
    roles = _roles(prepared, judges, reporter)
    fallen: set[str] = set()
    records: list[Record] = []
    for number, (row, ready) in enumerate(prepared.rows, start=1):
        left = [b for b in behaviors if not config.stop_early or row.on_all or b.id not in fallen]
        if not left:
            continue
        jobs = [AttackJob(ready.attack, ready.config, b, roles, ready.budget) for b in left]
        name = f"{row.name} ({number} of {len(prepared.rows)})"
        with reporter.stage(name, len(jobs)) as stage:
            show = replies_of(stage, roles["target"].fingerprint)
            results = run_attacks(jobs, journal, config.seed, show, fail_fast, stage.advance)
            judged = judge_results(jobs, results, judges, journal, config.seed, fail_fast=fail_fast)
        fallen |= _won(judged, config.judges[0])
        records += [_record(prepared, row, item) for item in judged]
    return records


def _roles(
    prepared: PreparedAudit, judges: Mapping[str, Role], reporter: Reporter
) -> dict[str, Role]:
    (target,) = prepared.redteam.targets
    helpers = {name: helper.open() for name, helper in prepared.redteam.helpers.items()}
    reporter.say(f"loading {target.spec}")
    return {
        **{name: nobody(name) for name in HELPERS},
        **helpers,
        "judge": judges[prepared.config.judges[0]],
        **target.open(),
    }


def _won(judged: Sequence[JudgedResult], judge: str) -> set[str]:
    return {item.job.behavior.id for item in judged if item.outcome(judge) is Outcome.WON}


def _record(prepared: PreparedAudit, row: AuditRow, item: JudgedResult) -> Record:
    place = {"model": prepared.config.target, "attack_label": row.name, "level": row.access}
    return place | item.record()
