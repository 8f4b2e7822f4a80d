"""What an audit would take, before it starts: the most, since it stops early where it can."""

from dataclasses import replace

from midspan.served import is_served
from midspan.studies.audit.prepare import PreparedAudit
from midspan.studies.paper.part_forecasts import (
    Forecast,
    forecast_attacks,
    forecast_probe,
    forecast_tasks,
)
from midspan.studies.paper.rates import Units, prices_of
from midspan.studies.probes.prepare import PreparedProbe

NOTE = (
    "A behavior that falls is not asked for again, so most audits take less than this; what a run "
    "folder holds already is counted too."
)


def forecast(prepared: PreparedAudit) -> list[Forecast]:
    """One row a level of access, and one a part of the tasks.

    Raises:
        MidspanError: The model cannot be loaded, or an attack does not say what it costs.
    """
    from midspan.models import load

    config, given = prepared.config, prepared.redteam.given
    local = not is_served(config.model)
    lm = (given.models.get(config.model) or load(config.model)) if local else None
    units = Units(lm, prices_of(config.servers))
    rows = []
    for level in dict.fromkeys(row.access for row, _ in prepared.rows):
        attacks = tuple(ready for row, ready in prepared.rows if row.access == level)
        study = replace(prepared.redteam, attacks=attacks)
        rows.append(forecast_attacks(f"attacks, {level}", study, units))
    for name, part in prepared.parts.items():
        if isinstance(part, PreparedProbe):
            rows.append(forecast_probe(name, part, units, 1))
        else:
            rows.append(forecast_tasks(name, part, units, 1))
    return rows
