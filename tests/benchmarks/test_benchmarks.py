"""The benchmarks run, hand-sized; what they print is no measurement here."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from fixture_folders import BENCHMARKS

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    threads = torch.get_num_threads()

    def load(name):
        for other in ("decoding", "alignment"):
            sys.modules.pop(other, None)
        return importlib.import_module(name)

    yield load
    torch.set_num_threads(threads)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux")
def test_the_exact_mode_gives_the_tokens_of_the_published_loop(benchmark, tmp_path):
    benchmark("decoding").main(["small", "cost", "--quick", "-o", str(tmp_path)])
    rows = json.loads((tmp_path / "small.json").read_text())["rows"]
    exact = [row for row in rows if row["mode"] == "exact"]
    assert [row["same_tokens"] for row in exact] == [1.0, 1.0]
    assert (tmp_path / "decoding_cost.svg").stat().st_size > 1000


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux")
def test_the_nucleus_benchmark_finds_the_tokens_of_the_whole_sort(benchmark, capsys):
    benchmark("nucleus").main(["--rows", "4", "--vocabulary", "2000", "--repeat", "1"])
    assert capsys.readouterr().out.count("100.0%") == 3


def test_rows_of_a_float32_batch_are_those_alone(benchmark):
    assert benchmark("batches").compare("float32", 4, 8, 4) == (1.0, 1.0)


def test_an_adapter_in_the_format_of_its_base_costs_no_casts(benchmark):
    module = benchmark("adapter_cost")
    sizes = module.trunk(1, 64, 128, 8)
    counts = {mode: module.count(mode, sizes, 1, 8, 4) for mode in module.MODES}
    casts = [counts[mode].casts for mode in module.MODES]
    assert casts[0] == casts[2] == casts[3] < casts[1]
    moved = [counts[mode].bytes for mode in module.MODES]
    assert moved[3] == moved[0] < moved[2] < moved[1]
    effect, errors = module.errors_of(module.trunk(1, 64, 128, 64), 4, 0.02)
    assert errors["adapter in bf16"][0] < 1.5 * errors["adapter in float32"][0] < effect


def test_the_kl_in_half_precision_is_compared_with_float64(benchmark, capsys):
    benchmark("kl_precision").main(["--words", "256", "--width", "32", "--rows", "4"])
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines()[2:]]
    gradients = {(row[1].strip(), row[2].strip()): float(row[4].strip(" %")) for row in rows}
    for way in ("forward", "reverse"):
        assert gradients["ours", way] < 1 < gradients["plain", way]


def test_the_engine_benchmark_loses_nothing_and_replays_the_same(benchmark, tmp_path):
    output = tmp_path / "engine.json"
    benchmark("engine").main(["study", "endpoint", "--quick", "-o", str(output)])
    measured = json.loads(output.read_text())
    assert measured["study"]["requests"] > 1000
    endpoint = measured["endpoint"]
    assert [endpoint[name] for name in ("lost", "duplicated", "mis_scored")] == [0, 0, 0]
    assert endpoint["received_by_server"] > endpoint["requests"]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux")
def test_our_alignment_step_has_the_loss_and_gradient_of_the_naive_one(benchmark):
    module = benchmark("alignment")
    for rows in ("window", "response"):
        row = module.compare(module.QUICK, rows, repeat=1)
        assert row["loss"][0] == pytest.approx(row["loss"][1], rel=1e-5)
        assert row["gradient_difference"] < 1e-3


def test_the_planning_table_has_a_row_for_every_model(benchmark, capsys):
    module = benchmark("alignment_plan")
    module.table()
    shown = capsys.readouterr().out
    assert all(shown.count(f"| {model.name} |") == 8 for model in module.MODELS)


def test_the_overhead_of_tasks_is_measured(benchmark, tmp_path, monkeypatch):
    from midspan import decoding

    data = BENCHMARKS / "gsm8k" / "test.jsonl"
    few = tmp_path / "few.jsonl"
    few.write_text("\n".join(data.read_text().splitlines()[:5]))
    monkeypatch.setattr(decoding, "decode", decoding.decode)  # put back what the script replaces
    output = tmp_path / "tasks.json"
    benchmark("tasks").main(["overhead", "--gsm8k", str(few), "-o", str(output)])
    found = json.loads(output.read_text())["overhead"]
    assert found["items"] == 5 and len(found["engine"]) == 2


def test_starts_are_measured_beside_python_alone(benchmark, capsys, monkeypatch):
    startup = benchmark("startup")
    monkeypatch.setattr(startup, "REPEATS", 1)
    name = "midspan audti (a typo)"
    monkeypatch.setattr(startup, "LINES", {name: startup.LINES[name]})
    startup.main()
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    base, _, torch_alone, typo = rows
    assert base[3] == "1" and float(base[1]) < float(typo[1]) < float(torch_alone[1])
    assert "rich" in typo[4] and "torch" not in typo[4]


def test_a_remembered_digest_costs_next_to_nothing(benchmark, tmp_path, monkeypatch, capsys):
    from midspan.models import digest

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # both are put back
    monkeypatch.setattr(digest, "_SETTLED_NS", digest._SETTLED_NS)
    benchmark("weights_digest").main(["--gib", "0.07"])
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:]]
    cpu_seconds = [float(row[3]) for row in rows]
    assert len(rows) == 3 and cpu_seconds[1] < cpu_seconds[0] / 5


def test_ends_of_a_masked_canvas_are_probabilities(benchmark, capsys):
    benchmark("canvas_ends").main(["organism2", "-n", "2"])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[1] for row in rows] == ["2 plain", "2 disguised"]
    assert all(0 <= int(value.strip(" |")) <= 100 for row in rows for value in row[2:])


def test_coverage_is_that_of_all_outcomes_by_their_probability(benchmark, capsys):
    from math import comb

    from midspan.statistics import wilson

    coverage = benchmark("coverage")
    draws = coverage.Draws(20_000, seed=1)

    def make(k):
        return wilson(k, 5).low, wilson(k, 5).high

    for rate in (0.1, 0.4):
        exact = sum(
            comb(5, k) * rate**k * (1 - rate) ** (5 - k)
            for k in range(6)
            if make(k)[0] <= rate <= make(k)[1]
        )
        covers, width = draws.covers(draws.counts(5, rate)[:, None], make, rate)
        assert covers == pytest.approx(exact, abs=0.01) and 0.4 < width < 0.8
    coverage.main(["--only", "differences", "means", "--simulations", "400"])
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if "|" in line]
    assert [row[0].strip() for row in rows[-2:]] == ["Newcombe", "Student's t"]
    assert all(float(row[3]) > 90 for row in rows[-2:])


def test_fill_is_counted_and_rows_get_what_they_get_alone(benchmark, capsys):
    sizes = ["-n", "5", "--batch", "2", "--length", "16"]
    benchmark("fill").main([*sizes, "--modes", "dual, threshold 0.95", "block, threshold 0.95"])
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines()[2:]]
    assert len(rows) == 2
    for _, _, forwards, fill, positions, same, *_ in rows:
        assert int(forwards) > 0 and 50 < float(fill.strip(" %")) <= 100
        # Equal prompts share what they begin with, so that fewer may go through than alone.
        assert 0.5 < float(positions) <= 1.5 and same.strip() == "100.0%"


def test_fixed_shapes_have_the_ragged_tokens_and_invariant_rows(benchmark, capsys):
    mode = ["--tiny", "--modes", "dual cache, threshold 0.9", "--dtypes", "bfloat16"]
    benchmark("shapes").main([*mode, "--batch", "2", "--shapes", "ragged", "fixed"])
    rows = [line for line in capsys.readouterr().out.splitlines() if "dual cache" in line]
    assert len(rows) == 4 and all(line.endswith("| 3 of 3 |") for line in (*rows[:2], rows[3]))
