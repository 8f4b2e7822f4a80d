"""What one part would take: responses, forwards, calls, hours, money."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

from midspan.engine.budget import Cost
from midspan.engine.forecast import forecast as forecast_attack
from midspan.errors import MidspanError
from midspan.organism.worlds import is_organism
from midspan.studies.decodings import probe_decodings
from midspan.studies.given import Given
from midspan.studies.paper.rates import Units
from midspan.studies.probes.config import ProbeSpec
from midspan.studies.probes.prepare import PreparedProbe
from midspan.studies.redteam.prepare import PreparedRedteam
from midspan.studies.redteam.roles import Participant, SpecReader, read_servers
from midspan.studies.tasks.config import TaskConfig
from midspan.studies.tasks.prepare import PreparedTasks
from midspan.studies.tasks.run import estimate

Calls: TypeAlias = Iterable[tuple[Participant, int]]
# Forward passes that a forward and backward pass take the time of.
_BACKWARD = 3


@dataclass(frozen=True)
class Forecast:
    """One part.

    Attributes:
        part: Its name.
        models: How many.
        responses: Of all models.
        forwards: Rows through a network, all models.
        calls: Of servers: helpers, judges and models that answer there.
        hours: On this machine, servers' time apart.
        dollars: None where a price is not known.
    """

    part: str
    models: int
    responses: int = 0
    forwards: int = 0
    calls: int = 0
    hours: float = 0.0
    dollars: float | None = 0.0


def forecast_probe(name: str, prepared: PreparedProbe, units: Units, models: int) -> Forecast:
    """What a probe takes on so many models, which are decoded here."""
    spec, rate = prepared.spec, units.rate
    assert rate is not None, "probes are timed on a model that is decoded here"
    decodings = probe_decodings(rate.lm, spec.decoding, is_organism(spec.models[0])).values()
    lengths = [decoding.length for decoding in decodings]
    cost = prepared.cost(lengths)
    other = cost.forwards + (_BACKWARD - 1) * cost.gradients
    prompts = [request.prompt for request in prepared.data.requests]
    each = cost.generations / len(lengths)
    share = (lambda _: 1.0) if cost.whole else (lambda d: rate.share(d, prompts))
    taken = [each * d.steps * share(d) for d in decodings] if each else []
    seconds = other * max(rate.seconds(decoding, spec.rows) for decoding in decodings)
    seconds += sum(
        rows * rate.seconds(decoding, spec.rows)
        for rows, decoding in zip(taken, decodings, strict=False)
    )
    forwards = cost.forwards + round(sum(taken))
    judged = models * prepared.judged(lengths)
    asked = units.asked(_of_judge(spec, prepared.given, judged), spec.servers)
    return Forecast(
        name, models, models * cost.generations, models * forwards, asked.calls,
        models * seconds / 3600 + asked.hours, asked.dollars,
    )  # fmt: skip


def _of_judge(config: ProbeSpec | TaskConfig, given: Given, count: int) -> Calls:
    """Calls of the judge that a probe or tasks name; none where code judges."""
    if config.judge is None:
        return []
    return [(SpecReader(read_servers(config.servers), given).judge(config.judge), count)]


def costs_of(prepared: PreparedRedteam, name: str = "") -> list[Cost]:
    """The most that each attack takes of one behavior and model.

    Args:
        prepared: The study.
        name: Of the part, for the error.

    Raises:
        MidspanError: An attack does not say what it costs.
    """
    costs = []
    for row in prepared.attacks:
        cost = forecast_attack(row.attack, row.config, row.budget)
        if cost is None:
            raise MidspanError(f"{name}: {row.label} does not say what it costs; give it a `cost`")
        costs.append(cost)
    return costs


def forecast_attacks(name: str, prepared: PreparedRedteam, units: Units) -> Forecast:
    """The most that a red-team study can ask for within its budgets, of all models.

    Raises:
        MidspanError: An attack does not say what it costs.
    """
    from midspan.decoding import decoding_config

    costs, rate, config = costs_of(prepared, name), units.rate, prepared.config
    times, targets = len(prepared.behaviors), [target.model for target in prepared.targets]
    responses = times * sum(cost.generations for cost in costs)
    forwards, hours = 0, 0.0
    here = sum(not target.is_server for target in targets)
    if rate is not None and here:
        decoding = decoding_config(rate.lm, **config.decoding)
        rows = times * sum(sum(cost.forward_rows.values()) for cost in costs)
        forwards = here * (responses * decoding.steps + rows)
        hours = forwards * rate.seconds(decoding, config.batch_size) / 3600
    beside = times * len(targets)
    asked = units.asked(
        [
            *((target, responses) for target in targets if target.is_server),
            *((one, beside * count) for one, count in _beside(prepared, costs)),
        ],
        config.servers,
    )
    return Forecast(
        name, len(targets), len(targets) * responses, forwards, asked.calls,
        hours + asked.hours, asked.dollars,
    )  # fmt: skip


def _beside(prepared: PreparedRedteam, costs: Iterable[Cost]) -> Calls:
    """Calls of helpers and judges, for one behavior and model."""
    judges = tuple(prepared.judges.values())
    helpers = {**prepared.helpers, "judge": judges[0]}
    for cost in costs:
        for role, needed in cost.helpers.items():
            if role in helpers:
                yield helpers[role], needed.expected
        for judge in judges:
            yield judge, cost.attempts


def forecast_tasks(name: str, prepared: PreparedTasks, units: Units, models: int) -> Forecast:
    """What tasks take, from a measured batch of each; hours of servers are not known."""
    config, reader = prepared.config, SpecReader(read_servers(prepared.config.servers))
    answers = {task.name: len(task.items) * task.preset.samples for task in prepared.tasks}
    judged = sum(answers[task.name] for task in prepared.tasks if task.judged is not None)
    calls = list(_of_judge(config, prepared.given, models * judged))
    if prepared.servers:
        count, served = models * sum(answers.values()), config.behind(config.models[0])[0]
        asked = units.asked([*calls, (reader.model(served, 1), count)], config.servers)
        return Forecast(name, models, count, 0, asked.calls, asked.hours, asked.dollars)
    asked, rate = units.asked(calls, config.servers), units.rate
    assert rate is not None, "tasks are timed on a model that is decoded here"
    loaded = {**prepared.given.models, rate.lm.name: rate.lm}
    estimates = estimate(replace(prepared, given=replace(prepared.given, models=loaded)))
    rows = [(s["items"] * s.get("samples", 1), s, hours) for _, _, s, hours in estimates]
    return Forecast(
        name,
        models,
        models * sum(count for count, _, _ in rows),
        models * sum(count * s.get("decoding", {}).get("steps", 1) for count, s, _ in rows),
        asked.calls,
        models * sum(hours for _, _, hours in rows) + asked.hours,
        asked.dollars,
    )
