"""What an adapter costs in decoding: kernels and bytes a layer and token, and rounding.

Run: python benchmarks/adapter_cost.py [--width 4096] [--tokens 256] [--rank 32]
     python benchmarks/adapter_cost.py --tiny   (hand-sized: checks the script)

One bf16 layer of LLaDA-8B's width without memory (torch's meta device), by a dispatch mode that
sees every operation; the difference between two layers and one is a layer. Bytes are what the
operations other than products and attention read and write. Then, on a small random model, the
error of the logits against single precision, relative to their norm.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from machine import describe_machine
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from random_weights import random_llada, trunk
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from midspan.models import DiffusionLM, attach_adapter
from midspan.models.native import empty_model
from midspan.models.trunk import lean_states

PRODUCTS = ("mm", "addmm", "bmm", "_scaled_dot_product")
VIEWS = ("view", "transpose", "expand", "slice", "unsqueeze", "t", "_unsafe_view", "unbind")
MODES = ("base", "adapter in float32", "adapter in bf16", "merged")


class Counter(TorchDispatchMode):
    """Operations that run a kernel, and the bytes of those that are no products."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = self.casts = self.bytes = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        if name in VIEWS or name.startswith(("empty", "detach", "alias", "split", "select")):
            return result
        self.kernels += 1
        self.casts += name == "_to_copy"
        if not name.startswith(PRODUCTS):
            leaves = [*args, *(result if isinstance(result, tuple) else [result])]
            self.bytes += sum(leaf.nbytes for leaf in leaves if isinstance(leaf, Tensor))
        return result


def adapted(model: Any, rank: int, spread: float = 0.0) -> Any:
    """The model under a LoRA on every linear layer; random where a spread is given."""
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    generator = torch.Generator().manual_seed(0)
    network = get_peft_model(model, LoraConfig(r=rank, lora_alpha=rank, target_modules=targets))
    for name, weight in network.named_parameters():
        if "lora_" in name and spread:
            weight.data = spread * torch.randn(weight.shape, generator=generator)
    return network.eval()


def count(
    mode: str, sizes: dict[str, int], layers: int, tokens: int, rank: int, is_bare: bool = False
) -> Counter:
    """A forward of so many layers on the meta device, of the modules or the bare trunk."""
    lm = random_llada(sizes | {"num_hidden_layers": layers, "vocab_size": 8}, "meta")
    model = empty_model(type(lm.model), lm.model.config).to(torch.bfloat16).eval()
    if mode.startswith("adapter"):
        with torch.device("meta"):
            model = adapted(model, rank)
        if mode.endswith("bf16"):
            model.to(torch.bfloat16)
        model = model.get_base_model()
    counter = Counter()
    # In inference mode casts would not be seen.
    ids = torch.zeros(1, tokens, dtype=torch.long, device="meta")
    with torch.no_grad(), counter:
        if not is_bare:
            model.model(input_ids=ids)
        elif lean_states(model, ids) is None:
            raise AssertionError("the trunk is not known")
    return counter


def print_costs(sizes: dict[str, int], tokens: int, rank: int) -> None:
    print("| | trunk | kernels a layer | of these casts | MB a layer and token, without products |")
    print("|---|---|---|---|---|")
    for mode in MODES:
        for is_bare in (False, True):
            one, two = (count(mode, sizes, layers, tokens, rank, is_bare) for layers in (1, 2))
            moved = (two.bytes - one.bytes) / tokens / 1e6
            kernels, casts = two.kernels - one.kernels, two.casts - one.casts
            trunk_name = "bare" if is_bare else "modules"
            print(f"| {mode} | {trunk_name} | {kernels} | {casts} | {moved:.2f} |")


def print_errors(sizes: dict[str, int], rank: int) -> None:
    """Against the same weights, rounded to bf16, and the float32 adapter in float32."""
    print("\n| adapter's effect | | error of the logits | of the effect | same best token |")
    print("|---|---|---|---|---|")
    for spread in (0.02, 0.005):
        effect, errors = errors_of(sizes, rank, spread)
        for mode, (error, same) in errors.items():
            print(f"| {effect:.3f} | {mode} | {error:.4f} | {error / effect:.2f} | {same:.1%} |")


def errors_of(
    sizes: dict[str, int], rank: int, spread: float
) -> tuple[float, dict[str, tuple[float, float]]]:
    """How far the adapter moves the logits, and of each mode the error and the same best tokens."""
    lm = random_llada(sizes)
    lm.model.to(torch.bfloat16).float()
    ids = torch.randint(lm.tokens.eos, (4, 64), generator=torch.Generator().manual_seed(1))
    with TemporaryDirectory() as folder, torch.no_grad():
        network = adapted(lm.model, rank, spread)
        network.save_pretrained(folder)
        exact = logits_of(network, ids)
        with network.disable_adapter():
            effect = (exact - logits_of(network, ids)).norm() / exact.norm()
        network.unload()
        attached = attach_adapter(bf16_copy(lm, sizes), Path(folder)).model
        found = {"adapter in bf16": logits_of(attached, ids)}
        for layer in attached.modules():
            if isinstance(layer, LoraLayer):
                layer.lora_A.float(), layer.lora_B.float()
        found["adapter in float32"] = logits_of(attached, ids)
        attached.merge_adapter()
        found["merged"] = logits_of(attached, ids)
    errors = {}
    for mode in MODES[1:]:
        error = (found[mode] - exact).norm() / exact.norm()
        same = (found[mode].argmax(-1) == exact.argmax(-1)).float().mean()
        errors[mode] = (error.item(), same.item())
    return effect.item(), errors


def bf16_copy(lm: DiffusionLM, sizes: dict[str, int]) -> DiffusionLM:
    other = random_llada(sizes)
    other.model.load_state_dict(lm.model.state_dict())
    other.model.to(torch.bfloat16)
    return other


def logits_of(network: Callable[..., Any], ids: Tensor) -> Tensor:
    return network(ids).logits.float()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args(arguments)
    width = 64 if options.tiny else options.width
    print(describe_machine())
    print_costs(trunk(1, width, 3 * width, 8), options.tokens, options.rank)
    small = trunk(2, 64, 128, 64) if options.tiny else trunk(8, 512, 1536, 1024)
    print_errors(small, 4 if options.tiny else options.rank)


if __name__ == "__main__":
    main()
