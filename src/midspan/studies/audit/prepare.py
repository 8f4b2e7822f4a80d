"""From an audit's names to objects, once; what cannot be run is listed with its reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from midspan.engine.roles import Role, Scripted
from midspan.errors import MidspanError
from midspan.studies.audit.config import AuditConfig, AuditRow, TaskPart
from midspan.studies.audit.presets import left_to_later
from midspan.studies.given import NOTHING, Given
from midspan.studies.redteam.config import RedteamConfig
from midspan.studies.redteam.prepare import PreparedAttack, PreparedRedteam, prepare_attack
from midspan.studies.redteam.prepare import prepare as prepare_redteam
from midspan.studies.redteam.roles import HELPERS, with_refusal_judge
from midspan.studies.tasks.config import TaskConfig
from midspan.studies.tasks.prepare import PreparedTasks
from midspan.studies.tasks.prepare import prepare as prepare_tasks

_SERVERS = ("openai:", "http://", "https://")


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


@dataclass(frozen=True)
class PreparedAudit:
    """An audit that can start.

    Attributes:
        config: As users wrote it.
        redteam: Attacks, behaviors, target, helpers and judges.
        rows: The attacks that can run with this target and these helpers, from the least access.
        parts: Tasks, by the name of their folder.
        not_run: What is left out.
    """

    config: AuditConfig
    redteam: PreparedRedteam
    rows: tuple[tuple[AuditRow, PreparedAttack], ...]
    parts: Mapping[str, PreparedTasks]
    not_run: tuple[NotRun, ...]


def prepare(config: AuditConfig, given: Given = NOTHING) -> PreparedAudit:
    """Turn names into objects.

    Args:
        config: The audit.
        given: Models, judges and behaviors that the caller has in hand.

    Raises:
        MidspanError: A name or field means nothing, the behaviors are missing, or no attack can
            run.
    """
    reasons = [(row, _reason(config, row)) for row in config.rows]
    rows = tuple(row for row, reason in reasons if not reason)
    left_out = [NotRun(row.name, row.access, reason) for row, reason in reasons if reason]
    if not rows:
        raise MidspanError(f"attacks: none can run ({left_out[0].what} {left_out[0].reason})")
    redteam = prepare_redteam(_redteam(config, rows), given)
    parts: dict[str, PreparedTasks] = {}
    for name, part in config.parts.items():
        if is_server(config.model):
            left_out.append(NotRun(name, "", "is decoded here, and a served model is not"))
            continue
        tasks = _task_config(config, part)
        judged = with_refusal_judge(part.judge, config.servers, given)
        try:
            parts[name] = _prepared_part(config, tasks, part, judged)
        except MidspanError as error:
            # Benchmarks come from elsewhere; without one the attacks are still worth running.
            left_out.append(NotRun(name, "", f"has no data: {error}"))
    left_out += [
        NotRun(row.name, row.access, f"comes with --tier {row.tier}", row.tier)
        for row in left_to_later(config.tier)
    ]
    return PreparedAudit(
        config, redteam, tuple(zip(rows, redteam.attacks, strict=True)), parts, tuple(left_out)
    )


def is_server(model: str) -> bool:
    """Whether a model answers behind a server, which gives text alone."""
    return model.startswith(_SERVERS)


def nobody(name: str) -> Role:
    """Who stands in for a helper that the chosen settings of an attack never ask."""
    return Scripted(lambda call, rng: None, f"no {name}")


def _reason(config: AuditConfig, row: AuditRow) -> str:
    """Why a row cannot run; empty where it can."""
    if row.access != "chat" and is_server(config.model):
        return f"needs {row.access} access, and a served model gives text alone"
    prepared = prepare_attack(row, config.budget)
    if "proxy" in prepared.attack.roles and set(config.proxies) <= {config.target}:
        return "takes gradients of another model; name one with --proxy"
    for name in HELPERS:
        if name not in config.helpers and _asks(prepared, name):
            return f"needs an {name}; name a model with --{name}"
    return ""


def _asks(row: PreparedAttack, helper: str) -> bool:
    """Whether a row's settings ask a helper anything; one without a cost is taken to ask all."""
    if helper not in row.attack.roles:
        return False
    if row.attack.cost is None:
        return True
    needed = row.attack.cost(row.config, row.budget.target or 1).helpers.get(helper)
    return needed is not None and needed.maximum > 0


def _redteam(config: AuditConfig, rows: tuple[AuditRow, ...]) -> RedteamConfig:
    shared = RedteamConfig.model_fields.keys() - {"models", "attacks", "paper_models", "helpers"}
    fields: dict[str, Any] = {
        name: getattr(config, name) for name in shared & AuditConfig.model_fields.keys()
    }
    return RedteamConfig(
        models=(config.target,), attacks=rows, helpers=dict(config.helpers), **fields
    )


def _task_config(config: AuditConfig, part: TaskPart) -> TaskConfig:
    """The part as tasks have it; the target's defences stand in its decoding."""
    rules = [rule for name in config.behind for rule in config.defences.get(name, (name,))]
    return TaskConfig(
        models=(config.model,),
        tasks=part.tasks,
        items=part.items,
        data=part.data,
        judge=part.judge,
        seed=config.seed,
        batch_size=config.batch_size,
        decoding={"rules": rules} if rules else {},
    )


def _prepared_part(
    config: AuditConfig, tasks: TaskConfig, part: TaskPart, given: Given
) -> PreparedTasks:
    if part.benign is None:
        return prepare_tasks(tasks, given)
    from midspan.data import load_behaviors
    from midspan.tasks.overrefusal import judged_by, of_requests

    requests = load_behaviors(part.benign, keep="benign", column=config.column)
    task = of_requests(requests, requests.summary())
    if part.judge is not None:
        task = judged_by(task, part.judge, given.judge(part.judge))
    return PreparedTasks(tasks, (task,), given)
