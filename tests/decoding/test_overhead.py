"""What a step asks of the device outside of the model's forward."""

from typing import Any

import pytest
import torch
from tiny_lm import TinyLM
from torch.utils._python_dispatch import TorchDispatchMode

from midspan.decoding import Request, decode, decoding_config

# What runs no kernel; `to` moves nothing on a CPU.
VIEWS = {
    *("view", "slice", "select", "unsqueeze", "expand", "detach", "alias", "t", "transpose"),
    *("unbind", "_unsafe_view", "lift_fresh", "flatten", "view_as", "to"),
    *("resolve_conj", "resolve_neg"),
}


class Kernels(TorchDispatchMode):
    """Counts operations that are no views, but for those of the forward."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.is_in_forward = 0, False

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.count += not self.is_in_forward and function.overloadpacket.__name__ not in VIEWS
        return function(*args, **(kwargs or {}))


class WatchedLM(TinyLM):
    """Tells the counter when the model works."""

    def __init__(self, kernels: Kernels) -> None:
        super().__init__()
        self.kernels = kernels

    def logits(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.kernels.is_in_forward = True
        found = super().logits(*args, **kwargs)
        self.kernels.is_in_forward = False
        return found


def kernels_of(num_open: int, **fields: Any) -> int:
    """Of a decode that commits one token a step."""
    kernels = Kernels()
    lm = WatchedLM(kernels)
    anchors = dict.fromkeys(range(num_open, 32), 9)
    config = decoding_config(length=32, steps=32, **fields)
    with kernels:
        (found,) = decode(lm, [Request((5, 6, 7), anchors=anchors)], config)
    assert found.forwards == num_open
    return kernels.count


@pytest.mark.parametrize(
    ("fields", "most"), [({}, 35), ({"threshold": 1.0}, 35), ({"cache": "dual"}, 39)]
)
def test_kernels_a_step(fields: dict[str, Any], most: int) -> None:
    a_step = (kernels_of(24, **fields) - kernels_of(8, **fields)) / 16
    assert a_step <= most
