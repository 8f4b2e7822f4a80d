"""What studies without parts would take at most, before they start.

What a run folder holds already is counted too, finished trainings excepted.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from midspan.files import read_json
from midspan.organism.worlds import SECOND, room
from midspan.served import is_served
from midspan.studies.organism.demo.cases import build_cases, groups
from midspan.studies.organism.demo.config import DemoConfig
from midspan.studies.organism.demo.models import label_of, trained
from midspan.studies.organism.objectives.config import ObjectivesConfig, stress_decodings
from midspan.studies.paper.part_forecasts import Forecast, forecast_attacks
from midspan.studies.paper.rates import Rate, Units, training_hours
from midspan.studies.redteam.config import RedteamConfig
from midspan.studies.redteam.prepare import prepare

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig

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
    models, known = 1 + len(config.recipes) * len(config.seeds), stress_decodings()
    asked = [(known[name], models * len(config.cases())) for name in config.decodings]
    return [*rows, _measuring(Rate(lm), "measuring", models, asked)]


def of_demo(config: DemoConfig, folder: Path) -> list[Forecast]:
    """Trainings that are not finished, and what is measured of each model, a row each."""
    from midspan.models import load

    lm = load(SECOND, device="cpu")
    data = room(SECOND, "training_data").alignment_data(config.training_seed)
    rows = [
        Forecast(
            f"{label_of(trained(name))}, training",
            1,
            hours=training_hours(lm, data, config.recipe(name)),
        )
        for name in config.objectives
        if not _is_trained(folder / "adapters" / name)
    ]
    cases = build_cases(config.sizes, config.seed)
    asked = [
        (decoding, len(group))
        for _, decoding, group in groups(cases, config.decodings, config.positions_a_step)
    ]
    rate = Rate(lm)
    names = [f"{label_of(model)}, measuring" for model in config.labels]
    return rows + [_measuring(rate, name, 1, asked) for name in names]


def _measuring(
    rate: Rate, name: str, models: int, asked: "Sequence[tuple[DecodingConfig, int]]"
) -> Forecast:
    """So many cases of an organism's study in each decoding."""
    responses = sum(count for _, count in asked)
    forwards = sum(count * decoding.steps for decoding, count in asked)
    spent = sum(
        count * decoding.steps * rate.seconds(decoding, _BATCH) for decoding, count in asked
    )
    return Forecast(name, models, responses, forwards, hours=spent / 3600)


def _is_trained(adapter: Path) -> bool:
    from midspan.alignment.run import RECIPE_FILE

    file = adapter / RECIPE_FILE
    return file.is_file() and bool(read_json(file).get("finished"))


def of_redteam(config: RedteamConfig, folder: Path) -> list[Forecast]:
    """A row each attack, on all models; rates are measured on the first that is decoded here.

    Raises:
        MidspanError: The study cannot be run as it is, or an attack does not say what it costs.
    """
    from midspan.models import load

    prepared = prepare(config)
    local = [model for model in config.models if not is_served(model)]
    units = Units(load(local[0].partition(" with ")[0]) if local else None)
    return [
        forecast_attacks(row.label, replace(prepared, attacks=(row,)), units)
        for row in prepared.attacks
    ]
