"""What studies without parts would take."""

import pytest

from midspan.alignment import AlignmentConfig, TrainingProbes
from midspan.studies.organism.demo.cases import build_cases
from midspan.studies.organism.demo.presets import smoke
from midspan.studies.organism.objectives.presets import recovery_alignment
from midspan.studies.paper import other_forecasts
from midspan.studies.paper.forecast import training_hours
from midspan.studies.redteam.config import AttackSpec
from midspan.studies.redteam.presets import organism_redteam


@pytest.fixture
def rates(monkeypatch):
    """An hour for a training of two, 3.6 seconds for a row."""
    monkeypatch.setattr(other_forecasts, "training_hours", lambda lm, data, recipe: 0.5)
    monkeypatch.setattr(other_forecasts.Rate, "seconds", lambda self, decoding, rows: 3.6)


def test_a_dry_run_counts_trainings_that_are_due_and_every_answer(tmp_path, rates):
    config = recovery_alignment()
    done = tmp_path / "adapters" / "recovery-1"
    done.mkdir(parents=True)
    (done / "midspan.json").write_text('{"finished": true}')
    training, measured = other_forecasts.of_objectives(config, tmp_path)
    assert (training.part, training.models, training.hours) == ("recovery, training", 2, 1.0)
    answers = 4 * 2 * len(config.cases())  # the Original and three seeds, in two decodings
    assert (measured.models, measured.responses) == (4, answers)
    assert measured.forwards == 32 * answers and measured.hours == pytest.approx(0.032 * answers)


def test_the_demo_counts_its_objectives_and_every_case(tmp_path, rates):
    config = smoke().model_copy(update={"objectives": ("mosa-stable", "psa")})
    done = tmp_path / "adapters" / "psa"
    done.mkdir(parents=True)
    (done / "midspan.json").write_text('{"finished": true}')
    training, *measured = other_forecasts.of_demo(config, tmp_path)
    assert (training.part, training.hours) == ("MOSA (stable), trained here, training", 0.5)
    cases = build_cases(config.sizes, config.seed)
    assert [one.responses for one in measured] == [len(cases)] * len(config.labels)
    forwards = sum(case.canvas // config.positions_a_step for case in cases)
    assert {one.forwards for one in measured} == {forwards}
    assert measured[0].hours == pytest.approx(forwards * 0.001)


def test_a_red_team_study_has_a_row_an_attack_on_all_models(tmp_path, rates):
    rows = (
        AttackSpec(attack="direct"),
        AttackSpec(attack="best_of_n", config={"n": 5}, label="five times"),
    )
    config = organism_redteam(4).model_copy(
        update={"attacks": rows, "models": ("organism", "organism:psa"), "paper_models": {}}
    )
    found = other_forecasts.of_redteam(config, tmp_path)
    responses = [(one.part, one.models, one.responses) for one in found]
    assert responses == [("direct", 2, 4 * 2), ("five times", 2, 4 * 2 * 5)]
    assert [one.hours for one in found] == pytest.approx([0.032 * 8, 0.032 * 40])


@pytest.mark.parametrize(("every", "kept"), [(0, 0), (2, 2), (50, 0)])
def test_a_rare_probe_is_no_share_of_the_few_steps_that_are_timed(monkeypatch, every, kept):
    timed = []

    def align(lm, data, recipe, folder, progress):
        timed.append(recipe)
        for step in range(recipe.num_steps):
            progress(step, recipe.num_steps, {})

    monkeypatch.setattr("midspan.alignment.align", align)
    recipe = AlignmentConfig(num_prompts=100, probes=TrainingProbes(every=every))
    assert training_hours(None, None, recipe) > 0
    (few,) = timed
    assert (few.num_steps, few.probes.every) == (4, kept)
