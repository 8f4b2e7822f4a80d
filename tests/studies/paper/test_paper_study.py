"""The whole study: its parts in one folder, one page, interruptions, shared work, a forecast."""

import csv
import json
import math
import pkgutil
import shutil
import signal
import time
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
import yaml
from typer.testing import CliRunner

from midspan.commands import app
from midspan.commands.options import configure
from midspan.errors import MidspanError
from midspan.journal.ranks import Rank
from midspan.runs.compare import change_table, compare_runs
from midspan.runs.executors import How
from midspan.runs.folder import FinishedRun
from midspan.runs.kinds import write_page
from midspan.statistics import wilson
from midspan.studies.paper.config import ORIGINAL, PaperConfig
from midspan.studies.paper.expected import task_hypotheses
from midspan.studies.paper.forecast import forecast, forecast_table
from midspan.studies.paper.metrics import metrics
from midspan.studies.paper.page import _searches
from midspan.studies.paper.parts import run_part, run_share, seconds_of
from midspan.studies.paper.prepare import prepare
from midspan.studies.paper.presets import (
    INITIAL_STABLE,
    MOSA_STABLE,
    organism,
    organism2,
    paper,
    smoke,
)
from midspan.studies.paper.run import run_paper
from midspan.studies.paper.seeds import records_of, wins_table
from midspan.studies.probes.config import ProbeSpec
from midspan.studies.tasks.config import TaskConfig

SMALL = {"length": 64, "steps": 2, "block_length": 32}
# What reads the names and files of parts, and where it is called.
PREPARING = (
    ("midspan.studies.paper.prepare", "load_training_data"),
    ("midspan.studies.paper.prepare", "prepare_redteam"),
    ("midspan.studies.paper.prepare", "prepare_probe"),
    ("midspan.studies.paper.prepare", "prepare_tasks"),
    ("midspan.studies.redteam.prepare", "prepare_attack"),
    ("midspan.studies.tasks.prepare", "build_tasks"),
    ("midspan.studies.probes.config:ProbeSpec", "data"),
)


def probe(name="samples", **fields):
    return ProbeSpec(probe=name, models=(ORIGINAL,), n=1, decoding=SMALL, **fields)


def quick(**parts):
    """A study of the Original alone."""
    return PaperConfig(base="organism", probes=parts)


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """A whole study, and how often it prepared what its parts are made of."""
    counts = Counter()
    with pytest.MonkeyPatch.context() as patch:
        for place, name in PREPARING:
            owner = pkgutil.resolve_name(place)
            patch.setattr(owner, name, counting(counts, name, getattr(owner, name)))
        folder = tmp_path_factory.mktemp("paper")
        result = run_paper(smoke(), folder, "midspan study --preset organism")
    return result, folder, counts


def counting(counts, name, original):
    return lambda *arguments, **named: counts.update([name]) or original(*arguments, **named)


@pytest.fixture(scope="module")
def done(counted):
    return counted[:2]


def test_its_tables_are_latex(done, set_in_latex):
    set_in_latex(done[1])


def test_a_study_that_has_moved_says_the_same(done, tmp_path):
    shutil.copytree(done[1], tmp_path / "elsewhere")
    page = write_page(tmp_path / "elsewhere").with_suffix(".md")
    assert page.read_text() == (done[1] / "report.md").read_text()


def test_one_page_holds_all_parts_and_judges_the_claims(done):
    result, folder = done
    page = result.report.read_text()
    for name in ("Training", "prefill: Prefilled phrases", "attacks: Attack success", "utility: "):
        assert name in page
    assert str(folder) not in (folder / "report.md").read_text()
    # Transcripts count attempts.
    assert "1 of 1" not in page.partition('id="transcripts"')[0] and "report.html" not in page
    claims = (folder / "tables" / "claims.csv").read_text()
    outcomes = ("undecided", "supported", "refuted", "no verdict")
    assert sum(map(claims.count, outcomes)) >= 2
    assert {row["part"] for row in FinishedRun.open(folder).rows("records.jsonl")} == {
        MOSA_STABLE, "prefill", "samples", "attacks", "utility",
    }  # fmt: skip
    assert result.report.stat().st_size < 5_000_000
    card = (folder / "adapters" / MOSA_STABLE / "README.md").read_text()
    assert "## Measured" in card and "utility: " in card


def test_every_part_is_prepared_once(counted):
    """A whole study reads each name and file once: the data of all recipes, every part's own."""
    config = smoke()
    assert counted[2] == {
        "load_training_data": 1,
        "prepare_redteam": 1,
        "prepare_attack": len(config.attacks["attacks"].attacks),
        "prepare_probe": len(config.probes),
        "data": len(config.probes),
        "prepare_tasks": 1,
        "build_tasks": 1,
    }


def test_the_same_command_runs_nothing_again(done, monkeypatch):
    result, folder = done
    before = result.report.read_text()
    monkeypatch.setattr("midspan.studies.paper.run.run_part", lambda *_: pytest.fail("run again"))
    assert run_paper(smoke(), folder, "midspan study --preset organism").missing == ()
    assert result.report.read_text() == before


def test_two_studies_are_compared_part_by_part(done):
    _, folder = done
    changes = compare_runs(FinishedRun.open(folder), FinishedRun.open(folder))
    assert not change_table(changes).rows
    assert {change.place[2].partition(":")[0] for change in changes} == {
        "prefill", "samples", "attacks", "utility",
    }  # fmt: skip


@pytest.fixture(scope="module")
def two_parts(tmp_path_factory):
    """A file of changes to the preset, the study that it makes, and that study run part by part."""
    fields = {"models": [ORIGINAL], "decoding": SMALL, "n": 4, "batch_size": 1}
    kept = {"order": fields, "samples": fields}
    changes = {
        "probes": dict.fromkeys(organism().probes) | kept,
        **dict.fromkeys(("attacks", "tasks", "recipes")),
        "hypotheses": [],
    }
    folder = tmp_path_factory.mktemp("parts")
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(changes))
    config = configure(organism(), file, {})
    first = run_paper(config, folder / "alone", "midspan", only=["samples"])
    assert first.missing == ("order",) and first.report is None
    assert run_paper(config, folder / "alone", "midspan", only=["order"]).report
    return file, config, folder / "alone"


def same_records(config, one, two):
    assert set(config.parts) == {"order", "samples"}
    for part in config.parts:
        left, right = ((run / part / "records.jsonl").read_text() for run in (one, two))
        assert left == right


def test_a_part_with_problems_is_on_the_page_and_run_again(tmp_path, monkeypatch):
    """A judge that raises on one response costs neither the part nor the study."""
    seen, faulty = [], [True]

    def judging(spec, own=ProbeSpec.data):
        data = own(spec)

        def judge(request, response):
            seen.append(response)
            if faulty[0] and len(seen) == 1:
                raise KeyError("oops")
            return data.judge(request, response)

        return replace(data, judge=judge)

    monkeypatch.setattr(ProbeSpec, "data", judging)
    config = quick(first=probe())
    done = run_paper(config, tmp_path, "midspan")
    (problem,) = done.problems
    assert problem.startswith("first: 1 responses met an error") and "KeyError: 'oops'" in problem
    assert done.missing == () and "KeyError" in done.report.with_suffix(".md").read_text()
    with pytest.raises(KeyError):
        seen.clear()
        run_paper(config, tmp_path, "midspan", fail_fast=True)
    faulty[0] = False
    again = run_paper(config, tmp_path, "midspan")
    assert again.problems == () and "KeyError" not in again.report.with_suffix(".md").read_text()
    seen.clear()
    assert run_paper(config, tmp_path, "midspan").problems == () and seen == []


def test_servers_of_all_parts_are_asked_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr("midspan.studies.paper.run.run_part", lambda *_: pytest.fail("begun"))
    attacks = smoke().attacks["attacks"]
    gone = "harm=http://127.0.0.1:9/v1#gone"
    changed = attacks.model_copy(update={"judges": (*attacks.judges, gone)})
    config = smoke().model_copy(update={"attacks": {"attacks": changed}})
    with pytest.raises(MidspanError, match="gone at http://127.0.0.1:9/v1: no connection"):
        run_paper(config, tmp_path / "run", "midspan")
    assert not (tmp_path / "run").exists()


def test_a_part_needs_the_adapters_that_it_measures(tmp_path):
    with pytest.raises(MidspanError, match="prefill: there is no adapter of MOSA-stable yet"):
        run_paper(smoke(), tmp_path, "midspan", only=["prefill"])


def test_a_part_in_shares_took_what_its_shares_took(tmp_path, monkeypatch):
    """The task that collects the records answers from the journals, in no time."""
    clock = iter((0.0, 30.0, 0.0, 50.0, 0.0, 1.0, 0.0, 2.0))
    attacks = smoke().attacks["attacks"].model_copy(update={"models": (ORIGINAL,)})
    prepared = prepare(PaperConfig(base="organism", attacks={"attacks": attacks}), tmp_path)
    (tmp_path / "attacks").mkdir()
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    nothing = SimpleNamespace(problems=[])
    monkeypatch.setattr("midspan.studies.redteam.run.run_prepared", lambda *_: nothing)
    monkeypatch.setattr("midspan.studies.paper.parts.time.monotonic", lambda: next(clock))
    for index in range(2):
        run_share(prepared, "attacks", How(), Rank(index, 2))
    run_part(prepared, "attacks", How(), shares=2)
    assert seconds_of(prepared.config, tmp_path, "attacks") == 81.0
    run_part(prepared, "attacks", How())
    assert seconds_of(prepared.config, tmp_path, "attacks") == 2.0


@pytest.mark.slow
def test_side_by_side_and_killed_it_leaves_nobody_behind_and_goes_on(
    two_parts, tmp_path, warm_python
):
    """In the end the records are those of parts that ran alone."""
    file, config, alone = two_parts
    command = ["-m", "midspan", "study", "--config", file, "-o", tmp_path / "run"]
    command += ["--jobs", "2"]
    killed = warm_python.start(*command)
    journal = tmp_path / "run" / "order" / "journal.jsonl"
    while killed.poll() is None and not (journal.is_file() and journal.stat().st_size):
        time.sleep(0.05)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL, killed.stderr
    time.sleep(1)
    done = warm_python.run(*command)
    assert done.returncode == 0, done.stderr
    same_records(config, tmp_path / "run", alone)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probes": {"a b": probe()}}, "names a folder"),
        ({"probes": {"adapters": probe()}}, "a folder of the study"),
        ({"recipes": {ORIGINAL: {}}}, "choose another"),
        ({"probes": {"order": probe().model_copy(update={"models": ("Mine",)})}}, "got .Mine."),
    ],
)
def test_a_config_that_means_nothing_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        PaperConfig.model_validate({"base": "organism", **changes})


def test_a_hypothesis_about_nothing_is_refused_before_the_start(tmp_path):
    claims = smoke().hypotheses[0].model_copy(update={"metric": "luck"})
    config = quick(samples=probe()).model_copy(update={"hypotheses": (claims,)})
    with pytest.raises(MidspanError, match="hypotheses.metric: must be one of .*; got 'luck'"):
        run_paper(config, tmp_path / "run", "midspan")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("preset", [organism, organism2, paper])
def test_presets_name_metrics_that_their_parts_give(preset):
    config = preset()
    known = metrics(config)
    assert config.hypotheses and all(claim.metric in known for claim in config.hypotheses)


def test_nothing_names_a_part_or_recipe_that_is_set_to_null():
    some = paper().changed({"attacks": {"harmbench": None, "adaptive": None}})
    left = [claim.metric for claim in some.hypotheses]
    assert list(some.attacks) == ["advbench"] and set(left) <= metrics(some).keys()
    gone = [c.metric for c in paper().hypotheses if c.metric not in left]
    assert {name.partition(".")[0] for name in gone} == {"harmbench", "adaptive"}

    no_mosa = organism2().changed({"recipes": {MOSA_STABLE: None}, "tasks": None})
    assert MOSA_STABLE not in json.dumps([part.models for part in no_mosa.parts.values()])
    assert no_mosa.attacks["attacks"].proxies == (ORIGINAL,) and no_mosa.repeated == ("attacks",)
    assert {claim.metric for claim in no_mosa.hypotheses} <= metrics(no_mosa).keys()
    assert all(MOSA_STABLE not in claim.metric for claim in no_mosa.hypotheses)

    # What is given beside it is not touched.
    with pytest.raises(MidspanError, match="samples.models: must be one of Original, Initial"):
        named = {"samples": {"models": ["MOSA"]}}
        paper().changed({"recipes": {"MOSA": None}, "probes": named})


def test_a_printed_configuration_is_the_preset():
    for preset in (organism, organism2, paper):
        printed = yaml.safe_load(
            CliRunner().invoke(app, ["study", "--preset", preset.__name__, "--print-config"]).output
        )
        given = PaperConfig.model_validate(printed).model_dump(mode="json")
        assert given == preset().model_dump(mode="json")


def row(**fields):
    return {"model": ORIGINAL, "decoding": "one block", "request_kind": "plain", **fields}


def measure(config, name):
    return metrics(config)[name].metric.measure


def test_metrics_are_read_from_records():
    config = organism()
    records = [
        row(id=i, phrase_kind=kind, position=position, success=success)
        for i, (first, *middle) in enumerate(([0, 1, 0], [1, 1, 1], [0, 0, 0]))
        for kind, position, success in (
            ("affirmative", 0, first), ("procedural", 40, middle[0]),
            ("procedural", 80, middle[1]), ("procedural", 0, 1), ("procedural", 20, 1),
        )
    ]  # fmt: skip
    found = measure(config, f"prefill.middle_minus_first[{ORIGINAL}]")(records)["one block"]
    assert found.value == pytest.approx(0.5 / 3) and found.n == 3
    taus = [row(request_kind="benign", tau=tau) for tau in (0.9, 0.7, None)]
    taus.append(row(request_kind="benign", tau=0.1, decoding="blocks of 32"))
    found = measure(config, f"order.tau[{ORIGINAL}]")(taus)
    assert set(found) == {"one block"} and found["one block"].value == pytest.approx(0.8)
    hits = [
        row(id=0, phrase_kind="neutral", word=word, found=places)
        for word, places in ((None, [5]), (1, [1]), (5, [5]), (10, []))
    ]
    found = measure(config, f"instruction-placement.at_word_minus_unasked[{ORIGINAL}]")(hits)[
        "one block"
    ]
    assert found.value == pytest.approx(1 / 3) and found.n == 1


def attacked(judge, wins):
    """Records of attacks: of each model and behavior, what each attack came to."""
    return [
        {
            "model": model,
            "behavior": str(place),
            "attack": str(attack),
            "outcome": {judge: outcome},
            "lost": [],
        }
        for model, behaviors in wins.items()
        for place, outcomes in enumerate(behaviors)
        for attack, outcome in enumerate(outcomes)
    ]


def test_a_behavior_is_broken_by_any_attack_and_unjudged_ones_bound_the_rate():
    config = organism()
    judge = config.attacks["attacks"].judges[0]
    wins = {
        MOSA_STABLE: [["lost", "won"], ["lost", "lost"], ["lost", "unreadable"], ["did not run"]],
        INITIAL_STABLE: [["won"], ["won"], ["won"], ["won"]],
    }
    records = attacked(judge, wins)
    broken = measure(config, f"attacks.any_attack_wins[{MOSA_STABLE}]")(records)["as configured"]
    assert [end.value for end in broken.ends] == [0.25, 0.75]
    assert (broken.n, broken.low, broken.high) == (4, wilson(1, 4).low, wilson(3, 4).high)
    assert "25.0 to 75.0 %" in broken.text and "2 without outcome" in broken.text
    name = f"attacks.any_attack_wins[{MOSA_STABLE} - {INITIAL_STABLE}]"
    change = measure(config, name)(records)["as configured"]
    assert [end.value for end in change.ends] == [-0.75, -0.25]
    assert (change.n, change.p) == (4, 1.0)
    known = metrics(config)[name].metric.description
    assert f"any of {len(config.attacks['attacks'].attacks)} attacks wins" in known


def test_a_behavior_counts_by_the_share_of_attacks_that_win_it():
    config = organism()
    judge = config.attacks["attacks"].judges[0]
    wins = {
        MOSA_STABLE: [["lost", "won"], ["lost", "lost"], ["lost", "unreadable"]],
        INITIAL_STABLE: [["won", "won"], ["won", "lost"], ["won", "lost"]],
    }
    records = attacked(judge, wins)
    share = measure(config, f"attacks.attacks_won[{MOSA_STABLE}]")(records)["as configured"]
    assert [end.value for end in share.ends] == pytest.approx([1 / 6, 2 / 6])
    assert share.text.startswith("16.7 to 33.3 % [") and "1 not known exactly" in share.text
    sides = f"[{MOSA_STABLE} - {INITIAL_STABLE}]"
    change = measure(config, f"attacks.attacks_won{sides}")(records)["as configured"]
    assert [end.value for end in change.ends] == pytest.approx([-0.5, -2 / 6])
    assert change.short == "-50.0 to -33.3 points" and math.isnan(change.p)
    known = measure(config, f"attacks.attacks_won{sides}")(records[:4] + records[6:10])
    assert known["as configured"].value == pytest.approx(-0.5) and change.n == 3


def test_tasks_are_compared_item_by_item():
    config = seeded_study()
    records = [
        {"task": "choice", "id": i, "sample": 0, "model": model, "verdict": {"success": won}}
        for model, outcomes in ((ORIGINAL, (1, 1, 0)), (MOSA_STABLE, (1, 0, 0)))
        for i, won in enumerate(outcomes)
    ]
    found = measure(config, f"utility.share_solved[{MOSA_STABLE} - {ORIGINAL}]")(records)
    assert found["as configured"].value == pytest.approx(-1 / 3)
    assert json.dumps(found["as configured"].text)


def test_a_forecast_counts_what_the_run_then_does(done, tmp_path, monkeypatch):
    _, folder = done
    monkeypatch.setattr("midspan.studies.paper.rates._TRAINED_STEPS", 2)
    rows = {found.part: found for found in forecast(smoke(), tmp_path)}
    for part in ("prefill", "samples", "utility"):
        records = FinishedRun.open(folder / part).rows("records.jsonl")
        assert rows[part].responses == len(records)
    records = FinishedRun.open(folder / "attacks").rows("records.jsonl")
    for unit, said in (("calls", "responses"), ("forwards", "forwards")):
        needed = sum(record["usage"]["target"][unit] for record in records)
        # Both behaviors are in the pilot; the adapter, not trained yet, is taken for the base.
        assert 0.7 * needed <= getattr(rows["attacks"], said) <= 1.3 * needed
    assert all(found.hours > 0 and found.dollars == 0 for found in rows.values())
    assert forecast_table(list(rows.values())).rows[-1][0] == "in all"
    assert forecast(smoke(), folder) == []


def test_money_follows_from_calls_and_an_unknown_price_is_no_price(tmp_path):
    judged = {"judges": ("harm=openai:one", "refusal-keywords")}
    part = smoke().attacks["attacks"].model_copy(update=judged | {"models": (ORIGINAL,)})
    config = PaperConfig(base="organism", attacks={"attacks": part}, prices={"openai:one": (2, 8)})
    (found,) = forecast(config, tmp_path)
    # A direct request puts up one response, this TAP one: two calls for each of two behaviors.
    assert found.calls == 4 and found.dollars == pytest.approx(4 * (2 * 1000 + 8 * 300) / 1e6)
    (unknown,) = forecast(config.model_copy(update={"prices": {}}), tmp_path)
    assert unknown.dollars is None


def test_stabilised_recipes_stand_beside_the_paper_s_models(tmp_path):
    rows = [
        row(model=MOSA_STABLE, phrase_kind="procedural", start=30, success=success)
        for success in (True, False)
    ]
    (tmp_path / "records.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    run = FinishedRun(tmp_path, {})
    ((part, model, _, reported, measured),) = _searches("gcg", run, organism().paper_models)
    assert (part, model, reported, measured.text) == ("gcg", MOSA_STABLE, "below 4", "50.0 %")


def seeded_study(seeds=(1, 2), items=2):
    """MOSA with further training seeds, asked a few questions."""
    recipe = smoke().recipes[MOSA_STABLE].model_copy(update={"num_prompts": 8})
    tasks = TaskConfig(models=(ORIGINAL, MOSA_STABLE), tasks=("choice",), items=items)
    return PaperConfig(
        base="organism",
        recipes={MOSA_STABLE: recipe},
        tasks={"utility": tasks},
        seeds=seeds,
        repeated=("utility",),
        hypotheses=task_hypotheses(MOSA_STABLE, "utility", items),
    )


def test_further_seeds_train_every_recipe_again_and_repeat_what_is_asked_for():
    config = seeded_study()
    again = (f"{MOSA_STABLE}-seed1", f"{MOSA_STABLE}-seed2")
    assert tuple(config.trainings) == (MOSA_STABLE, *again)
    assert [recipe.seed for recipe in config.trainings.values()] == [0, 1, 2]
    assert {name: part.models for name, part in config.parts.items()} == {
        "utility": (ORIGINAL, MOSA_STABLE),
        "utility-seed1": again[:1],
        "utility-seed2": again[1:],
    }
    attacks = organism2().parts["attacks-seed2"]
    assert attacks.models == tuple(f"{label}-seed2" for label in organism2().recipes)
    assert attacks.paper_models[f"{MOSA_STABLE}-seed2"] == "MOSA"
    assert attacks.proxies[0] == ORIGINAL


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"repeated": ["attack"]}, "repeated"),
        ({"seeds": [1, 1]}, "repeat each other"),
        ({"seeds": [0]}, "MOSA-stable's own"),
        ({"repeated": []}, "name parts in 'repeated'"),
        ({"tasks": {"utility": {"models": [ORIGINAL], "tasks": ["choice"]}}}, "nothing that is tr"),
    ],
)
def test_seeds_and_repeated_parts_are_checked(fields, said):
    with pytest.raises((ValueError, MidspanError), match=said):
        PaperConfig.model_validate(seeded_study().model_dump() | fields)


def test_a_claim_on_a_repeated_part_is_of_the_mean_of_all_trainings():
    config = organism2()
    judge = config.attacks["attacks"].judges[0]
    first, second, third = config.replicas_of(MOSA_STABLE)
    wins = {
        ORIGINAL: [["won", "won"], ["won", "lost"]],
        first: [["won", "lost"], ["lost", "lost"]],
        second: [["lost", "lost"], ["won", "won"]],
        third: [["lost", "lost"], ["lost", "lost"]],
    }
    name = f"attacks.attacks_won[{MOSA_STABLE} - {ORIGINAL}]"
    change = measure(config, name)(attacked(judge, wins))["as configured"]
    assert change.value == pytest.approx((0.5 / 3 + 1 / 3) / 2 - 0.75) and change.n == 2
    broken = measure(config, f"attacks.any_attack_wins[{MOSA_STABLE}]")(attacked(judge, wins))
    assert broken["as configured"].value == pytest.approx(1 / 3)
    del wins[third], wins[second]
    alone = measure(config, name)(attacked(judge, wins))["as configured"]
    assert alone.value == pytest.approx(0.25 - 0.75)


def test_the_page_has_each_training_seed_beside_the_mean(tmp_path):
    folder = tmp_path / "run"
    run_paper(seeded_study(seeds=(5,), items=6), folder, "midspan study")
    (row,) = csv.DictReader((folder / "tables" / "seeds.csv").open())
    assert list(row) == ["Claim", "first", "seed 5"]
    points = [float(row[head].split("points")[0].split()[-1]) for head in ("first", "seed 5")]
    (claim,) = csv.DictReader((folder / "tables" / "claims.csv").open())
    assert f"difference {sum(points) / 2:+.1f} points" in claim["measured"]
    text = (folder / "report.md").read_text()
    assert "average 2 trainings" in text and "utility-seed5:" not in text
    assert {row["part"] for row in FinishedRun.open(folder).rows("records.jsonl")} == {
        MOSA_STABLE, f"{MOSA_STABLE}-seed5", "utility", "utility-seed5",
    }  # fmt: skip


def test_wins_of_each_training_stand_beside_each_other():
    config = organism2()
    part = config.attacks["attacks"]
    first, second, third = config.replicas_of(MOSA_STABLE)
    won, lost = ({"outcome": {part.judges[0]: outcome}, "lost": []} for outcome in ("won", "lost"))
    rows = {
        "attacks": [
            {"model": first, "behavior": "a", "attack_label": "tap", **won},
            {"model": first, "behavior": "b", "attack_label": "tap", **lost},
            {"model": first, "behavior": "b", "attack_label": "pair", **won},
        ],
        "attacks-seed1": [{"model": second, "behavior": "a", "attack_label": "tap", **lost}],
        "attacks-seed2": [{"model": third, "behavior": "b", "attack_label": "tap", **won}],
    }
    parts = {name: SimpleNamespace(rows=lambda file, own=own: own) for name, own in rows.items()}
    table = wins_table(config, "attacks", records_of(config, parts, "attacks"))
    shown = {row[0]: row[1 + list(config.recipes).index(MOSA_STABLE)] for row in table.rows}
    assert (shown["tap"], shown["pair"]) == ("1, 0, 1", "1, 0, 0")
    assert shown[f"any of the {len(part.attacks)}"] == "2, 0, 1" and "Of 2;" in table.caption
