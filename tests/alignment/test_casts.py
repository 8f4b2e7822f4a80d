"""Casts of adapted layers under autocast: fewer kernels, the same numbers."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode

from midspan.alignment.casts import leave_casts_to_autocast
from midspan.models.llada import LLADA, LladaConfig, LladaForMaskedDiffusion

LINEAR = len(LLADA.lora_targets)


class Casts(TorchDispatchMode):
    """Counts changes of number format."""

    count = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.count += function is torch.ops.aten._to_copy.default
        return function(*args, **(kwargs or {}))


def adapted(layers: int):
    torch.manual_seed(0)
    model = LladaForMaskedDiffusion(
        LladaConfig(
            vocab_size=32, hidden_size=16, intermediate_size=24, num_hidden_layers=layers,
            num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=64,
        )
    ).to(torch.bfloat16)  # fmt: skip
    network = get_peft_model(model, LoraConfig(r=4, target_modules=list(LLADA.lora_targets)))
    for name, weight in network.named_parameters():
        if "lora_" in name:
            weight.data = torch.randn(weight.shape)
    return network


def step(network):
    """Casts of forward and backward, and the gradients."""
    ids = torch.arange(12)[None]
    with Casts() as casts:
        with torch.autocast("cpu", torch.bfloat16):
            loss = network(input_ids=ids).logits.float().logsumexp(-1).sum()
        loss.backward()
    return casts.count, [weight.grad for weight in network.parameters() if weight.requires_grad]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_two_casts_fewer_a_layer_and_pass_and_the_same_gradients(checkpointing: bool) -> None:
    counts, gradients = {}, {}
    for is_lean in (False, True):
        for layers in (1, 2):
            network = adapted(layers)
            if is_lean:
                leave_casts_to_autocast(network)
            if checkpointing:
                network.enable_input_require_grads()
                network.get_base_model().gradient_checkpointing_enable()
                network.train()
            counts[is_lean, layers], gradients[is_lean, layers] = step(network)
    passes = 3 if checkpointing else 2
    a_layer = [counts[is_lean, 2] - counts[is_lean, 1] for is_lean in (False, True)]
    assert a_layer[0] - a_layer[1] == passes * 2 * LINEAR
    for before, after in zip(gradients[False, 2], gradients[True, 2], strict=True):
        assert before.abs().sum() > 0
        assert torch.equal(before, after)


def test_outside_of_autocast_layers_still_widen() -> None:
    network = adapted(1)
    leave_casts_to_autocast(network)
    with torch.no_grad():
        assert network(input_ids=torch.arange(5)[None]).logits.isfinite().all()
