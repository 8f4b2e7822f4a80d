"""The baselines of benchmarks/peers.py: token for token what the published samplers gave."""

import dataclasses
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fixture_folders import PUBLISHED
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import midspan.models  # noqa: F401  (registers the native classes)

DLLM = {
    "sampler",
    "output",
    "canvas",
    "max_new_tokens",
    "steps",
    "block_size",
    "prompts",
    "forwards",
}


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "decoding"))
    threads = torch.get_num_threads()
    import peers

    yield peers
    torch.set_num_threads(threads)
    for name in ("peers", "peer_samplers", "make_checkpoint", "native_page", "machine"):
        sys.modules.pop(name, None)


def stored(family):
    folder = PUBLISHED / family
    cases = json.loads((folder / "cases.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokens = SimpleNamespace(mask=cases["mask_token_id"], pad=cases["eos_token_id"])
    lm = SimpleNamespace(model=model, base=model, tokens=tokens)
    return lm, cases["runs"], load_file(folder / "cases.safetensors")


def unpadded(tensors, name):
    prompt_BT = tensors[name]
    real_BT = tensors.get(f"{name}_mask", torch.ones_like(prompt_BT)).bool()
    return [row[real].tolist() for row, real in zip(prompt_BT, real_BT, strict=True)]


@torch.no_grad()
def test_the_loop_gives_the_stored_outputs_of_llada(benchmark):
    lm, runs, tensors = stored("llada")
    for run in (runs[1], runs[3]):
        assert not run["cfg_scale"] and not run["temperature"]
        how = benchmark.Settings(run["gen_length"], run["block_length"], run["steps"])
        found = benchmark.llada(lm, unpadded(tensors, "prompt"), how)
        assert torch.equal(found, tensors[run["output"]][:, -run["gen_length"] :])


@torch.no_grad()
def test_dllms_sampler_gives_its_stored_outputs(benchmark):
    lm, runs, tensors = stored("a2d-llama")
    plain = [run for run in runs if not run.keys() - DLLM and run.get("sampler") == "mdlm"]
    assert len(plain) == 3
    for run in plain:
        how = benchmark.Settings(run["max_new_tokens"], run["block_size"], run["steps"])
        found = benchmark.dllm(lm, unpadded(tensors, run["prompts"]), how)
        assert torch.equal(found, tensors[run["output"]][:, -run["max_new_tokens"] :])


@torch.no_grad()
@pytest.mark.parametrize("threshold", [None, 0.05])
@pytest.mark.parametrize("cache", ["prefix", "dual"])
def test_fast_dllms_caches_are_the_definition(benchmark, organism_lm, cache, threshold):
    """No outputs of theirs are stored: an independent reference keeps nothing but token ids."""
    from reference_caches import cached_llada

    lm, prompt = organism_lm, list(range(20, 29))
    how = benchmark.Settings(16, 8, 8, threshold)
    found = benchmark.fast_dllm(lm, [prompt, prompt], how, dual=cache == "dual")
    config = SimpleNamespace(
        length=16, block_length=8, steps=8, cache=cache, threshold=threshold, factor=None,
        doubt=None, refresh_every=None, ties="",
    )  # fmt: skip
    biased = SimpleNamespace(
        model=lm.model, tokens=lm.tokens, family=lm.family, bias_V=torch.zeros(509)
    )
    canvas, _, _ = cached_llada(biased, prompt, {}, config)
    assert found.tolist() == [canvas, canvas]


def test_the_table_has_a_row_a_sampler_and_says_where_midspan_is_slower(
    benchmark, organism_lm, tmp_path, monkeypatch
):
    few = benchmark.Settings(8, 4, 4)
    monkeypatch.setattr(benchmark, "CANVASES", {"organism": few})
    monkeypatch.setattr(benchmark, "loaded", lambda name: dataclasses.replace(organism_lm))
    page = tmp_path / "page.md"
    page.write_text("A\n<!-- peers: written by a command -->\nbefore\n<!-- peers: end -->\nB\n")
    benchmark.main(["organism", "--batch", "2", "--repeats", "1", "--docs", str(page)])
    text = page.read_text()
    assert "before" not in text and text.startswith("A\n") and text.endswith("B\n")
    assert text.count("| organism | 2 | 4 |") == 12 and text.count("100.0 % the peer's") == 6
    rows = [["m", "1", "4", "x", "2.0", "", ""], ["m", "1", "4", "midspan, as x", "1.5", "", ""]]
    assert benchmark.slower(rows) == ["m, batch 1, x: 1.5 against 2.0"]
    assert benchmark.slower(rows[::-1]) == []
