"""What two audits are compared by: each level's worst case and most facts, and the tasks' items."""

from collections.abc import Iterator, Sequence
from typing import Any

from midspan.bounds import Span, any_of, best_of
from midspan.engine.outcomes import counting_judges, facts, won
from midspan.files import Record, read_json
from midspan.runs.compare import Trial
from midspan.runs.folder import FinishedRun
from midspan.studies.audit.config import LEVELS, AuditConfig, AuditRow
from midspan.studies.audit.summary import NOTES, part_runs
from midspan.studies.redteam.prepare import prepare_attack
from midspan.studies.tasks.page import trials_of as task_trials


def trials_of(run: FinishedRun) -> Iterator[Trial]:
    """The worst case of each level and the most facts, by behavior; then the tasks.

    Levels compare where their attacks, settings, helpers and judge are the same.
    """
    config = AuditConfig.model_validate(run.info["config"])
    records, rows = run.rows("records.jsonl"), _rows(run, config)
    for level in dict.fromkeys(row.access for row in rows):
        within = LEVELS[: LEVELS.index(level) + 1]
        battery = [row for row in rows if row.access in within]
        asked = [record for record in records if record["level"] in within]
        yield from _level_trials(config, level, battery, asked)
    for name, part in part_runs(run).items():
        if name in config.tasks:
            for trial in task_trials(part):
                yield _task_trial(config, name, trial)


def _rows(run: FinishedRun, config: AuditConfig) -> list[AuditRow]:
    """The rows that could run; one that nothing was left for is of the battery all the same."""
    notes = read_json(run.path / NOTES)
    left_out = {one["what"] for one in notes["not_run"]}
    return [row for row in config.rows if row.name not in left_out]


def _settings(row: AuditRow, config: AuditConfig) -> dict[str, Any]:
    ready = prepare_attack(row, config.budget)
    budget = {"budget": ready.budget.model_dump(exclude_none=True)}
    proxies = {"proxies": config.proxies} if "proxy" in ready.attack.roles else {}
    return {**ready.config.model_dump(mode="json"), **budget, **proxies}


def _level_trials(
    config: AuditConfig, level: str, battery: Sequence[AuditRow], records: Sequence[Record]
) -> Iterator[Trial]:
    judge = config.judges[0]
    settings = {
        "attacks": {row.name: _settings(row, config) for row in battery},
        "decoding": config.decoding,
        "helpers": config.helpers,
        "judge": judge,
    }
    place = (config.target, level, f"worst case by {judge}")
    counted = (config.target, level, f"most facts by {judge}, mean share")
    is_counting = judge in counting_judges(records)
    by_behavior: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        by_behavior.setdefault((record["behavior"], record["request"]), []).append(record)
    for (behavior, request), rows in by_behavior.items():
        fell = any_of(won(row, judge) for row in rows)
        yield Trial(place, behavior, request, fell, settings)
        if is_counting:
            share = best_of(facts(row, judge) for row in rows)
            if len(rows) < len(battery):  # the rest might have brought more
                share = Span(share.least, 1.0)
            yield Trial(counted, behavior, request, None, settings, share)


def _task_trial(config: AuditConfig, part: str, trial: Trial) -> Trial:
    """A defence is the target's, not a setting of the task: so what it costs can be compared."""
    _, title, cell = trial.place
    decoding = trial.settings.get("decoding")
    settings = dict(trial.settings)
    if decoding is not None:
        settings["decoding"] = {key: value for key, value in decoding.items() if key != "rules"}
    place = (config.target, f"{part}: {title}", cell)
    return Trial(place, trial.unit, trial.asked, trial.success, settings, trial.score)
