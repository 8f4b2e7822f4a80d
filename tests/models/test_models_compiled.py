"""Compiled parts decode as before; which kernels a backend makes is its own affair."""

from pathlib import Path

import pytest
import torch
from models_reference import LLADA, write_checkpoint

from midspan.decoding import Request, decode, decoding_config
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
