"""What the whole study would take: responses, forwards, calls, hours, money, before it starts.

Counts of probes and tasks are exact; those of attacks are the most that they can ask for within
their budgets. Hours follow from rates that are measured here, on the base model.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from midspan.organism.worlds import is_organism
from midspan.report import Table
from midspan.runs.progress import Reporter
from midspan.studies.given import Given
from midspan.studies.paper.config import ORIGINAL, PaperConfig
from midspan.studies.paper.known_costs import Known, known_costs
from midspan.studies.paper.part_forecasts import (
    Forecast,
    forecast_attacks,
    forecast_probe,
    forecast_tasks,
)
from midspan.studies.paper.parts import is_done
from midspan.studies.paper.prepare import PreparedPaper, prepare
from midspan.studies.paper.rates import PROMPT_TOKENS, REPLY_TOKENS, Units, training_hours
from midspan.studies.probes.prepare import PreparedProbe
from midspan.studies.redteam.config import RedteamConfig
from midspan.studies.redteam.pilot import Pilot
from midspan.studies.redteam.pilot import pilot as run_pilot
from midspan.studies.redteam.prepare import PreparedRedteam, Target
from midspan.studies.redteam.prepare import prepare as prepare_redteam

if TYPE_CHECKING:
    from midspan.models import DiffusionLM

# Behaviors of a pilot, where a model is small.
PILOT = 4
_COLUMNS = ("part", "models", "responses", "row forwards", "calls", "hours", "US dollars")


def forecast(
    config: PaperConfig, folder: Path, only: Sequence[str] = (), pilot: int | None = None
) -> list[Forecast]:
    """Every part that is not finished.

    Args:
        config: The study.
        folder: Its run folder.
        only: Parts or labels that will be run; empty for all.
        pilot: Behaviors that are attacked to see how early attacks stop; 0 for the most that
            budgets allow. By default what is known of the shipped models; where that is nothing,
            `PILOT` on the organism and 0 elsewhere.

    Raises:
        MidspanError: The study cannot be run as it is.
    """
    prepared = prepare(config, folder)
    few = (PILOT if is_organism(config.base) else 0) if pilot is None else pilot
    rows, pilots = _on_base(prepared, only, few, pilot is None)
    return [
        _as_piloted(row, prepared, pilots[row.part], few) if row.part in pilots else row
        for row in rows
    ]


def _on_base(
    prepared: PreparedPaper, only: Sequence[str], few: int, trusts_known: bool
) -> tuple[list[Forecast], dict[str, Pilot | None]]:
    """Rows as far as the base tells, and what pilots took of it, by part, where any are wanted.

    No name holds the base afterwards, when trained models are loaded.
    """
    from midspan.models import load

    config, folder = prepared.config, prepared.folder
    lm = load(config.base)
    units = Units(lm, config.prices)
    rows, pilots = list[Forecast](), dict[str, Pilot | None]()
    for label, recipe in config.trainings.items():
        if _is_due(config, folder, label, only):
            assert prepared.data is not None
            rows.append(Forecast(label, 1, hours=training_hours(lm, prepared.data, recipe)))
    for name, part in prepared.parts.items():
        spec = config.parts[name]
        models = len(spec.models)
        if not _is_due(config, folder, name, only):
            continue
        if isinstance(part, PreparedProbe):
            rows.append(forecast_probe(name, part, units, models))
        elif isinstance(part, PreparedRedteam):
            assert isinstance(spec, RedteamConfig)
            most = forecast_attacks(name, part, units)
            known = known_costs(spec, config, lm) if trusts_known else None
            rows.append(_as_known(most, part, known, units) if known else most)
            if few and not known and _can_be_tried(name, part):
                pilots[name] = _pilot_of_base(prepared, name, lm, few)
        else:
            rows.append(forecast_tasks(name, part.on(config.base), units, models))
    return rows, pilots


def _is_due(config: PaperConfig, folder: Path, name: str, only: Sequence[str]) -> bool:
    return (not only or name in only) and not is_done(config, folder, name)


def _can_be_tried(name: str, part: PreparedRedteam) -> bool:
    """Whether a pilot asks nobody who is paid; said where it does."""
    served = dict.fromkeys(one.model for one in part.participants if one.is_server)
    if served:
        Reporter().say(f"{name}: no pilot, since it would ask {', '.join(served)}; the most stands")
    return not served


def _as_known(
    most: Forecast, part: PreparedRedteam, known: Sequence[Known], units: Units
) -> Forecast:
    """The attacks of a part by what they took of the same models elsewhere."""
    from midspan.decoding import decoding_config

    rate = units.rate
    assert rate is not None
    decoding = decoding_config(rate.lm, **part.config.decoding)
    times = len(part.behaviors)
    responses, forwards, work = (times * sum(column) for column in zip(*known, strict=True))
    hours = work * rate.seconds(decoding, part.config.batch_size) / 3600
    return replace(most, responses=round(responses), forwards=round(forwards), hours=hours)


def _pilot_of_base(
    prepared: PreparedPaper, name: str, lm: "DiffusionLM", count: int
) -> Pilot | None:
    """What a few behaviors took of the base; None where nothing of the part stands for it."""
    config, part = prepared.config, prepared.parts[name]
    assert isinstance(part, PreparedRedteam)
    if all(_is_trained(label, prepared) for label in config.parts[name].models):
        return None
    alone = part.config.model_copy(update={"models": (config.base,), "paper_models": {}})
    base = prepare_redteam(alone, Given({config.base: lm}))
    return run_pilot(base, _with_proxy(base.targets[0]), count)


def _is_trained(label: str, prepared: PreparedPaper) -> bool:
    """Whether a label has an adapter; one that is not trained is taken to hold as the base does."""
    return label != ORIGINAL and is_done(prepared.config, prepared.folder, label)


def _as_piloted(
    most: Forecast, prepared: PreparedPaper, base: Pilot | None, count: int
) -> Forecast:
    """The attacks of a part by what a few behaviors took of each model."""
    part = prepared.parts[most.part]
    assert isinstance(part, PreparedRedteam)
    tried: list[Pilot] = []
    for label, target in zip(prepared.config.parts[most.part].models, part.targets, strict=True):
        if _is_trained(label, prepared):
            tried.append(run_pilot(part, _with_proxy(target), count))
        else:
            assert base is not None
            tried.append(base)
    times = len(part.behaviors)
    responses, forwards, seconds = (times * sum(column) for column in zip(*tried, strict=True))
    return replace(most, responses=round(responses), forwards=round(forwards), hours=seconds / 3600)


def _with_proxy(target: Target) -> Target:
    """Gradients of a proxy that is not trained yet cost what the target's own do."""
    if target.proxy is None or Path(target.proxy.spec.rpartition("+")[2]).exists():
        return target
    return replace(target, proxy=target.model)


def forecast_table(rows: list[Forecast]) -> Table:
    """For a terminal, with a sum."""
    unknown = any(row.dollars is None for row in rows)
    total = Forecast(
        "in all", 0, sum(row.responses for row in rows), sum(row.forwards for row in rows),
        sum(row.calls for row in rows), sum(row.hours for row in rows),
        None if unknown else sum(row.dollars or 0 for row in rows),
    )  # fmt: skip
    return Table(
        "Forecast",
        _COLUMNS,
        tuple(
            (
                row.part, str(row.models or ""), f"{row.responses:,}", f"{row.forwards:,}",
                f"{row.calls:,}", f"{row.hours:.2f}",
                "unknown" if row.dollars is None else f"{row.dollars:.2f}",
            )
            for row in (*rows, total)
        ),
        "Attacks: what the shipped models or a few behaviors took, else the most within their "
        "budgets. Hours: one process, from rates measured just now on the base model; responses to "
        "tasks do not end early, and the time of servers and of "
        "classifiers is not in it. Money: "
        f"{PROMPT_TOKENS} tokens to and {REPLY_TOKENS} from a server for each "
        "call, at the prices of the study or of its servers.",
    )  # fmt: skip
