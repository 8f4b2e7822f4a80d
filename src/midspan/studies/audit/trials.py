"""What two audits are compared by: each level's worst case and most facts, and the tasks' items."""

from collections.abc import Iterator, Sequence

from midspan.bounds import Span, any_of, best_of
from midspan.engine.outcomes import counting_judges, facts, won
from midspan.files import Record
from midspan.runs.compare import Trial
from midspan.runs.folder import FinishedRun
from midspan.studies.audit.config import LEVELS, AuditConfig
from midspan.studies.tasks.page import trials_of as task_trials


def trials_of(run: FinishedRun) -> Iterator[Trial]:
    """The worst case of each level and the most facts, by behavior; then the tasks.

    Levels compare where their attacks, settings, helpers and judge are the same.
    """
    config = AuditConfig.model_validate(run.info["config"])
    records = run.rows("records.jsonl")
    for level in dict.fromkeys(row.access for row in config.rows):
        within = LEVELS[: LEVELS.index(level) + 1]
        yield from _level_trials(config, level, [r for r in records if r["level"] in within])
    for name in config.tasks:
        if (run.path / name / "records.jsonl").is_file():
            for trial in task_trials(FinishedRun.open(run.path / name)):
                yield _task_trial(config, name, trial)


def _level_trials(config: AuditConfig, level: str, records: Sequence[Record]) -> Iterator[Trial]:
    judge = config.judges[0]
    settings = {
        "attacks": {record["attack_label"]: record["config"] for record in records},
        "budget": config.budget.model_dump(),
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
            if len(rows) < len(settings["attacks"]):  # the rest might have brought more
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
