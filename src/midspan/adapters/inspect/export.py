"""Finished runs as inspect's logs, for its viewer and its data frames."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from midspan.adapters.exports import Choice
from midspan.adapters.inspect.exported import Part, attacks_part, task_part
from midspan.errors import MidspanError, not_one_of
from midspan.files import disk, make_private
from midspan.runs.folder import FinishedRun

try:
    from inspect_ai.log import (
        EvalConfig,
        EvalDataset,
        EvalLog,
        EvalResults,
        EvalSpec,
        EvalStats,
        write_eval_log,
    )
except ImportError as error:
    raise MidspanError("--to inspect: not installed; pip install 'midspan[inspect]'") from error

KINDS = ("red-team", "audit", "task")


def write(run: FinishedRun, file: Path, choice: Choice) -> Iterator[str]:
    """Write a run as inspect's logs, one for each of its models.

    Only their owner can read them, as with the run folder.

    Args:
        run: An attack's, an audit's or a task's.
        file: Ends in ``.eval`` or ``.json``. With several models their names stand before that.
        choice: A model of the run; a log holds all attacks.

    Yields:
        The path of every file written.

    Raises:
        MidspanError: The run is of another kind or damaged, it has no such model, or the file
            cannot be written.
    """
    kind = run.info.get("kind", "")
    if kind not in KINDS:
        raise MidspanError(f"{run.path}: must be a run of one of {', '.join(KINDS)}; got {kind!r}")
    if file.suffix not in (".eval", ".json"):
        raise MidspanError(f"-o: must end in .eval or .json; got {file.name!r}")
    if choice.attack:
        raise MidspanError("--attack: inspect's log holds all attacks of a model; leave it out")
    by_model = _parts(run)
    if choice.model and choice.model not in by_model:
        raise not_one_of("--model", choice.model, by_model)
    chosen = [choice.model] if choice.model else list(by_model)
    for model in chosen:
        path = file
        if len(chosen) > 1:
            path = file.with_name(f"{file.stem}-{_slug(model)}{file.suffix}")
        log = _log(run, model, by_model[model])
        with disk("cannot write", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_eval_log(log, str(path))
            make_private(path)
        yield str(path)


def _slug(model: str) -> str:
    return re.sub(r"[^\w.]+", "-", model).strip("-")


def _parts(run: FinishedRun) -> dict[str, list[Part]]:
    """Samples and scores by model."""
    if run.info["kind"] == "task":
        return _task_parts(run)
    records = run.rows("records.jsonl")
    judges = run.info["config"]["judges"]
    if run.info["kind"] == "red-team":
        models = run.info["config"]["models"]
        return {
            model: [attacks_part([row for row in records if row["model"] == model], judges)]
            for model in models
        }
    from midspan.studies.audit.config import AuditConfig
    from midspan.studies.audit.summary import audit_of, part_runs

    config = AuditConfig.model_validate(run.info["config"])
    rates = {level.access: level.worst_case for level in audit_of(run).levels}
    worst = {f"worst case, {access}": rate.least for access, rate in rates.items()}
    worst |= {f"worst case, {access}, at most": rate.most for access, rate in rates.items()}
    parts = [attacks_part(records, judges, worst)]
    for name, beside in part_runs(run).items():
        if name in config.tasks:
            for found in _task_parts(beside).values():
                parts += [part.behind(name) for part in found]
    return {config.target: parts}


def _task_parts(run: FinishedRun) -> dict[str, list[Part]]:
    from midspan.studies.tasks.run import results_of

    prompts = _prompts(run.info["config"])
    parts: dict[str, list[Part]] = {}
    for result in results_of(run):
        for model, records in result.records.items():
            parts.setdefault(model, []).append(task_part(result, records, prompts))
    return parts


def _prompts(config: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """By task and item, what makes its prompt; empty where the data are not at hand.

    A run folder holds responses and no prompts; these are built again as they were.
    """
    from midspan.studies.tasks.config import TaskConfig, build_tasks

    try:
        tasks = build_tasks(TaskConfig.model_validate({**config, "judge": None}))
    except (MidspanError, OSError):
        return {}
    return {(task.name, item.id): (task.prompt, item) for task in tasks for item in task.items}


def _log(run: FinishedRun, model: str, parts: Sequence[Part]) -> EvalLog:
    samples = [sample for part in parts for sample in part.samples]
    info = run.info
    created = datetime.fromtimestamp((run.path / "records.jsonl").stat().st_mtime, UTC)
    moment = created.isoformat(timespec="seconds")
    kept = ("command", "git", "hardware", "config")
    dataset = EvalDataset(
        name=info.get("dataset") or info["kind"],
        samples=len(samples),
        sample_ids=[sample.id for sample in samples],
    )
    spec = EvalSpec(
        created=moment,
        task=f"midspan {info['kind']}",
        task_id=_slug(f"{run.path.name}-{info['kind']}"),
        run_id=_slug(run.path.name),
        dataset=dataset,
        model=model,
        config=EvalConfig(),
        packages={name: str(text) for name, text in info.get("versions", {}).items()},
        metadata={name: info[name] for name in kept if info.get(name)},
    )
    usage: dict[str, Any] = {}
    for sample in samples:
        for name, spent in sample.model_usage.items():
            usage[name] = usage[name] + spent if name in usage else spent
    return EvalLog(
        status="success",
        eval=spec,
        results=EvalResults(
            total_samples=len(samples),
            completed_samples=len(samples),
            scores=[score for part in parts for score in part.scores],
        ),
        stats=EvalStats(started_at=moment, completed_at=moment, model_usage=usage),
        samples=samples,
    )
