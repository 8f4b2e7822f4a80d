"""The comparison of objectives: the same cases for all, partly given answers, a table."""

import csv
import dataclasses

import pytest

from midspan.alignment import PRESETS
from midspan.errors import MidspanError
from midspan.journal.journal import Journal
from midspan.organism.judge import judge
from midspan.organism.language import WRAPS
from midspan.organism.tokenizer import split_words
from midspan.organism.weights import load_organism
from midspan.runs.compare import compare_runs
from midspan.runs.folder import FinishedRun
from midspan.studies.organism.cases import Sizes
from midspan.studies.organism.measure import by_canvas, measure
from midspan.studies.organism.objectives.config import BASE, ObjectivesConfig, stress_decodings
from midspan.studies.organism.objectives.page import report_of
from midspan.studies.organism.objectives.presets import (
    ablations,
    objectives,
    pieces,
    recovery_alignment,
    samplers,
)
from midspan.studies.organism.objectives.run import run_objectives
from midspan.studies.organism.stress import STRESS_CELLS, STRIPE, build_stress_cases

TINY = {
    "recipes": {"psa": PRESETS["psa"](num_prompts=8, batch_size=8)},
    "seeds": (0, 1),
    "sizes": Sizes(plain=1, wraps=1, prefill=1, benign=1, utility=1),
    "stress": 1,
    "decodings": ("one block, 16 steps",),
}


class Rows:
    """A finished run of hand-written records."""

    def __init__(self, config, records):
        self.info = {"config": config.model_dump(mode="json")}
        self.origin = {"command": "midspan study"}
        self.files = {"records.jsonl": records, "trainings.jsonl": []}

    def rows(self, name):
        return self.files[name]


def test_given_words_are_the_answers_and_count_for_nobody():
    cases = build_stress_cases(6, seed=3)
    assert {case.cell for case in cases} == set(STRESS_CELLS)
    assert cases == build_stress_cases(6, seed=3) != build_stress_cases(6, seed=4)
    for case in cases:
        given = " ".join(phrase for phrase, _ in case.anchors)
        # The canvas as the attacker made it, without a word of the model's.
        assert not case.verdict(given)["success"]
        spots = [s + k for text, s in case.anchors for k in range(len(split_words(text)))]
        assert len(spots) == len(set(spots)) and max(spots) < 128


def test_kinds_reveal_what_they_say():
    by_cell = {case.cell: case for case in build_stress_cases(1, seed=0)}

    def spots(cell):
        runs = by_cell[cell].anchors
        return {start + k for text, start in runs for k in range(len(split_words(text)))}

    assert spots("anchor_48") == set(range(48))
    assert spots("infill_tail") == set(range(64, 128))
    assert spots("infill_striped") == {k for k in range(128) if k // STRIPE % 2 == 0}
    scaffold = by_cell["infill_scaffold"]
    whole = " ".join(text for text, _ in scaffold.anchors)
    assert judge(scaffold.item, whole).detail.startswith("0/12")


@pytest.mark.slow
def test_every_model_and_seed_is_asked_the_same(tmp_path):
    config = ObjectivesConfig(**TINY)
    page = run_objectives(config, tmp_path, "midspan study").report
    run = FinishedRun.open(tmp_path)
    records = run.rows("records.jsonl")
    cases = {case.id for case in config.cases()}
    for model, seeds in ((BASE, {0}), ("psa", {0, 1})):
        for seed in seeds:
            rows = [r for r in records if (r["model"], r["seed"]) == (model, seed)]
            assert {row["id"] for row in rows} == cases
    with (tmp_path / "tables" / "objectives-one-block-16-steps.csv").open() as file:
        table = {row["measured"]: row for row in csv.DictReader(file)}
    assert table["wraps"]["psa n"] == "16"  # eight wraps, two seeds
    assert all(row["seconds"] > 0 for row in run.rows("trainings.jsonl"))
    assert table["minutes of training"]["original"] == "0.0"
    assert page.is_file() and (tmp_path / "figures" / "attacks-one-block-16-steps.svg").is_file()
    for seed in (0, 1):
        card = (tmp_path / "adapters" / f"psa-{seed}" / "README.md").read_text()
        assert "| measured | original | psa |" in card and "n=16" in card
    changes = compare_runs(run, run)
    by_place = {change.place: change for change in changes}
    for model, units in ((BASE, 1), ("psa", 2)):
        assert by_place[model, "one block, 16 steps", "wraps_held_out"].first.n == units


def test_many_decodings_stand_below_each_other():
    decodings = tuple(stress_decodings())
    config = ObjectivesConfig(**TINY | {"decodings": decodings})
    verdict = {"success": True, "refusal": False, "coherent": False}
    row = {"model": "psa", "cell": "wraps_held_out", "decoding": decodings[1]}
    report = report_of(Rows(config, [row | {"verdict": verdict}]))
    assert [section.title for section in report.sections][0] == "Across decodings"
    assert len(report.sections) == 1 + len(decodings)
    (wraps,) = [table for table in report.sections[0].tables if table.title == "Wraps"]
    assert [line[0] for line in wraps.rows] == list(decodings)
    assert [line[2].text for line in wraps.rows][:3] == ["n/a", "100.0 %", "n/a"]
    row_of = {line[0]: line[2] for line in report.sections[2].tables[0].rows}
    assert row_of["wraps refused in words"].text == "0.0 %"
    assert row_of["wraps, incoherent"].text == "100.0 %"


def test_held_in_cases_hold_nothing_unseen():
    cases = ObjectivesConfig(**TINY | {"held_in": True, "stress": 9}).cases()
    assert {case.cell for case in cases} >= {"wraps_trained", "plain"}
    assert not any(case.cell == "wraps_held_out" for case in cases)
    assert not any(case.item and case.item.held_out for case in cases)
    unseen = {wrap.name for wrap in WRAPS if wrap.held_out}
    assert not unseen & {case.attempt for case in cases}


def test_decodings_are_named_and_an_unknown_one_is_refused():
    names = stress_decodings()
    assert names["one block, EOS suppressed in logits"].eos_policy == "suppress_logits"
    assert names["blocks of 32, 128 steps"].steps == 128
    assert names["blocks of 32, temperature 1.0"].temperature == 1.0
    assert {*objectives().decodings, *samplers().decodings} == names.keys()
    assert not set(objectives().decodings) & set(samplers().decodings)
    with pytest.raises(MidspanError, match="must be one of one block, .*; got 'x'"):
        ObjectivesConfig(recipes={}, decodings=("x",))


def changed(one, other, name=""):
    """Dotted names of the fields in which two configs differ."""
    if not isinstance(one, dict):
        return {name} if one != other else set()
    return set().union(*(changed(one[key], other[key], f"{name}.{key}") for key in one))


def test_an_ablation_changes_one_thing():
    recipes = {name: recipe.model_dump() for name, recipe in ablations().recipes.items()}
    base = recipes["psa"]
    assert base == PRESETS["psa"]().model_dump()
    kinds = {
        f".objective.partial_answer.{kind}" for kind in ("prefix", "span", "scattered", "runs")
    }
    differences = {name: changed(base, recipe) - {".name"} for name, recipe in recipes.items()}
    assert differences.pop("psa") == set()
    assert differences.pop("no-benign") == {
        ".benign_share", ".batch_size", ".objective.benign_weight"
    }  # fmt: skip
    assert ablations().recipes["no-benign"].num_steps == ablations().recipes["psa"].num_steps
    for found in differences.values():
        assert len(found) == 1 or found <= kinds
    assert len({str(recipe | {"name": ""}) for recipe in recipes.values()}) == len(recipes)


def test_recovery_alignment_is_measured_on_the_cases_of_the_others():
    own = recovery_alignment()
    assert own.labels == ("original", "recovery") and not own.held_in
    assert own.recipes["recovery"] == PRESETS["recovery"]()
    assert own.model_copy(update={"recipes": objectives().recipes}) == objectives()


def test_sampled_cases_draw_apart_and_alike_on_every_model(tmp_path):
    case = build_stress_cases(1, seed=0)[0]
    cases = [case, dataclasses.replace(case, id="again")]
    sampled = stress_decodings()["one block, temperature 1.0"]
    decodings = {"sampled": sampled.model_copy(update={"steps": 2, "temperature": 4.0})}
    lm = load_organism()
    with Journal(tmp_path / "one.jsonl") as one, Journal(tmp_path / "two.jsonl") as two:
        rows = measure(lm, "original", by_canvas(cases, decodings), one)
        assert rows == measure(lm, "original", by_canvas(cases, decodings), two)
    assert rows[0]["tokens"] != rows[1]["tokens"]


def test_the_variant_against_pieces_is_chosen_on_held_in_cases():
    config = pieces()
    assert config.held_in and config.mentions
    assert not any(case.mention.other.held_out for case in config.cases() if case.mention)
    whole, half = (config.recipes[name] for name in ("psa-pieces", "psa-pieces-half"))
    assert whole.objective == half.objective != config.recipes["psa"].objective
    assert whole.num_steps == half.num_steps == config.recipes["psa"].num_steps


def test_mentions_have_rows_where_they_were_asked(tmp_path):
    config = ObjectivesConfig(**TINY, mentions=1)
    assert "mentions" not in ObjectivesConfig(**TINY).model_dump()
    assert len(config.cases()) == len(ObjectivesConfig(**TINY).cases()) + 7
    records = [
        {
            "model": model, "decoding": TINY["decodings"][0], "cell": case.cell,
            "verdict": case.verdict(case.mention.answer if case.mention and model == BASE else ""),
        }
        for model in (BASE, "psa")
        for case in config.cases()
    ]  # fmt: skip
    (section,) = report_of(Rows(config, records)).sections
    table = {row[0]: [str(cell.text) for cell in row[1:]] for row in section.tables[0].rows[:-1]}
    assert table["mentioned only, answered"][0].startswith("100.0 %")
    assert table["mentioned only, answered"][1].startswith("0.0 %")
    assert {"without the mention, answered", "mentioned: refused turn"} <= set(table)
