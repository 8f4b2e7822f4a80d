"""Compiled parts decode as before; which kernels a backend makes is its own affair."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from models_reference import LLADA, write_checkpoint
from safetensors.torch import load_file, save_file

from midspan.decoding import Request, decode, decoding_config, fixed
from midspan.models import load

REQUESTS = [Request((5, 6, 7)), Request((8, 9)), Request((11,))]
MODES = [{}, {"cache": "prefix"}, {"cache": "dual", "threshold": 0.1}]


def decoded(lm):
    made = []
    for fields in MODES:
        config = decoding_config(length=8, block_length=4, steps=8, **fields)
        made.append([one.tokens for one in decode(lm, REQUESTS, config, batch_size=2)])
    return made


def test_compiled_parts_give_the_same_tokens(tmp_path: Path) -> None:
    lm = load(write_checkpoint(tmp_path, LLADA), device="cpu")
    expected = decoded(lm)
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    lm.compile(backend=backend)
    assert decoded(lm) == expected
    # Norms and feed-forward blocks, for one row and for more: not one a layer, batch or window.
    assert 0 < len(graphs) <= 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_inductor_gives_the_same_tokens(tmp_path: Path) -> None:
    lm = load(write_checkpoint(tmp_path, LLADA), device="cuda")
    expected = decoded(lm)
    lm.compile()
    assert decoded(lm) == expected


def ungroup(file: Path) -> None:
    """Give each head keys and values of its own, which are its group's."""
    weights = load_file(file)
    for name, weight in weights.items():
        if ".k_proj." in name or ".v_proj." in name:
            grouped = weight.unflatten(0, (LLADA["n_kv_heads"], -1))
            weights[name] = grouped.repeat_interleave(2, 0).flatten(0, 1)
    save_file(weights, file, metadata={"format": "pt"})


SHAPES: list[dict[str, Any]] = [
    {"threshold": 0.3, "guidance": 0.5},
    {"cache": "prefix", "temperature": 1.0, "remasking": "random"},
    {"cache": "dual", "threshold": 0.1},
    {"cache": "dual", "factor": 0.5, "eos_policy": "suppress_confidence"},
    {"schedule": "linear", "remasking": "entropy"},
]


@pytest.mark.skipif("MIDSPAN_COMPILED" not in os.environ, reason="runs by: make check-compiled")
@pytest.mark.compiled
@pytest.mark.parametrize("backend", ["eager", "inductor"])
@pytest.mark.parametrize("fields", SHAPES)
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_a_whole_step_is_one_graph_a_shape(
    fields: dict[str, Any],
    backend: str,
    kv_heads: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without breaks; none is made anew by a second decode, and the tokens are the ordinary."""
    write_checkpoint(tmp_path, {**LLADA, "n_kv_heads": kv_heads})
    if kv_heads != LLADA["n_kv_heads"]:
        ungroup(tmp_path / "model.safetensors")
    lm = load(tmp_path, device="cpu")
    made = fixed.compiled_step
    monkeypatch.setattr(fixed, "compiled_step", lambda mode: made(mode, backend))
    options = {"length": 8, "block_length": 4, "steps": 8, **fields}
    ragged = decode(lm, REQUESTS, decoding_config(**options), batch_size=2)
    torch._dynamo.reset()
    counters, graphs = torch._dynamo.utils.counters, []
    counters.clear()
    for _ in range(2):
        found = decode(lm, REQUESTS, decoding_config(**options, shapes="compiled"), batch_size=2)
        assert [one.tokens for one in found] == [one.tokens for one in ragged]
        graphs.append(counters["stats"]["unique_graphs"])
    assert not counters["graph_break"]
    assert 0 < graphs[0] == graphs[1]
