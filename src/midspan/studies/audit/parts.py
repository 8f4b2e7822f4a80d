"""Tasks and monitors beside the attacks, each an ordinary run within the audit's folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from midspan.errors import MidspanError
from midspan.served import is_served
from midspan.studies.audit.config import (
    MONITORS,
    OVER_REFUSAL,
    AuditConfig,
    MonitorPart,
    TaskPart,
)
from midspan.studies.audit.presets import MONITOR_TIER, TIERS
from midspan.studies.given import Given
from midspan.studies.probes import run as probes
from midspan.studies.probes.config import ProbeSpec
from midspan.studies.probes.prepare import PreparedProbe
from midspan.studies.probes.prepare import prepare as prepare_probe
from midspan.studies.redteam.roles import with_refusal_judge
from midspan.studies.tasks import run as tasks
from midspan.studies.tasks.config import TaskConfig
from midspan.studies.tasks.prepare import PreparedTasks
from midspan.studies.tasks.prepare import prepare as prepare_tasks
from midspan.tasks.task import AsServed, Task

PreparedPart: TypeAlias = PreparedTasks | PreparedProbe
# A benchmark's preset fits its canvas to its answers.
_CANVAS = ("length", "block_length", "steps")


class CannotRunError(MidspanError):
    """A part lacks data, or does not fit the model; the attacks are still worth running."""


class NotRun(NamedTuple):
    """What an audit has not measured.

    Attributes:
        what: A row's label or a part's name.
        access: The row's; empty for a part.
        reason: Why not.
        tier: The tier that has it, where that is the reason.
    """

    what: str
    access: str
    reason: str
    tier: str = ""


def prepare_parts(
    config: AuditConfig, given: Given
) -> tuple[dict[str, PreparedPart], list[NotRun]]:
    """Parts that can run, by the name of their folder, and those that cannot.

    Raises:
        MidspanError: A name or field means nothing; data that are missing are no error.
    """
    parts: dict[str, PreparedPart] = {}
    missing: list[NotRun] = []
    for name, part in {**config.tasks, MONITORS: config.monitors}.items():
        if part is None:
            missing += _of_a_later_tier(config)
        elif isinstance(part, MonitorPart) and is_served(config.model):
            missing.append(NotRun(name, "", "watches the decoder, which a server does not open"))
        else:
            try:
                parts[name] = _prepared(config, name, given)
            except CannotRunError as error:
                missing.append(NotRun(name, "", str(error)))
    return parts, missing


def run_part(part: PreparedPart, folder: Path, command: str, fail_fast: bool) -> list[str]:
    """Run or continue a part in its folder; what makes it doubtful, a line each.

    Raises:
        CannotRunError: The model is none that monitors can watch, a prompt does not fit it, or
            nobody answers.
    """
    try:
        if isinstance(part, PreparedProbe):
            return probes.run_prepared(part, folder, command, fail_fast).problems
        return tasks.problems_of(tasks.run_prepared(part, folder, command, fail_fast))
    except MidspanError as error:
        raise CannotRunError(f"cannot be measured: {error}") from error


def _of_a_later_tier(config: AuditConfig) -> list[NotRun]:
    if config.tier not in TIERS or TIERS.index(config.tier) >= TIERS.index(MONITOR_TIER):
        return []
    return [NotRun(MONITORS, "", f"comes with --tier {MONITOR_TIER}", MONITOR_TIER)]


def _prepared(config: AuditConfig, name: str, given: Given) -> PreparedPart:
    if name == MONITORS and config.monitors is not None:
        return _prepared_monitors(config, config.monitors, given)
    part = config.tasks[name]
    own = _task_config(config, name)
    asked = (config.model, *config.helpers.values(), *map(_asked_by, config.judges))
    judged = with_refusal_judge(part.judge, config.servers, given, asked)
    try:
        prepared = _prepared_tasks(config, own, part, judged)
        if name == OVER_REFUSAL and _decoding(config, name):
            prepared = replace(prepared, tasks=tuple(map(_as_served, prepared.tasks)))
    except MidspanError as error:
        raise CannotRunError(f"has no data: {error}") from error
    if is_served(config.model):
        try:
            prepared.check_models()
        except MidspanError as error:
            raise CannotRunError(f"cannot be asked of the server: {error}") from error
    return prepared


def _prepared_monitors(config: AuditConfig, part: MonitorPart, given: Given) -> PreparedProbe:
    files: dict[str, str | None] = {}
    if not config.on_organism:
        own = config.over_refusal.benign if config.over_refusal else None
        files = {"harmful": config.behaviors, "benign": part.benign or own}
        if files["benign"] is None:
            raise CannotRunError("needs harmless requests; name them with --benign")
    spec = ProbeSpec(
        probe=MONITORS,
        models=(config.model,),
        **files,
        column=config.column,
        n=part.n,
        fields=part.fields,
        decoding=config.decoding,
        seed=config.seed,
    )
    try:
        return prepare_probe(spec, given)
    except MidspanError as error:
        raise CannotRunError(f"has no data: {error}") from error


def _asked_by(judge: str) -> str:
    """The model that a judge asks."""
    return judge.partition("=")[2].partition(":rubric=")[0]


def _decoding(config: AuditConfig, name: str) -> dict[str, Any]:
    """What a part takes of the decoding that the audit names; servers have their own."""
    if is_served(config.model):
        return {}
    left = () if name == OVER_REFUSAL else _CANVAS
    return {field: value for field, value in config.decoding.items() if field not in left}


def _as_served(task: Task) -> Task:
    return replace(task, preset=AsServed(**dict(task.preset)))


def _task_config(config: AuditConfig, name: str) -> TaskConfig:
    """A part as tasks have it; the target's defences stand in its decoding."""
    part, decoding = config.tasks[name], _decoding(config, name)
    rules = [rule for own in config.behind for rule in config.defences.get(own, (own,))]
    if rules:
        decoding["rules"] = [*decoding.get("rules", ()), *rules]
    return TaskConfig(
        models=(config.model,),
        tasks=part.tasks,
        items=part.items,
        data=part.data,
        judge=part.judge,
        seed=config.seed,
        batch_size=config.batch_size,
        decoding=decoding,
        servers={spec: own for spec, own in config.servers.items() if spec == config.model},
    )


def _prepared_tasks(
    config: AuditConfig, tasks: TaskConfig, part: TaskPart, given: Given
) -> PreparedTasks:
    if part.benign is None:
        return prepare_tasks(tasks, given)
    from midspan.data import load_behaviors
    from midspan.tasks.overrefusal import judged_by, of_requests

    requests = load_behaviors(part.benign, keep="benign", column=config.column, distinct=True)
    task = of_requests(requests, requests.summary())
    if part.judge is not None:
        task = judged_by(task, part.judge, given.judge(part.judge))
    return PreparedTasks(tasks, (task,), given)
