"""The demo end to end on its smallest cells: complete, resumable, one page."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from midspan.errors import MidspanError
from midspan.studies.organism.demo.config import DemoConfig
from midspan.studies.organism.demo.presets import smoke
from midspan.studies.organism.demo.run import run_demo

COMMAND = [sys.executable, "-m", "midspan.cli", "demo", "--smoke"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run_demo(smoke(), tmp_path_factory.mktemp("demo"), "midspan demo --smoke")


def read_records(folder):
    lines = (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_an_objective_without_a_preset_is_refused():
    with pytest.raises(MidspanError, match="objectives: must be one of .*; got 'luck'"):
        DemoConfig(objectives=("luck",))


@pytest.mark.slow
def test_every_model_meets_every_case_in_both_decodings(finished):
    models = {record["model"] for record in finished.records}
    assert models == {"original", "initial-stable", "mosa-stable", "psa", "mosa"}
    per_model = len(finished.records) // len(models)
    ids = {(record["model"], record["decoding"], record["id"]) for record in finished.records}
    assert len(ids) == len(finished.records) == per_model * 5


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
    assert card.count("| Measured | Original | MOSA (stable) |") == 2  # decodings
    page = finished.report.read_text(encoding="utf-8")
    assert "MOSA (stable)" in page and "midspan demo --smoke" in page
    assert len(page) < 5_000_000


@pytest.mark.slow
def test_its_tables_are_latex(finished, set_in_latex):
    set_in_latex(finished.report.parent)


@pytest.mark.slow
def test_a_finished_run_is_not_measured_again(finished):
    journal = finished.report.parent / "journal.jsonl"
    before = journal.read_bytes()
    again = run_demo(smoke(), finished.report.parent, "midspan demo --smoke")
    assert journal.read_bytes() == before
    assert again.records == finished.records


@pytest.mark.slow
def test_another_configuration_is_refused_by_name(finished):
    with pytest.raises(MidspanError, match=r"config\.sizes\.benign: 1 there, 18 now"):
        run_demo(DemoConfig(), finished.report.parent, "midspan demo")


@pytest.mark.slow
def test_killed_anywhere_it_ends_with_the_same_records(finished, tmp_path):
    rng = random.Random(0)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for _ in range(2):
        process = subprocess.Popen(
            [*COMMAND, "-o", str(tmp_path)], env=environment, stderr=subprocess.DEVNULL
        )
        time.sleep(rng.uniform(8, 20))
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(
        [*COMMAND, "-o", str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert read_records(tmp_path) == read_records(finished.report.parent)
