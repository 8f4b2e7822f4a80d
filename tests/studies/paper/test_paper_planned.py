"""How many cases claims plan, and how many their parts can give."""

import pytest

from midspan.errors import MidspanError
from midspan.studies.paper.config import ORIGINAL
from midspan.studies.paper.expected import probe_hypotheses
from midspan.studies.paper.forecast import forecast
from midspan.studies.paper.metrics import metrics
from midspan.studies.paper.prepare import prepare
from midspan.studies.paper.presets import MOSA_STABLE, organism, organism2, paper, smoke
from midspan.studies.paper.run import run_paper


def planned(config):
    return {one.metric: one.n for one in config.hypotheses}


def test_the_planned_n_follows_the_size_of_the_part():
    whole, small = planned(paper()), planned(paper().changed({"probes": {"gcg": {"n": 20}}}))
    changed = {name: n for name, n in small.items() if n != whole[name]}
    assert changed == {name: 20 for name in whole if name.startswith("gcg.")}
    fields = {
        "probes": {"prefill": {"n": 3}},
        "attacks": {"attacks": {"behaviors": "organism:9"}},
        "tasks": {"utility": {"items": 18}},
    }
    kept = {"prefill": 6, "attacks": 9, "utility": 18}
    for name, n in planned(organism().changed(fields)).items():
        part = name.partition(".")[0]
        assert n == kept.get(part, planned(organism())[name])


def test_claims_that_are_given_keep_their_n():
    given = [one.model_dump() for one in organism().hypotheses]
    changes = {"probes": {"gcg": {"n": 2}}, "hypotheses": given}
    assert planned(organism().changed(changes)) == planned(organism())


def test_what_a_part_cannot_give_is_refused_before_the_start_and_in_a_dry_run(tmp_path):
    claims = probe_hypotheses(MOSA_STABLE, prefill=5)
    config = smoke().model_copy(update={"hypotheses": claims})
    said = "hypotheses.n: 5 cases are planned for prefill.middle.*, and prefill has 4; give"
    with pytest.raises(MidspanError, match=said):
        run_paper(config, tmp_path / "run", "midspan")
    assert not (tmp_path / "run").exists()
    with pytest.raises(MidspanError, match=said):
        forecast(config, tmp_path)


def test_a_grid_without_a_place_in_the_middle_has_no_cases_of_it(tmp_path):
    config = smoke().changed({"probes": {"prefill": {"fields": {"positions": [0, 20]}}}})
    with pytest.raises(MidspanError, match="and prefill has 0"):
        prepare(config, tmp_path)


@pytest.mark.parametrize("preset", [organism, organism2])
def test_parts_of_presets_give_what_is_planned(preset, tmp_path):
    config = preset()
    parts = prepare(config, tmp_path, config.first_parts).parts
    known = metrics(config)
    given = {name: known[name].cases(parts[known[name].part]) for name in planned(config)}
    assert all(n <= given[name] for name, n in planned(config).items())
    assert given[f"prefill.middle_minus_first[{ORIGINAL}]"] == 2 * config.probes["prefill"].n
