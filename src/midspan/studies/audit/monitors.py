"""What the probe of monitors found, as an audit tells it."""

import math

from midspan.probes.monitor_rates import best_monitor, monitor_cells
from midspan.probes.monitors import MonitorsConfig
from midspan.runs.folder import FinishedRun
from midspan.studies.audit.schema import MonitorResult, Rate


def monitor_results(part: FinishedRun | None) -> tuple[MonitorResult, ...]:
    """The best monitor under each condition; none where the part was not run."""
    if part is None:
        return ()
    fields = MonitorsConfig.model_fields.keys() & part.info["config"].keys()
    config = MonitorsConfig.model_validate({name: part.info["config"][name] for name in fields})
    cells = monitor_cells(part.rows("records.jsonl"), config.monitors, config.steps)
    best = best_monitor(cells)
    return tuple(
        MonitorResult(
            monitor=best,
            attack=cell.condition,
            auroc=_known(cell.area.mean),
            low=_known(cell.area.low),
            high=_known(cell.area.high),
            false_alarms=Rate.of(cell.false_benign),
        )
        for cell in cells
        if cell.monitor == best
    )


def _known(value: float) -> float | None:
    """JSON has no nan."""
    return value if math.isfinite(value) else None
