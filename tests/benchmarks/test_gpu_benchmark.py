"""The GPU's quarter of an hour, hand-sized on a CPU; what it prints is no measurement here."""

import importlib
import json
import time
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


@pytest.mark.slow
def test_every_stage_runs_hand_sized(benchmark, tmp_path, capsys):
    output = tmp_path / "gpu.json"
    benchmark("gpu").main(["--tiny", "--minutes", "10", "-o", str(output)])
    written = json.loads(output.read_text())
    rows = {row["stage"]: row for row in written["rows"]}
    assert not [row for row in rows.values() if row["result"].startswith(("failed", "out of"))]
    logits = rows["published logits, float32"]["values"]
    assert {"llada", "mmada", "dream", "sdar", "llada2_moe", "lladamoe"} <= logits.keys()
    assert all(value["error"] < 1e-4 for value in logits.values())
    same = rows["published samplers, float32"]["values"]["same"]
    assert [len(same["llada"]), len(same["dream"])] == [2, 2]
    assert all(same["llada"]) and all(same["dream"])
    alone = rows["batch against alone, float32"]["values"]
    assert alone["same_rows"] == alone["rows"] == 8
    merged = rows["adapter against merged, float32"]["values"]
    assert merged["difference"] < 1e-4 < merged["moved"]
    assert rows["training resumed"]["values"]["difference"] == 0
    steps = [row["values"]["seconds_a_step"] for row in rows.values() if "a pass" in row["stage"]
             and "values" in row]  # fmt: skip
    assert len(steps) == 4 and min(steps) > 0
    decoding = [row["values"] for name, row in rows.items()
                if name.startswith("decoding") and "values" in row]  # fmt: skip
    assert all(row["tokens_per_second"] > 0 for row in decoding)
    operations = {
        (row["batch"], row["mode"]): row["share_of_peak"] * row["seconds"] for row in decoding
    }
    assert len(decoding) == 23 and len({mode for _, mode in operations}) == 7
    # Fixed shapes feed what ragged ones do, but for a block's full positions, and padded prompts.
    for _, mode in operations:
        assert 1 <= operations[2, mode] / operations[2, mode.partition(";")[0]] < 4
    counted = [row["values"] for name, row in rows.items() if name.startswith("kernels")]
    assert len(counted) == 4 and all(row["operations"] > 50 for row in counted)
    if not torch.cuda.is_available():
        skipped = [name for name, row in rows.items() if row["result"] == "skipped: no CUDA"]
        kinds = ["CUDA"] * 2 + ["decoding,"] * 2 + ["CUDA"] * 3 + ["compiled:"] * 2
        assert [name.split()[0] for name in skipped] == kinds
    table = output.with_suffix(".md").read_text()
    assert table in capsys.readouterr().out
    assert all(f"| {name} |" in table for name in rows)
    assert written["command"] in table and written["date"] in table


def session(benchmark, tmp_path, minutes=10.0):
    stages = benchmark("gpu_stages")
    return stages, stages.Session(minutes, tmp_path / "rows.json", time.monotonic())


def results(tmp_path):
    return [row["result"] for row in json.loads((tmp_path / "rows.json").read_text())["rows"]]


def test_a_stage_begins_only_where_its_estimate_fits(benchmark, tmp_path):
    stages, running = session(benchmark, tmp_path)
    ran = []

    def stage(name, group, guess):
        def run():
            ran.append(name)
            time.sleep(0.2)
            return stages.Outcome(name)

        return stages.Stage(name, group, lambda: guess, run)

    # The first of its group takes a hundred times its guess; so would the second.
    listed = [stage("a", "slow", 0.002), stage("b", "slow", 6.0), stage("c", "fast", 6.0)]
    running.run([*listed, stage("d", "fast", 590.0)])
    running.close()
    assert ran == ["a", "c"]
    first, second, third, fourth = results(tmp_path)
    assert (first, third) == ("a", "c")
    assert second.startswith("skipped: about ") and int(second.split()[2]) >= 600
    assert fourth.startswith("skipped: about 590 s")


def test_a_stage_that_fails_costs_the_others_nothing(benchmark, tmp_path):
    stages, running = session(benchmark, tmp_path)

    def fail(error):
        raise error

    errors = [ValueError("first\nsecond"), torch.OutOfMemoryError(), stages.Skip("no such card")]
    listed = [
        stages.Stage(f"{number}", "x", lambda: 1.0, lambda e=error: fail(e))
        for number, error in enumerate(errors)
    ]
    running.run([*listed, stages.Stage("last", "x", lambda: 1.0, lambda: stages.Outcome("done"))])
    running.close()
    wanted = ["failed: first", "out of memory", "skipped: no such card", "done"]
    assert results(tmp_path) == wanted


WALL = """
import time, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from gpu_stages import Outcome, Session, Stage
session = Session(1 / 60, Path(sys.argv[1]), time.monotonic())
quick = Stage("quick", "a", lambda: 0.0, lambda: Outcome("done"))
endless = Stage("endless", "b", lambda: 0.0, lambda: time.sleep(60))
session.run([quick, endless])
"""


def test_the_wall_ends_a_stage_that_does_not_end(tmp_path, warm_python):
    done = warm_python.run("-c", WALL, tmp_path / "rows.json", FOLDER)
    assert done.returncode == 124, done.stderr
    assert results(tmp_path) == ["done"]
    assert "minutes are over" in done.stdout
