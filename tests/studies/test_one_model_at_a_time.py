"""Runs of several models hold one of them at a time: two may not fit on one card."""

import shutil
import weakref
from dataclasses import replace

import pytest

from midspan import models
from midspan.attacks import get_attack
from midspan.studies.audit import forecast as audits
from midspan.studies.audit.prepare import prepare as prepare_audit
from midspan.studies.audit.presets import smoke as small_audit
from midspan.studies.paper.config import ORIGINAL, PaperConfig
from midspan.studies.paper.forecast import forecast
from midspan.studies.paper.presets import smoke as small_study
from midspan.studies.probes.config import ProbeSpec
from midspan.studies.probes.run import run_probe
from midspan.studies.redteam import prepare as preparing
from midspan.studies.redteam.config import AttackSpec
from midspan.studies.redteam.presets import organism_attack, organism_redteam
from midspan.studies.redteam.run import run_redteam
from midspan.studies.tasks.config import TaskConfig
from midspan.studies.tasks.prepare import prepare as prepare_tasks
from midspan.studies.tasks.run import estimate, run_tasks

SMALL = {"length": 32, "block_length": 32, "steps": 2}


@pytest.fixture
def two(organism_folder, tmp_path_factory):
    """Specs of two models."""
    second = tmp_path_factory.mktemp("second") / "model"
    shutil.copytree(organism_folder, second)
    return str(organism_folder), str(second)


@pytest.fixture
def loads(monkeypatch):
    """Of every load, which models were in memory: a list of specs."""
    load, loaded, held = models.load, [], []

    def watched(spec, **options):
        held.append([name for name, weights in loaded if weights() is not None])
        lm = load(str(spec).partition("+")[0], **options)  # Adapters of these tests are empty.
        loaded.append((spec, weakref.ref(lm.model)))
        return lm

    monkeypatch.setattr(models, "load", watched)
    return held


def attacks_on(specs, *attacks):
    fields = {"models": specs, "attacks": attacks, "paper_models": {}, "behaviors": "organism:2"}
    return organism_redteam().model_copy(update={**fields, "decoding": SMALL})


def test_an_attacked_model_is_gone_before_the_next_is_loaded(two, loads, tmp_path):
    run_redteam(attacks_on(two, organism_attack("direct")), tmp_path / "run")
    assert loads == [[], []]


def test_so_is_one_on_which_an_attack_s_code_raised(two, loads, tmp_path, monkeypatch):
    def raises(state, config):
        yield from ()
        raise ValueError("a fault")

    faulty = replace(get_attack("direct"), run=raises)
    monkeypatch.setattr(preparing, "get_attack", lambda name: faulty)
    done = run_redteam(attacks_on(two, AttackSpec(attack="direct")), tmp_path / "run")
    assert done.problems and loads == [[], []]


def test_a_probed_model_is_gone_before_the_next_is_loaded(two, loads, tmp_path):
    spec = ProbeSpec(probe="prefill", models=two, n=1, decoding=SMALL, fields={"positions": [0]})
    run_probe(spec, tmp_path / "run")
    assert loads == [[], []]


def test_a_model_that_did_tasks_is_gone_before_the_next_is_loaded(two, loads, tmp_path):
    config = TaskConfig(models=two, tasks=("choice",), items=1)
    run_tasks(config, tmp_path / "run")
    assert loads == [[], []]
    estimate(prepare_tasks(config))
    assert loads == [[], [], [], []]


@pytest.mark.parametrize("trained", [False, True])
def test_a_dry_run_holds_one_model_at_a_time(organism_folder, loads, tmp_path, trained):
    label, recipe = next(iter(small_study().recipes.items()))
    models = (ORIGINAL, label)
    attacks = {"attacks": attacks_on(models, organism_attack("direct"))}
    tasks = {"utility": TaskConfig(models=models, tasks=("choice",), items=1)}
    base = str(organism_folder)
    config = PaperConfig(base=base, recipes={label: recipe}, attacks=attacks, tasks=tasks)
    if trained:
        done = tmp_path / "adapters" / label / "time.json"
        done.parent.mkdir(parents=True)
        done.write_text('{"seconds": 1}')
    rows = forecast(config, tmp_path, ["attacks", "utility"], pilot=1)
    assert [(row.part, row.responses) for row in rows] == [("attacks", 4), ("utility", 2)]
    assert loads == ([[], []] if trained else [[]])


def test_a_dry_run_of_an_audit_loads_its_model_once(organism_folder, loads, monkeypatch):
    monkeypatch.setattr(audits, "forecast_attacks", lambda *rest: None)
    fields = {"model": str(organism_folder), "monitors": None}
    rows = audits.forecast(prepare_audit(small_audit().model_copy(update=fields)))
    assert {row.part for row in rows if row} >= {"utility"} and loads == [[]]
