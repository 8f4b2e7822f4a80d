"""Several models in one folder: what is refused at once; no interruption changes a record."""

import dataclasses
import json
import random
import re
import shutil
from collections import Counter

import pytest
from fixture_folders import BENCHMARKS
from typer.testing import CliRunner

from midspan.commands import app
from midspan.decoding import decoding_config
from midspan.decoding.config import SAMPLERS
from midspan.errors import MidspanError
from midspan.journal.journal import Journal
from midspan.runs.compare import compare_runs
from midspan.runs.folder import FinishedRun
from midspan.studies.choice.stored import Settings
from midspan.studies.given import Given
from midspan.studies.tasks.config import TaskConfig, build_tasks, parse_data
from midspan.studies.tasks.page import report_of, settings_line, text, trials_of
from midspan.studies.tasks.prepare import prepare
from midspan.studies.tasks.run import estimate, problems_of, run_prepared, run_tasks
from midspan.tasks.compare import compare, rows

DECODING = {"length": 16, "block_length": 8, "steps": 4}


@pytest.fixture
def config(organism_folder, tmp_path):
    """Two models, of which the second is a copy of the first."""
    copy = tmp_path / "copy"
    shutil.copytree(organism_folder, copy)
    return TaskConfig(
        models=(str(organism_folder), str(copy)),
        tasks=("arithmetic", "program"),
        items=5,
        batch_size=2,
        decoding=DECODING,
    )


def lines(folder):
    return (folder / "records.jsonl").read_text()


def test_one_table_and_one_page_for_all_models(config, tmp_path):
    results = run_tasks(config, tmp_path / "run", "midspan task")
    assert [result.title for result in results] == ["arithmetic (organism)", "program (organism)"]
    rows = [json.loads(line) for line in lines(tmp_path / "run").splitlines()]
    assert len(rows) == 2 * 2 * 5
    shown = text(results[0])
    assert settings_line(results[0].settings) in shown
    for part in ("16 tokens in 4 steps", "block 8", "EOS model", "0 shots", "seed 0", "greedy"):
        assert part in shown
    assert "+0.0 [" in shown and "points" in shown  # the same weights answer the same
    first, second = config.models
    page = report_of(FinishedRun.open(tmp_path / "run", {first: "Original", second: "Copy"}))
    assert [section.title for section in page.sections] == [result.title for result in results]
    assert page.sections[0].tables[0].columns[:4] == (
        "Measured", "Original", "Copy", "Copy - Original",
    )  # fmt: skip
    assert (tmp_path / "run" / "report.html").is_file()


SETTINGS = {
    "llada": "32 tokens in 8 steps, block 32, sampler llada, EOS model, greedy, 1 samples, seed 0",
    "Dream": "32 tokens in 8 steps, sampler dream, EOS model, greedy, 1 samples, seed 0",
    "sdar": "32 tokens in 8 steps, block 4, sampler block, EOS model, greedy, 1 samples, "
    "cache prefix, threshold 0.85, seed 0",
}


def test_the_settings_are_those_that_each_sampler_has(real_lm, tmp_path):
    (tmp_path / "own.csv").write_text("instruction\nsalt the water\n")
    config = TaskConfig(
        models=(real_lm.name,),
        tasks=("overrefusal",),
        data={"alpaca": str(tmp_path / "own.csv")},
        decoding={"length": 32, "steps": 8},
    )
    given = Given(models={real_lm.name: real_lm})
    (result,) = run_tasks(config, tmp_path / "run", "midspan task", given)
    assert f"1 items, 0 shots, {SETTINGS[real_lm.name]}. Prompt: " in text(result)
    page = (tmp_path / "run" / "report.md").read_text()
    assert SETTINGS[real_lm.name] in page


def test_every_sampler_says_what_makes_it_faster():
    said = {"items": 1, "shots": 0, "samples": 1, "seed": 0, "prompt": "chat"}
    faster = {
        "llada": ({"cache": "dual", "doubt": 0.2, "revise": 0.98}, "cache dual, threshold None, "
                  "factor None, doubt 0.2, revise 0.98"),
        "dream": ({}, "1 samples, seed 0"),
        "block": ({"cache": "none", "threshold": 0.9}, "cache none, threshold 0.9, seed 0"),
    }  # fmt: skip
    assert faster.keys() == SAMPLERS.keys()
    for sampler, (fields, words) in faster.items():
        decoding = decoding_config(sampler=sampler, **fields).model_dump(mode="json")
        assert words in settings_line({**said, "decoding": decoding})


def test_two_runs_are_compared_item_by_item(config, tmp_path, monkeypatch):
    run_tasks(config, tmp_path / "run", "")
    # No data set is read again.
    monkeypatch.setattr("midspan.studies.tasks.prepare.build_tasks", None)
    runs = [tmp_path / "run", tmp_path / "other"]
    shutil.copytree(*runs)
    rows = [json.loads(line) for line in lines(runs[1]).splitlines()]
    for row in rows[:5]:
        row["verdict"]["success"] = not row["verdict"]["success"]
    (runs[1] / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes = compare_runs(*map(FinishedRun.open, runs))
    assert [change.place[1:] for change in changes] == [
        (f"{task} (organism)", "accuracy") for task in config.tasks for _ in config.models
    ]
    assert [c.pairs.least.more + c.pairs.least.fewer for c in changes] == [5, 0, 0, 0]


def test_a_model_stands_behind_a_defence(config, tmp_path):
    defences = {"gate": ({"rule": "early_reject", "threshold": 1e-30}, "past_end")}
    models = ("organism", "organism with gate", "organism with self_reminder")
    fields = {"models": models, "defences": defences, "tasks": ("choice",)}
    (result,) = run_tasks(config.model_copy(update=fields), tmp_path / "run", "")
    assert tuple(result.records) == models and not result.settings["decoding"].get("rules")
    open_, gated, reminded = result.records.values()
    assert {row["rejected_by"] for row in gated} == {"early_reject"}
    assert not any(row["verdict"]["success"] for row in gated)
    assert not any("rejected_by" in row for row in (*open_, *reminded))
    assert [row["response"] for row in open_] != [row["response"] for row in reminded]
    with pytest.raises(MidspanError, match="rules: no such|must be one of"):
        prepare(config.model_copy(update={"models": ("organism with gates",)})).check_models()


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def as_rank(monkeypatch, index, count=2):
    """This process among several that no launcher has started."""
    monkeypatch.setenv("RANK", str(index))
    monkeypatch.setenv("WORLD_SIZE", str(count))
    monkeypatch.setattr("midspan.studies.tasks.run.join_others", lambda: None)
    monkeypatch.setattr("midspan.runs.folder.wait_for_all", lambda: None)


def test_two_processes_leave_the_records_of_one(config, tmp_path, monkeypatch):
    run_tasks(config, tmp_path / "one", "")
    as_rank(monkeypatch, 1)
    assert run_tasks(config, tmp_path / "two", "") == []
    with Journal(tmp_path / "two" / "journal.1.jsonl") as journal:
        assert len(journal)
    as_rank(monkeypatch, 0)
    results = run_tasks(config, tmp_path / "two", "")
    assert lines(tmp_path / "two") == lines(tmp_path / "one")
    assert all(seconds is None for one in results for seconds in one.seconds)
    assert [path.name for path in (tmp_path / "two").glob("journal*")] == ["journal.jsonl"]


@pytest.mark.parametrize("index", [0, 1])
def test_no_process_writes_into_a_folder_of_another_configuration(
    config, tmp_path, monkeypatch, index
):
    run_tasks(config, tmp_path / "run", "")
    before = files(tmp_path / "run")
    as_rank(monkeypatch, index)
    with pytest.raises(MidspanError, match="config.seed: 0 there, 1 now"):
        run_tasks(config.model_copy(update={"seed": 1}), tmp_path / "run", "")
    assert files(tmp_path / "run") == before


def test_a_journal_cut_anywhere_is_continued_to_the_same_file(config, tmp_path):
    run_tasks(config, tmp_path / "run", "")
    whole, journal = lines(tmp_path / "run"), tmp_path / "run" / "journal.jsonl"
    full, rng = journal.read_bytes(), random.Random(0)
    for _ in range(3):
        journal.write_bytes(full[: rng.randrange(len(full))])
        (tmp_path / "run" / "records.jsonl").unlink()
        run_tasks(config, tmp_path / "run", "")
        assert lines(tmp_path / "run") == whole


def test_another_configuration_does_not_continue_a_run(config, tmp_path):
    run_tasks(config, tmp_path / "run", "")
    with pytest.raises(MidspanError, match="config.seed: 0 there, 1 now"):
        run_tasks(config.model_copy(update={"seed": 1}), tmp_path / "run", "")


def test_the_command_line_names_the_column_of_requests(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("midspan.commands.task._run", lambda config, *_: seen.append(config))
    (tmp_path / "own.csv").write_text("wish\nfold a crane\n")
    files = ["--task", "overrefusal", "--data", f"alpaca={tmp_path / 'own.csv'}"]
    (tmp_path / "m").mkdir()
    model = str(tmp_path / "m")
    invoke = CliRunner().invoke(app, ["task", model, *files, "--column", "wish"])
    assert invoke.exit_code == 0, invoke.output
    (task,) = build_tasks(seen[0])
    assert [item.fields["prompt"] for item in task.items] == ["fold a crane"]
    plain = seen[0].model_copy(update={"column": None}).model_dump(mode="json")
    assert "column" not in plain and seen[0].model_dump(mode="json")["column"] == ["wish"]


def test_the_command_line_takes_chosen_settings_and_the_report_says_their_agreement(
    config, tmp_path
):
    reference = {"length": 128, "block_length": None, "steps": 128}
    chosen = {
        "reference": reference, "judged_by": "exact judge", "found": True,
        "agreement": "99.0 % [97.0, 99.7] n=200", "times_fewer_forwards": 7.5,
    }  # fmt: skip
    file = tmp_path / "decoding.yaml"
    arguments = ["task", *config.models, "--task", "arithmetic", "-n", "3"]
    arguments += ["--decoding", str(file), "-o", str(tmp_path / "run")]
    Settings({"threshold": 0.9}, chosen).write(file)
    own = tmp_path / "own.yaml"
    own.write_text(json.dumps(DECODING))
    invoke = CliRunner().invoke(app, [*arguments, "--config", str(own)])
    assert invoke.exit_code == 0, invoke.output
    run = FinishedRun.open(tmp_path / "run")
    assert run.info["config"]["decoding"] == DECODING | {"threshold": 0.9}
    told = report_of(run).settings["decoding, chosen"]
    assert "99.0 % [97.0, 99.7] n=200" in told and told.endswith("(length 128, steps 128)")
    Settings({"steps": 32}, chosen).write(file)
    refused = CliRunner().invoke(app, arguments).exception
    assert str(refused).startswith("--decoding: changes steps")
    assert "decoding_choice" not in config.model_dump(mode="json")


def test_hours_are_estimated_without_a_run(config):
    rows = estimate(prepare(config))
    assert [(row[0], row[1]) for row in rows] == [
        (model, f"{task} (organism)") for model in config.models for task in config.tasks
    ]
    assert all(0 < hours < 1 for *_, hours in rows)


def test_items_are_drawn_by_the_seed():
    def ids(seed, items):
        config = TaskConfig(
            models=("m",), tasks=("gsm8k",), items=items, seed=seed,
            data={"gsm8k": str(BENCHMARKS / "gsm8k" / "test.jsonl")},
        )  # fmt: skip
        (task,) = build_tasks(config)
        return [item.id for item in task.items], task.source

    chosen, source = ids(0, 20)
    assert len(chosen) == 20 and chosen == sorted(chosen, key=int)
    assert source.endswith("as published; 20 of them by seed")
    assert ids(0, 20)[0] == chosen != ids(1, 20)[0]
    assert len(ids(0, 5000)[0]) == 1319


@pytest.mark.parametrize(
    ("rows", "count", "shares"),
    [
        ((40, 2000), 20, (10, 10)),
        ((40, 2000), 500, (40, 460)),
        ((40, 2000), 3, (1, 2)),
        ((2000, 40), 500, (460, 40)),
    ],
)
def test_items_of_several_files_are_drawn_in_equal_parts(tmp_path, rows, count, shares):
    files = {"xstest": tmp_path / "x.jsonl", "alpaca": tmp_path / "a.jsonl"}
    row = {"prompt": "a", "type": "t", "label": "safe", "instruction": "b"}
    for file, number in zip(files.values(), rows, strict=True):
        file.write_text((json.dumps(row) + "\n") * number)
    data = {name: str(file) for name, file in files.items()}
    (task,) = build_tasks(TaskConfig(models=("m",), tasks=("overrefusal",), items=count, data=data))
    names = [item.id.partition("/")[0] for item in task.items]
    assert tuple(names.count(name) for name in files) == shares
    assert len({item.id for item in task.items}) == count
    assert task.source.endswith(f"; {shares[0]} of xstest and {shares[1]} of alpaca by seed")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"tasks": ("gsm8k", "sums")}, "tasks: must be one of gsm8k, mmlu, .*; got 'sums'"),
        ({"tasks": ("gsm8k", "gsm8k")}, "name every model and task once"),
        ({"models": ()}, "at least 1 item"),
        ({"data": {"gsm": "x"}}, "data: must be one of gsm8k, .*; got 'gsm'"),
        ({"tasks": ("humaneval",)}, "allow it with --allow-code after reading docs/sandbox.md"),
        ({"items": 0}, "items: must be at least 1"),
        ({"column": "wish"}, "column: names a column of the files of data; give some"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, reason):
    with pytest.raises(ValueError, match=reason):
        TaskConfig(**{"models": ("a",), "tasks": ("gsm8k",)} | fields)


def test_bad_models_are_refused_before_weights_are_read(config, organism_folder, tmp_path):
    def changed(**fields):
        return config.model_copy(update=fields)

    with pytest.raises(MidspanError, match="no folder none"):
        prepare(changed(models=("none",))).check_models()
    foreign = tmp_path / "adapter"
    shutil.copytree(_shipped_adapter(), foreign)
    # The shipped adapter fits the shipped weights alone: these are smaller.
    adapted = f"{organism_folder}+{foreign}"
    with pytest.raises(MidspanError, match="adapter"):
        prepare(changed(models=(str(organism_folder), adapted))).check_models()
    with pytest.raises(MidspanError, match="decoding: block_length=7 must divide length=16"):
        prepare(changed(decoding={**DECODING, "block_length": 7})).check_models()


def test_data_options():
    assert parse_data(["gsm8k=a=b", "mmlu=c"]) == {"gsm8k": "a=b", "mmlu": "c"}
    assert parse_data(["mentioned"]) == {"mentioned": ""}
    for bad in ("", "=x", "gsm8k="):
        with pytest.raises(MidspanError, match="--data: write NAME=FILE or NAME, not"):
            parse_data([bad])


def _shipped_adapter():
    from midspan.organism.weights import ADAPTERS

    return ADAPTERS / "mosa-stable"


def test_an_item_that_cannot_be_scored_did_not_run_and_is_tried_again(config, tmp_path):
    """A response that its task cannot bear costs its own item alone, on that model alone."""
    prepared = prepare(config)
    counts = Counter()

    def scoring(task):
        def score(item, response):
            counts[task.name] += 1
            if counts[task.name] == 3:  # the third item of the first model
                raise OverflowError("a number of\n5000 digits")
            return task.score(item, response)

        return dataclasses.replace(task, score=score)

    prepared = dataclasses.replace(prepared, tasks=tuple(map(scoring, prepared.tasks)))
    results = run_prepared(prepared, tmp_path / "run", "")
    first, second = config.models
    for result in results:
        errors = {model: dict(found) for model, found in result.errors.items()}
        assert errors == {first: {"OverflowError: a number of 5000 digits": 1}, second: {}}
        shown = text(result)
        assert re.search(r"did not run +1 +0", shown)
        assert re.search(r"because of OverflowError: a number of 5000 digits +1 +0", shown)
        (one,), (two,) = (rows(result.measures, result.records[name]) for name in config.models)
        assert (one.figure.n, one.figure.unknown, two.figure.n) == (5, 1, 5)
        assert compare(one, two).pairs.unknown == 1
    record = results[0].records[first][2]
    assert "in score" in record["verdict"]["traceback"] and "success" not in record["verdict"]
    outcomes = [trial.success for trial in trials_of(FinishedRun.open(tmp_path / "run"))]
    assert (len(outcomes), outcomes.count(None)) == (20, 2)
    (line,) = problems_of(results)
    assert line.startswith("2 responses met an error in the code of an attack, task or judge (Over")
    assert "did not run" in (tmp_path / "run" / "report.md").read_text()
    again = run_prepared(prepared, tmp_path / "run", "")
    assert problems_of(again) == [] and "did not run" not in text(again[0])
    counts.clear()
    with pytest.raises(OverflowError):
        run_prepared(prepared, tmp_path / "run", "", fail_fast=True)
