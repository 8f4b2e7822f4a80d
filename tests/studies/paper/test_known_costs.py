"""What attacks took of the shipped models, in place of a pilot."""

import pytest

from midspan.organism.weights import load_organism
from midspan.studies.paper import forecast as forecasts
from midspan.studies.paper import known_costs as known
from midspan.studies.paper import rates
from midspan.studies.paper.presets import MOSA_STABLE, organism, smoke


@pytest.fixture(scope="module")
def shipped_lm():
    return load_organism()


@pytest.fixture
def stored(monkeypatch, shipped_lm):
    """A file that knows the part of the smallest study."""
    costs = {"organism": [2.0, 8.0, 10.0], "organism:mosa-stable": [3.0, 16.0, 20.0]}
    parts = {known.setting_of(smoke().attacks["attacks"]): {"costs": costs}}
    monkeypatch.setattr(
        known, "read_costs", lambda: {"fingerprint": shipped_lm.fingerprint, "parts": parts}
    )


def like_shipped(**changes):
    """The smallest study with the recipe of the shipped adapter."""
    recipes = {MOSA_STABLE: organism().recipes[MOSA_STABLE]}
    return smoke().model_copy(update={"recipes": recipes} | changes)


def test_a_part_is_known_by_its_settings_and_a_recipe_by_its_adapter(stored, shipped_lm):
    config = like_shipped()
    part = config.attacks["attacks"]
    assert known.known_costs(part, config, shipped_lm) == [(2, 8, 10), (3, 16, 20)]
    # Which behaviors, labels and rows' names make no difference; anything else does.
    same = part.model_copy(update={"behaviors": "organism:7"})
    assert known.known_costs(same, config, shipped_lm)
    for changes in ({"behaviors": "advbench:7"}, {"decoding": {"steps": 2}}, {"batch_size": 3}):
        other = part.model_copy(update=changes)
        assert known.known_costs(other, config, shipped_lm) is None
    # The smallest study's own recipe is shorter than the shipped adapter's: as the base.
    assert known.known_costs(part, smoke(), shipped_lm) == [(2, 8, 10), (2, 8, 10)]


def test_other_weights_are_not_known(stored, shipped_lm, monkeypatch):
    parts = known.read_costs()["parts"]
    monkeypatch.setattr(known, "read_costs", lambda: {"fingerprint": "other", "parts": parts})
    config = like_shipped()
    assert known.known_costs(config.attacks["attacks"], config, shipped_lm) is None


def test_a_forecast_takes_what_is_known_and_a_pilot_where_one_is_asked_for(
    stored, tmp_path, monkeypatch
):
    piloted = []
    found = forecasts.Pilot(1.0, 4.0, 3600.0)
    monkeypatch.setattr(forecasts, "run_pilot", lambda *rest: piloted.append(rest) or found)
    monkeypatch.setattr(rates.Rate, "seconds", lambda self, decoding, rows: 36.0)
    config = like_shipped()
    (row,) = forecasts.forecast(config, tmp_path, ["attacks"])
    # Two behaviors of each model: work counts forwards of 36 seconds.
    assert (row.responses, row.forwards, row.hours) == (10, 48, pytest.approx(0.6))
    assert not piloted
    (row,) = forecasts.forecast(config, tmp_path, ["attacks"], pilot=2)
    assert piloted and row.hours == 4


def test_the_file_is_of_the_shipped_study(shipped_lm):
    """Where this fails, `benchmarks/attack_costs.py` measures anew."""
    assert known.read_costs()["fingerprint"] == shipped_lm.fingerprint
    config = organism()
    for part in config.attacks.values():
        found = known.known_costs(part, config, shipped_lm)
        assert found is not None and len(found) == len(part.models)
        assert all(number > 0 for one in found for number in one)
