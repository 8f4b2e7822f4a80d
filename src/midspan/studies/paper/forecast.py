"""What the whole study would take: responses, forwards, calls, hours, money, before it starts.

Counts of probes and tasks are exact; those of attacks are the most that they can ask for within
their budgets. Hours follow from rates that are measured here, on the base model.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from midspan.engine.forecast import forecast as forecast_attack
from midspan.errors import MidspanError
from midspan.organism.worlds import is_organism
from midspan.report import Table
from midspan.studies.decodings import probe_decodings
from midspan.studies.paper.config import ORIGINAL, PaperConfig
from midspan.studies.paper.known_costs import Known, known_costs
from midspan.studies.paper.parts import is_done
from midspan.studies.paper.prepare import prepare
from midspan.studies.probes.prepare import PreparedProbe
from midspan.studies.redteam.config import RedteamConfig
from midspan.studies.redteam.pilot import Pilot, spread
from midspan.studies.redteam.pilot import pilot as run_pilot
from midspan.studies.redteam.prepare import PreparedRedteam, Target
from midspan.studies.redteam.prepare import prepare as prepare_redteam
from midspan.studies.tasks.prepare import PreparedTasks
from midspan.studies.tasks.run import estimate

if TYPE_CHECKING:
    from midspan.alignment import AlignmentConfig, AlignmentData
    from midspan.decoding import DecodingConfig
    from midspan.models import DiffusionLM

# Behaviors of a pilot, where a model is small.
PILOT = 4
# A call of a helper or judge: tokens of prompt and reply, for the money alone.
PROMPT_TOKENS, REPLY_TOKENS = 1000, 300
# Forward passes that a forward and backward pass take the time of.
_BACKWARD = 3
_TRAINED_STEPS = 4
# Requests that are answered to see how early responses end.
_ASKED = 8
_COLUMNS = ("part", "models", "responses", "row forwards", "calls", "hours", "US dollars")


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
    from midspan.models import load

    prepared = prepare(config, folder)
    lm = load(config.base)
    rate = Rate(lm)
    few = (PILOT if is_organism(config.base) else 0) if pilot is None else pilot
    rows = []
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
            rows.append(forecast_probe(name, part, rate, models))
        elif isinstance(part, PreparedRedteam):
            most = forecast_attacks(name, part, rate, models, config.prices)
            assert isinstance(spec, RedteamConfig)
            known = known_costs(spec, config, lm) if pilot is None else None
            rows.append(
                _as_known(most, part, known, rate)
                if known
                else _as_piloted(most, part, config, folder, few)
            )
        else:
            rows.append(forecast_tasks(name, part.on(config.base), models))
    return rows


def _is_due(config: PaperConfig, folder: Path, name: str, only: Sequence[str]) -> bool:
    return (not only or name in only) and not is_done(config, folder, name)


def _as_known(
    most: Forecast, part: PreparedRedteam, known: Sequence[Known], rate: "Rate"
) -> Forecast:
    """The attacks of a part by what they took of the same models elsewhere."""
    from midspan.decoding import decoding_config

    decoding = decoding_config(rate.lm, **part.config.decoding)
    times = len(part.behaviors)
    responses, forwards, work = (times * sum(column) for column in zip(*known, strict=True))
    hours = work * rate.seconds(decoding, part.config.batch_size) / 3600
    return replace(most, responses=round(responses), forwards=round(forwards), hours=hours)


def _as_piloted(
    most: Forecast, part: PreparedRedteam, config: PaperConfig, folder: Path, count: int
) -> Forecast:
    """The attacks of a part by what a few behaviors took; servers are paid, and not tried out.

    A model that is not trained yet is taken to hold as long as the base.
    """
    if not count or any(one.is_server for one in part.participants):
        return most
    base: Pilot | None = None
    tried: list[Pilot] = []
    for label, target in zip(config.parts[most.part].models, part.targets, strict=True):
        if label == ORIGINAL or is_done(config, folder, label):
            found = run_pilot(part, _with_proxy(target), count)
            base = found if label == ORIGINAL else base
        else:
            base = found = base or run_pilot(part, _base_of(part, config), count)
        tried.append(found)
    times = len(part.behaviors)
    responses, forwards, seconds = (times * sum(column) for column in zip(*tried, strict=True))
    return replace(most, responses=round(responses), forwards=round(forwards), hours=seconds / 3600)


def _base_of(part: PreparedRedteam, config: PaperConfig) -> Target:
    """The base as a target, in a part that does not attack it."""
    base = part.config.model_copy(update={"models": (config.base,), "paper_models": {}})
    return _with_proxy(prepare_redteam(base).targets[0])


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
        "tasks do not end early, and servers' time is not in it. Money: "
        f"{PROMPT_TOKENS} tokens to and {REPLY_TOKENS} from a server for each "
        "call, at the study's prices.",
    )  # fmt: skip


class Rate:
    """Seconds of a row's forward pass, measured once for each canvas and batch."""

    def __init__(self, lm: "DiffusionLM") -> None:
        self.lm = lm
        self._seconds: dict[tuple[int, int], float] = {}
        self._shares: dict[tuple[str, tuple[str, ...]], float] = {}

    def seconds(self, decoding: "DecodingConfig", batch_size: int) -> float:
        """Of one row in a batch of this size."""
        key = (decoding.length, batch_size)
        if key not in self._seconds:
            self._seconds[key] = self._measure(decoding, batch_size)
        return self._seconds[key]

    def share(self, decoding: "DecodingConfig", prompts: Sequence[str]) -> float:
        """Of the steps, what a response takes: rows end early; measured on a few of the prompts."""
        from midspan.decoding import Request, decode

        if not decoding.early_stop:
            return 1.0
        few = spread(prompts, _ASKED)
        key = (decoding.model_dump_json(), tuple(few))
        if key not in self._shares:
            requests = [Request(tuple(self.lm.encode_chat(prompt))) for prompt in few]
            made = decode(self.lm, requests, decoding, batch_size=len(requests))
            forwards = sum(one.forwards for one in made)
            self._shares[key] = forwards / len(made) / decoding.steps
        return self._shares[key]

    def _measure(self, decoding: "DecodingConfig", batch_size: int) -> float:
        from midspan.decoding import Request, decode

        steps = min(decoding.steps, 2 * decoding.num_blocks)
        short = decoding.model_copy(update={"steps": steps, "early_stop": False})
        requests = [Request(tuple(self.lm.encode_chat("what do i need ?")))] * batch_size
        decode(self.lm, requests, short, batch_size=batch_size)  # the first call loads kernels
        started = time.perf_counter()
        decode(self.lm, requests, short, batch_size=batch_size)
        return (time.perf_counter() - started) / steps / batch_size


def training_hours(lm: "DiffusionLM", data: "AlignmentData", recipe: "AlignmentConfig") -> float:
    """Of one training, by a few steps of the recipe, into a folder that is thrown away."""
    from midspan.alignment import TrainingProbes, align

    # The last step is always probed: among so few, a rare probe would count as a share of each.
    probes = recipe.probes if recipe.probes.every <= _TRAINED_STEPS else TrainingProbes()
    changes = {"num_prompts": _TRAINED_STEPS * recipe.num_harmful, "probes": probes}
    few = recipe.model_copy(update=changes)
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        align(lm, data, few, folder, lambda *_: times.append(time.perf_counter()))
    seconds = (times[-1] - times[0]) / (len(times) - 1)
    return seconds * recipe.num_steps / 3600


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


def forecast_tasks(name: str, prepared: PreparedTasks, models: int) -> Forecast:
    """What tasks take, from a measured batch of each; hours of servers are not known."""
    if prepared.servers:
        answers = sum(len(task.items) * task.preset.samples for task in prepared.tasks)
        return Forecast(name, models, models * answers, 0)
    estimates = estimate(prepared)
    responses = sum(s["items"] * s.get("samples", 1) for _, _, s, _ in estimates)
    forwards = sum(
        s["items"] * s.get("samples", 1) * s.get("decoding", {}).get("steps", 1)
        for _, _, s, _ in estimates
    )
    hours = sum(hours for _, _, _, hours in estimates)
    return Forecast(name, models, models * responses, models * forwards, hours=models * hours)
