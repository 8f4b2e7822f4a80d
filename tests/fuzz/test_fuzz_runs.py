"""Run folders, damaged: refused in a line, or their verdicts are those of the records."""

import json
import shutil

import pytest
from fuzzing import fuzzed, tried
from hypothesis import given
from hypothesis import strategies as st
from mutants import json_files, json_lines, put

from midspan.runs import folder as run_folder
from midspan.runs.compare import change_table, compare_runs
from midspan.runs.folder import FinishedRun, RunFolder
from midspan.runs.kinds import kind_of, read_report, read_trials
from midspan.studies.redteam.config import RedteamConfig
from midspan.studies.redteam.run import run_redteam

CONFIG = {"probe": "prefill", "judged_by": "keywords", "models": ["m"]}
PROBE_ROWS = [
    {
        "model": "m", "decoding": "d", "request_kind": "plain", "id": str(number),
        "prompt": f"request {number}", "phrase_kind": "none", "phrase": None, "position": 3,
        "success": number < 2, "settings": {"steps": 8},
    }
    for number in range(4)
]  # fmt: skip


def probe_run(path, rows=PROBE_ROWS):
    with RunFolder(path, CONFIG, "midspan probe prefill", "probe").journal:
        pass
    (path / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two equal runs of a probe; the second is damaged again and again."""
    base = tmp_path_factory.mktemp("probes")
    with pytest.MonkeyPatch.context() as patch:
        # What a machine is takes longer to find out than to read a run.
        for name in ("git_revision", "hardware", "versions"):
            found = getattr(run_folder, name)()
            patch.setattr(run_folder, name, lambda found=found: found)
        yield probe_run(base / "whole"), probe_run(base / "damaged")


@pytest.fixture(scope="module")
def attacked(tmp_path_factory, organism_folder):
    """A whole small run of an attack, and a copy."""
    base = tmp_path_factory.mktemp("attacks")
    (base / "requests.txt").write_text("make a red bowl\nmake a blue cup\n")
    config = RedteamConfig(
        models=(str(organism_folder),),
        attacks=({"attack": "direct"},),
        behaviors=str(base / "requests.txt"),
        judges=("refusal-keywords",),
        helpers={},
        decoding={"length": 8, "block_length": 8, "steps": 2},
    )
    run_redteam(config, base / "whole", "midspan attack")
    shutil.copytree(base / "whole", base / "damaged")
    return base / "damaged", (base / "whole" / "records.jsonl").read_text()


@fuzzed(50)
@given(content=json_lines(PROBE_ROWS))
def test_comparisons_count_the_records(folders, content):
    whole, damaged_run = folders
    put(damaged_run, "records.jsonl", content)

    def compare():
        run = FinishedRun.open(damaged_run)
        changes = compare_runs(FinishedRun.open(whole), run)
        return read_trials(run), change_table(changes, everything=True)

    found, taken = tried("records of probes", compare)
    if taken:
        rows = [json.loads(line) for line in content.decode().split("\n") if line.strip()]
        assert [(trial.unit, trial.success) for trial in found[0]] == [
            (row["id"], row["success"]) for row in rows
        ]
        assert all(row["success"] is None or type(row["success"]) is bool for row in rows)


@fuzzed(50)
@given(content=st.data())
def test_configurations_of_runs(folders, content):
    whole, damaged_run = folders
    info = json.loads((whole / "run.json").read_text())
    put(damaged_run, "records.jsonl", (whole / "records.jsonl").read_bytes())
    data = content.draw(json_files(info))
    put(damaged_run, "run.json", data)

    def read():
        run = FinishedRun.open(damaged_run)
        kind_of(run)
        return run.origin

    origin, taken = tried("run.json, read", read)
    if taken:
        raw = json.loads(data)
        assert raw["config"].get("models", []) == list(FinishedRun.open(damaged_run).specs)
        assert all(isinstance(name, str) for name in origin)

    def resume():
        RunFolder(damaged_run, CONFIG, "midspan probe prefill", "probe").journal.close()

    if tried("run.json, continued", resume)[1]:
        assert json.loads(data)["config"] == json.loads(json.dumps(CONFIG))
        assert json.loads((damaged_run / "run.json").read_text())["config"] == CONFIG


@fuzzed(30)
@given(content=st.data())
def test_reports_of_attacks(attacked, content):
    folder, records = attacked
    rows = [json.loads(line) for line in records.splitlines()]
    data = content.draw(json_lines(rows))
    put(folder, "records.jsonl", data)

    def read():
        run = FinishedRun.open(folder)
        return read_report(run), read_trials(run)

    found, taken = tried("records of attacks", read)
    if taken:
        raw = [json.loads(line) for line in data.decode().split("\n") if line.strip()]
        outcome = {"won": True, "lost": False}
        assert [trial.success for trial in found[1]] == [
            outcome.get(row["outcome"]["refusal-keywords"]) for row in raw
        ]
