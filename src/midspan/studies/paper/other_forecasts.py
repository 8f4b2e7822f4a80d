"""What studies without parts would take at most, before they start.

What a run folder holds already is counted too, finished trainings excepted.
"""

from dataclasses import replace
from pathlib import Path

from midspan.files import read_json
from midspan.served import is_served
from midspan.studies.organism.objectives.config import ObjectivesConfig, stress_decodings
from midspan.studies.paper.forecast import Forecast, Rate, forecast_attacks, training_hours
from midspan.studies.redteam.config import RedteamConfig
from midspan.studies.redteam.prepare import prepare

# Rows of a batch of the organism's cases.
_BATCH = 32


def of_objectives(config: ObjectivesConfig, folder: Path) -> list[Forecast]:
    """Trainings that are not finished, a row each recipe, and all that is measured."""
    from midspan.organism.training_data import alignment_data
    from midspan.organism.weights import load_organism

    lm, data, rows = load_organism(), alignment_data(), []
    for name, recipe in config.recipes.items():
        due = sum(not _is_trained(folder / "adapters" / f"{name}-{seed}") for seed in config.seeds)
        if due:
            hours = due * training_hours(lm, data, recipe)
            rows.append(Forecast(f"{name}, training", due, hours=hours))
    rate, models = Rate(lm), 1 + len(config.recipes) * len(config.seeds)
    cases, known = models * len(config.cases()), stress_decodings()
    steps = [cases * known[name].steps for name in config.decodings]
    seconds = [rate.seconds(known[name], _BATCH) for name in config.decodings]
    spent = sum(count * each for count, each in zip(steps, seconds, strict=True))
    answers = cases * len(config.decodings)
    return [*rows, Forecast("measuring", models, answers, sum(steps), hours=spent / 3600)]


def _is_trained(adapter: Path) -> bool:
    file = adapter / "midspan.json"
    return file.is_file() and bool(read_json(file).get("finished"))


def of_redteam(config: RedteamConfig, folder: Path) -> list[Forecast]:
    """A row each attack, on all models; rates are measured on the first that is decoded here.

    Raises:
        MidspanError: The study cannot be run as it is, or an attack does not say what it costs.
    """
    from midspan.models import load

    prepared = prepare(config)
    local = [model for model in config.models if not is_served(model)]
    rate = Rate(load(local[0].partition(" with ")[0])) if local else None
    return [
        forecast_attacks(row.label, replace(prepared, attacks=(row,)), rate, len(config.models), {})
        for row in prepared.attacks
    ]
