"""What one part would take: responses, forwards, calls, hours, money."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from midspan.engine.forecast import forecast as forecast_attack
from midspan.errors import MidspanError
from midspan.organism.worlds import is_organism
from midspan.studies.decodings import probe_decodings
from midspan.studies.paper.rates import Rate
from midspan.studies.probes.prepare import PreparedProbe
from midspan.studies.redteam.prepare import PreparedRedteam
from midspan.studies.tasks.prepare import PreparedTasks
from midspan.studies.tasks.run import estimate

# A call of a helper or judge: tokens of prompt and reply, for the money alone.
PROMPT_TOKENS, REPLY_TOKENS = 1000, 300
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
        calls: Of helpers and judges behind servers.
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


def forecast_probe(name: str, prepared: PreparedProbe, rate: Rate, models: int) -> Forecast:
    """What a probe takes on so many models."""
    spec = prepared.spec
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
    return Forecast(
        name, models, models * cost.generations, models * forwards, hours=models * seconds / 3600
    )


def forecast_attacks(
    name: str,
    prepared: PreparedRedteam,
    rate: Rate | None,
    models: int,
    prices: Mapping[str, tuple[float, float]],
) -> Forecast:
    """The most that a red-team study can ask for within its budgets.

    Args:
        name: Of the row.
        prepared: The study.
        rate: Of its models; None where they answer behind servers.
        models: How many they are.
        prices: By helper's, judge's or served model's spec.

    Raises:
        MidspanError: An attack does not say what it costs.
    """
    from midspan.decoding import decoding_config

    config, judges = prepared.config, [judge.model for judge in prepared.judges.values()]
    times = len(prepared.behaviors) * models
    decoding = decoding_config(rate.lm, **config.decoding) if rate else None
    responses, forwards = 0, 0
    calls: dict[str, int] = {}
    for row in prepared.attacks:
        cost = forecast_attack(row.attack, row.config, row.budget)
        if cost is None:
            raise MidspanError(f"{name}: {row.label} does not say what it costs; give it a `cost`")
        responses += cost.generations
        if decoding:
            forwards += cost.generations * decoding.steps + sum(cost.forward_rows.values())
        for role, needed in cost.helpers.items():
            spec = judges[0] if role == "judge" else config.helpers.get(role, role)
            calls[spec] = calls.get(spec, 0) + needed.expected
        for spec in judges:
            calls[spec] = calls.get(spec, 0) + cost.attempts
    targets = [target.model for target in prepared.targets]
    calls |= {target.model: responses for target in targets if target.is_server}
    others = (*prepared.helpers.values(), *prepared.judges.values(), *targets)
    servers = {one.model for one in others if one.is_server}
    paid = {spec: count * times for spec, count in calls.items() if spec in servers}
    seconds = rate.seconds(decoding, config.batch_size) if rate and decoding else 0.0
    return Forecast(
        name, models, responses * times, forwards * times, sum(paid.values()),
        forwards * times * seconds / 3600, _dollars(paid, prices),
    )  # fmt: skip


def _dollars(paid: Mapping[str, int], prices: Mapping[str, tuple[float, float]]) -> float | None:
    if paid.keys() - prices.keys():
        return None
    return sum(
        count * (PROMPT_TOKENS * prices[spec][0] + REPLY_TOKENS * prices[spec][1]) / 1e6
        for spec, count in paid.items()
    )


def forecast_tasks(name: str, prepared: PreparedTasks, rate: Rate | None, models: int) -> Forecast:
    """What tasks take, from a measured batch of each; hours of servers are not known."""
    if prepared.servers:
        answers = sum(len(task.items) * task.preset.samples for task in prepared.tasks)
        return Forecast(name, models, models * answers, 0)
    assert rate is not None, "tasks are timed on a model that is decoded here"
    loaded = {**prepared.given.models, rate.lm.name: rate.lm}
    estimates = estimate(replace(prepared, given=replace(prepared.given, models=loaded)))
    responses = sum(s["items"] * s.get("samples", 1) for _, _, s, _ in estimates)
    forwards = sum(
        s["items"] * s.get("samples", 1) * s.get("decoding", {}).get("steps", 1)
        for _, _, s, _ in estimates
    )
    hours = sum(hours for _, _, _, hours in estimates)
    return Forecast(name, models, models * responses, models * forwards, hours=models * hours)
