"""`midspan.audit`: how safe one model is, by what its attacker may do."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midspan.api.attack import listed_behaviors
from midspan.api.records import AttackRecord
from midspan.api.results import RunResult, picked
from midspan.api.runs import Model, call_text, listed, named, run_folder, warn_of
from midspan.errors import MidspanError

if TYPE_CHECKING:
    from midspan.engine.roles import Role
    from midspan.studies.audit.config import AuditConfig
    from midspan.studies.audit.schema import Audit, Rate
    from midspan.studies.given import Given


class AuditRecord(AttackRecord):
    """One attack of an audit on one behavior.

    Attributes:
        level: The access that the attack needs; `access` is what it used.
    """

    level: str


@dataclass(frozen=True, repr=False)
class AuditRun(RunResult[AuditRecord]):
    """An audit of one model.

    Attributes:
        levels: Access levels at which something was run, from the least access to the most.
    """

    levels: tuple[str, ...] = field(default=())

    @cached_property
    def findings(self) -> "Audit":
        """All that the audit found, as ``audit.json`` has it; see docs/audit-json.md."""
        from midspan.runs.folder import FinishedRun
        from midspan.studies.audit.summary import audit_of

        return audit_of(FinishedRun.open(self.folder))

    def worst_case(self, access: str | None = None) -> "Rate":
        """Behaviors that any attack of an access level or below won.

        Args:
            access: One of `levels`; the highest by default.

        Returns:
            The share where all that is not known held (`least`) and fell (`most`), with `low`,
            `high` and `n`.

        Raises:
            MidspanError: Nothing was run at this level.
        """
        access = picked("access", access or self.levels[-1], self.levels)
        return next(one.worst_case for one in self.findings.levels if one.access == access)

    def summary(self) -> str:
        """The result in a sentence."""
        return f"{self.findings.model}: {self.findings.in_short}"


def audit(
    model: Model,
    *,
    tier: str = "quick",
    behaviors: str | Path | Sequence[str] | None = None,
    judge: "str | Role | Sequence[str | Role] | None" = None,
    out: str | Path | None = None,
    **fields: Any,
) -> AuditRun:
    """Attack a model at every access level, and measure what its safety costs.

    Examples:
        >>> result = midspan.audit("organism:psa", tier="quick", out="runs/audit")
        >>> result.worst_case("infill").most
        0.0

    Args:
        model: A loaded model, an adapter of `midspan.align`, or a spec, also of a server.
        tier: "quick", "standard" or "full".
        behaviors: As in `midspan.attack`; on the organism the tier's own by default.
        judge: As in `midspan.attack`; the first one decides what has fallen.
        out: Run folder; a temporary one by default. The same call continues a run.
        **fields: `progress` (False for silence), `jobs` (processes at a time, for models by name;
            above 1 the calling program needs ``if __name__ == "__main__":``), and fields of
            `AuditConfig`: `behind` (names of defences), `defences`, `helpers`, `proxies`,
            `budget`, `decoding`, `stop_early`, `over_refusal`, `utility`, `seed`, `fail_above`,
            `fail_level`, `attacks`, `batch_size`, `servers`.

    Returns:
        The findings, records and page of the audit.

    Raises:
        MidspanError: One line that names the wrong field, or a folder of another run.
    """
    from midspan.runs.executors import How
    from midspan.runs.progress import library_output
    from midspan.studies.audit.run import run_audit

    started = time.monotonic()
    progress, jobs = fields.pop("progress", None), fields.pop("jobs", 1)
    named_fields = {"tier": tier, "behaviors": behaviors, "judge": judge, "out": out, **fields}
    command = call_text("audit", model, **named_fields)
    config, given = _prepared(model, tier, behaviors, judge, fields)
    if jobs > 1 and (given.models or given.judges or given.behaviors):
        raise MidspanError("jobs: processes load models by name; give names, or leave jobs out")
    folder = run_folder(out, "audit")
    with library_output(progress):
        done = run_audit(config, folder, How(command, jobs), given)
    warn_of(done.problems)
    if done.audit is None:
        raise MidspanError("audit: several processes share a run by `midspan audit` alone")
    levels = tuple(level.access for level in done.audit.levels)
    return AuditRun(folder, (config.target,), time.monotonic() - started, levels)


def _prepared(
    model: Model, tier: str, behaviors: Any, judge: Any, fields: Mapping[str, Any]
) -> "tuple[AuditConfig, Given]":
    """The config, and the objects that it cannot hold."""
    from midspan.studies.audit.config import AuditConfig
    from midspan.studies.audit.presets import audit_fields
    from midspan.studies.given import Given

    target = named(model)
    chosen, judges, requests = dict(fields), {}, None
    if judge is not None:
        given = [(one if isinstance(one, str) else one.fingerprint, one) for one in listed(judge)]
        judges = {name: one for name, one in given if not isinstance(one, str)}
        chosen["judges"] = tuple(name for name, _ in given)
    if isinstance(behaviors, str | Path):
        chosen["behaviors"] = str(behaviors)
    elif behaviors is not None:
        requests = listed_behaviors(behaviors)
        chosen["behaviors"] = requests.name
    config = AuditConfig.model_validate(audit_fields(target.specs[0], tier, chosen))
    return config, Given(target.loaded, judges, requests)
