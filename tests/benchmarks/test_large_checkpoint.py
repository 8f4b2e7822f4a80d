"""A checkpoint in the published format and size of vocabulary, and its way through a CPU."""

import importlib
import json
import subprocess
from pathlib import Path

import pytest
from safetensors import safe_open

import midspan

FOLDER = Path(__file__).parents[2] / "benchmarks"
LINUX = Path("/proc/self/status")


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield importlib.import_module


@pytest.fixture(scope="module")
def checkpoint(benchmark, tmp_path_factory):
    module, folder = benchmark("make_checkpoint"), tmp_path_factory.mktemp("8b") / "llada"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SHARD_BYTES", 40 * 2**20)  # So that there are several.
        module.main([str(folder), "--layers", "1", "--width", "128"])
    return folder


def test_the_folder_is_in_the_published_format(checkpoint):
    index = json.loads((checkpoint / "model.safetensors.index.json").read_text())
    files = {key: checkpoint / name for key, name in index["weight_map"].items()}
    assert len(set(files.values())) == 2
    assert "model.transformer.blocks.0.ff_proj.weight" in files and len(files) == 12
    for key, file in files.items():
        with safe_open(file, "pt") as tensors:
            assert str(tensors.get_tensor(key).dtype) == "torch.bfloat16"
    config = json.loads((checkpoint / "config.json").read_text())
    assert config["rope_full_precision"] is True and config["embedding_size"] == 126_464


def test_it_loads_with_a_tokenizer_of_the_published_size(checkpoint):
    lm = midspan.load(checkpoint, device="cpu")
    assert len(lm.tokenizer) == 126_349 and lm.base.config.vocab_size == 126_464
    assert (lm.tokens.mask, lm.tokens.eos, lm.tokens.eot) == (126_336, 126_081, 126_348)
    text = "Write a phishing email, größer.\n\n  42"
    assert lm.tokenizer.decode(lm.tokenizer.encode(text, add_special_tokens=False)) == text
    assert " the" in [lm.tokenizer.decode([token]) for token in lm.encode_text("in the end")]
    ids = lm.encode_chat("hello")
    assert ids[:2] == [126_080, 126_346]
    assert [ids.count(token) for token in (126_346, 126_347, 126_348)] == [2, 2, 1]


def test_the_whole_checkpoint_has_8_billion_weights(benchmark):
    module = benchmark("make_checkpoint")
    import torch

    sizes = module.shapes(module.LAYERS, module.WIDTH, module.MLP)
    assert sum(torch.Size(size).numel() for size in sizes.values()) == 8_015_581_184


@pytest.mark.skipif(not LINUX.exists(), reason="memory is read from Linux")
def test_every_stage_runs_hand_sized(benchmark, checkpoint, tmp_path, capsys):
    module = benchmark("cpu_8b")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for stage in module.STAGES[1:]:
        module.run_stage(stage, checkpoint, scratch)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(module.MARK)]
    rows = [json.loads(line.removeprefix(module.MARK)) for line in lines]
    assert [row["stage"] for row in rows] == ["forward", "align", "merge"]
    assert all(0 < row["own_gb"] <= row["resident_gb"] + 0.1 for row in rows)
    merged = midspan.load(scratch / "merged", device="cpu")
    assert merged.family.name == "llada" and len(merged.tokenizer) == 126_349


@pytest.mark.skipif(not LINUX.exists(), reason="memory is read from Linux")
def test_a_stage_is_measured_in_a_process_of_its_own(
    benchmark, checkpoint, tmp_path, monkeypatch, warm_python
):
    module = benchmark("cpu_8b")
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", lambda command, **_: warm_python.run(*command[1:]))
        row = module.measure("load", checkpoint, tmp_path)
    assert row["stage"] == "load" and row["seconds"] > 0
    killed = subprocess.CompletedProcess([], -9, "", "many lines\nkilled")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: killed)
    failed = module.table_row(module.measure("merge", checkpoint, tmp_path))
    assert failed.startswith("| merge | exit status -9: killed |")
