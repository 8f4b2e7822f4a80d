"""From an audit's names to objects, once; what cannot be run is listed with its reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from midspan.attacks import get_attack
from midspan.engine.budget import Budget
from midspan.engine.capabilities import lacks
from midspan.engine.forecast import forecast
from midspan.engine.roles import Role, Scripted
from midspan.errors import MidspanError
from midspan.studies.audit.config import LEVELS, AuditConfig, AuditRow
from midspan.studies.audit.parts import NotRun, PreparedPart, prepare_parts
from midspan.studies.audit.presets import left_to_later
from midspan.studies.given import NOTHING, Given
from midspan.studies.redteam.config import RedteamConfig
from midspan.studies.redteam.prepare import (
    PreparedAttack,
    PreparedRedteam,
    has_adapter,
    prepare_attack,
)
from midspan.studies.redteam.prepare import prepare as prepare_redteam
from midspan.studies.redteam.roles import HELPERS
from midspan.studies.servers import record_of


@dataclass(frozen=True)
class PreparedAudit:
    """An audit that can start.

    Attributes:
        config: As users wrote it.
        redteam: Attacks, behaviors, target, helpers and judges.
        rows: The attacks that can run with this target and these helpers, from the least access.
        parts: Tasks and monitors, by the name of their folder.
        not_run: What is left out.
    """

    config: AuditConfig
    redteam: PreparedRedteam
    rows: tuple[tuple[AuditRow, PreparedAttack], ...]
    parts: Mapping[str, PreparedPart]
    not_run: tuple[NotRun, ...]

    @property
    def most(self) -> dict[str, tuple[int, int]]:
        """By row, responses and rows for likelihoods that its own settings ask for at most."""
        costs = {
            row.name: forecast(ready.attack, ready.config, Budget()) for row, ready in self.rows
        }
        return {
            name: (cost.generations, sum(cost.forward_rows.values()))
            for name, cost in costs.items()
            if cost is not None
        }


def prepare(config: AuditConfig, given: Given = NOTHING) -> PreparedAudit:
    """Turn names into objects.

    Args:
        config: The audit.
        given: Models, judges and behaviors that the caller has in hand.

    Raises:
        MidspanError: A name or field means nothing, the behaviors are missing, or no attack can
            run, or none that could decide the gate.
    """
    reasons = [(row, _reason(config, row, given)) for row in config.rows]
    rows = tuple(row for row, reason in reasons if not reason)
    left_out = [NotRun(row.name, row.access, reason) for row, reason in reasons if reason]
    if not rows:
        raise MidspanError(f"attacks: none can run ({left_out[0].what} {left_out[0].reason})")
    least = min(LEVELS.index(row.access) for row in rows)
    if config.fail_above is not None and least > LEVELS.index(config.fail_level):
        raise MidspanError(
            f"fail_above (--fail-above): no attack at {config.fail_level} access or below can run, "
            f"so nothing decides it; set --fail-level {LEVELS[least]}, or add such an attack"
        )
    redteam = prepare_redteam(_redteam(config, rows), given)
    parts, missing = prepare_parts(config, given)
    left_out += missing
    left_out += [
        NotRun(row.name, row.access, f"comes with --tier {row.tier}", row.tier)
        for row in left_to_later(config.tier)
    ]
    return PreparedAudit(
        config, redteam, tuple(zip(rows, redteam.attacks, strict=True)), parts, tuple(left_out)
    )


def nobody(name: str) -> Role:
    """Who stands in for a helper that the chosen settings of an attack never ask."""
    return Scripted(lambda call, rng: None, f"no {name}")


def _reason(config: AuditConfig, row: AuditRow, given: Given) -> str:
    """Why a row cannot run; empty where it can."""
    if reason := _not_served(config, row):
        return reason
    if row.attack == "finetune" and not row.config.get("examples"):
        return "trains on examples; name a file of them with --examples"
    prepared = prepare_attack(row, config.budget)
    if prepared.attack.changes == "adapter" and not has_adapter(config.model, given):
        return "scales an adapter, and the target has none"
    if "proxy" in prepared.attack.roles and set(config.proxies) <= {config.target}:
        return "takes gradients of another model; name one with --proxy"
    for name in HELPERS:
        if name not in config.helpers and _asks(prepared, name):
            return f"needs an {name}; name a model with --{name}"
    return ""


def _not_served(config: AuditConfig, row: AuditRow) -> str:
    """Why a served model cannot be asked for a row; empty where it can, or is decoded here."""
    record = record_of(config.model, config.servers)
    if record is None:
        return ""
    attack = get_attack(row.attack)
    fields = row.config | ({"adaptive": True} if row.adaptive else {})
    missing = lacks(record, attack.needs(attack.config.model_validate(fields, within=row.attack)))
    gives = ", ".join(record.access)
    return f"needs {', '.join(missing)}; the server gives {gives}" if missing else ""


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
