"""A pilot: what attacks take of a few behaviors, for a forecast."""

import pytest

from midspan.data.behaviors import Behavior
from midspan.studies.redteam.pilot import pilot, spread
from midspan.studies.redteam.prepare import prepare
from midspan.studies.redteam.presets import organism_attack, organism_redteam
from midspan.studies.redteam.run import run_redteam


@pytest.mark.parametrize(("count", "taken"), [(1, [5]), (3, [1, 5, 8]), (20, list(range(10)))])
def test_behaviors_are_taken_at_equal_distances(count, taken):
    behaviors = [Behavior(str(index), "request") for index in range(10)]
    assert [int(one.id) for one in spread(behaviors, count)] == taken


def test_a_pilot_of_all_behaviors_takes_what_the_run_takes(organism_folder, tmp_path):
    config = organism_redteam().model_copy(
        update={
            "models": (str(organism_folder),),
            "paper_models": {},
            "attacks": (organism_attack("direct"), organism_attack("tap", depth=2)),
            "behaviors": "organism:2",
            "decoding": {"length": 32, "block_length": 32, "steps": 4},
        }
    )
    prepared = prepare(config)
    found = pilot(prepared, prepared.targets[0], 5)
    done = run_redteam(config, tmp_path, "a test")
    usage = [row["usage"]["target"] for rows in done.cells.values() for row in rows]
    assert found.responses == sum(one["calls"] for one in usage) / 2 > 1
    assert found.forwards == sum(one["forwards"] for one in usage) / 2
    assert found.seconds > 0
