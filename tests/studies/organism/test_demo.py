"""The demo end to end on its smallest cells: complete, resumable, one page."""

import json
import random
import signal
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from midspan.commands import app
from midspan.errors import MidspanError
from midspan.studies.organism.demo import run
from midspan.studies.organism.demo.config import BASE, DemoConfig
from midspan.studies.organism.demo.models import trained
from midspan.studies.organism.demo.presets import full, smoke, standard
from midspan.studies.organism.demo.run import DemoResult, run_demo, side_by_side
from midspan.studies.training import preset_recipe

# Two steps of a training, few steps of decoding: all that is written is written here, too.
SMALL = {
    "shipped": [], "objectives": ["mosa-stable"], "num_prompts": 16, "positions_a_step": 32,
    "sizes": dict(smoke().sizes), "hypotheses": [],
}  # fmt: skip
CONFIG = DemoConfig(**SMALL)
HERE = trained("mosa-stable")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run_demo(CONFIG, tmp_path_factory.mktemp("demo"), "midspan demo --smoke")


def read_records(folder):
    lines = (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_an_objective_without_a_preset_is_refused():
    with pytest.raises(MidspanError, match="objectives: must be one of .*; got 'luck'"):
        DemoConfig(objectives=("luck",))


@pytest.mark.slow
def test_every_model_meets_every_case(finished):
    models = {record["model"] for record in finished.records}
    assert models == {BASE, HERE}
    per_model = len(finished.records) // len(models)
    ids = {(record["model"], record["decoding"], record["id"]) for record in finished.records}
    assert len(ids) == len(finished.records) == per_model * 2
    assert {record["decoding"] for record in finished.records} == {"one block"}


@pytest.mark.slow
def test_the_run_folder_holds_everything(finished):
    folder = finished.report.parent
    info = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert info["command"] == "midspan demo --smoke"
    assert info["versions"]["torch"] and info["hardware"]["cores"]
    assert len(read_records(folder)) == len(finished.records)
    assert (folder / "adapters" / "mosa-stable" / "metrics.jsonl").is_file()
    assert list((folder / "tables").glob("*.csv")) and list((folder / "figures").glob("*.svg"))
    card = (folder / "adapters" / "mosa-stable" / "README.md").read_text(encoding="utf-8")
    assert card.count("| Measured | Original | MOSA (stable), trained here |") == 1  # decoding
    assert not list(folder.glob("journal.*.jsonl"))
    page = finished.report.read_text(encoding="utf-8")
    assert "MOSA (stable), trained here" in page and "midspan demo --smoke" in page
    assert len(page) < 5_000_000


@pytest.mark.slow
def test_its_tables_are_latex(finished, set_in_latex):
    set_in_latex(finished.report.parent)


@pytest.mark.slow
def test_a_finished_run_is_not_measured_again(finished):
    journal = finished.report.parent / "journal.jsonl"
    before = journal.read_bytes()
    again = run_demo(CONFIG, finished.report.parent, "midspan demo --smoke")
    assert journal.read_bytes() == before
    assert again.records == finished.records


@pytest.mark.slow
def test_another_configuration_is_refused_by_name(finished):
    with pytest.raises(MidspanError, match=r"config\.num_prompts: 16 there, 8 now"):
        changed = CONFIG.model_copy(update={"num_prompts": 8})
        run_demo(changed, finished.report.parent, "midspan demo")


def test_the_command_takes_the_sizes_that_its_options_name(tmp_path, monkeypatch):
    given = []
    result = DemoResult([], tmp_path / "report.html", 1.0)
    monkeypatch.setattr(
        "midspan.studies.organism.demo.run.run_demo", lambda *call: given.append(call) or result
    )
    for options in ([], ["--full"], ["--smoke", "--seed", "5"]):
        ended = CliRunner().invoke(app, ["demo", *options, "-o", str(tmp_path)])
        assert ended.exit_code == 0 and "report.html" in ended.output
    configs = [standard(), full(), smoke().model_copy(update={"seed": 5})]
    assert [call[:2] for call in given] == [(config, tmp_path) for config in configs]


def test_the_recipe_is_that_of_the_command():
    config = DemoConfig(training_seed=4)
    recipe, preset = config.recipe("mosa-stable"), preset_recipe("mosa-stable", "organism2", "")
    assert recipe == preset.model_copy(update={"seed": 4})
    short = DemoConfig(num_prompts=24).recipe("mosa-stable")
    assert short.num_prompts == 24 < preset.num_prompts


@pytest.mark.parametrize(
    ("cores", "threads", "jobs"), [(2, "", 2), (16, "", 5), (4, "2", 2), (2, "4", 1), (1, "", 1)]
)
def test_a_model_has_a_core_unless_the_user_gives_more_threads(monkeypatch, cores, threads, jobs):
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert side_by_side(standard()) == jobs
    assert side_by_side(smoke()) == 1  # a process takes longer to start


@pytest.mark.slow
def test_models_side_by_side_leave_the_same_records(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "FEW", 0)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert side_by_side(CONFIG) == 2
    assert run_demo(CONFIG, tmp_path, "midspan demo --smoke").records == finished.records
    assert not list(tmp_path.glob("journal.*.jsonl"))


def lines(folder):
    return sum(file.read_bytes().count(b"\n") for file in folder.glob("journal*.jsonl"))


@pytest.mark.slow
def test_killed_anywhere_it_ends_with_the_same_records(finished, tmp_path, warm_python):
    """Amid a training, at its checkpoint, and while models are measured."""
    rng, folder = random.Random(0), tmp_path / "run"
    (tmp_path / "small.json").write_text(json.dumps(SMALL))
    whole = read_records(finished.report.parent)
    training, answers = folder / "adapters" / "mosa-stable", rng.randrange(len(whole) // 2)
    places = (
        lambda: (
            (training / "checkpoint-1" / "trainer_state.json").exists()
            or (training / "metrics.jsonl").exists()
        ),
        lambda: lines(folder) > answers,
    )
    command = ("-m", "midspan.cli", "study", "--preset", "demo-smoke")
    command += ("--config", tmp_path / "small.json", "-o", folder)
    for is_there in places:
        process = warm_python.start(*command)
        while process.poll() is None and not is_there():
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        assert process.wait() == -signal.SIGKILL, process.stderr
        assert not (folder / "records.jsonl").exists()
    done = warm_python.run(*command)
    assert done.returncode == 0, done.stderr
    assert read_records(folder) == whole
    # Few words of so short a run show what a resumption lost.
    weights = Path("adapters", "mosa-stable", "adapter_model.safetensors")
    assert (folder / weights).read_bytes() == (finished.report.parent / weights).read_bytes()
