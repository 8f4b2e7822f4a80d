"""What an attacker with the weights does to them, undone afterwards: fine-tuning, scaled adapters.

Both are sums beside a layer's own product, added by hooks on its output, so that no weight is ever
written: with the hooks gone every logit is as before, to the bit, whether an adapter is merged or
not.

Shapes: R rank, I inputs and O outputs of a layer.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from midspan.alignment.job import check_dtype, check_placement
from midspan.alignment.objectives import SftObjective
from midspan.alignment.policy import Collator, Policy
from midspan.alignment.samples import draw_answers
from midspan.data import Example
from midspan.engine.tampering import AdapterScaling, Finetuning, Tampering
from midspan.errors import MidspanError
from midspan.models import DiffusionLM

Addition = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class LowRankUpdate:
    """What a training added to a model's layers: scale * B A beside each weight.

    Attributes:
        factors: By the layer's name, A [R, I] and B [O, R], in float32.
        scale: Of all products.
    """

    factors: Mapping[str, tuple[Tensor, Tensor]]
    scale: float

    @classmethod
    def fresh(cls, lm: DiffusionLM, rank: int, alpha: int, seed: int) -> "LowRankUpdate":
        """As LoRA begins: A drawn as a layer's weights are, B zero.

        Raises:
            MidspanError: The model's family has no layers for it.
        """
        generator = torch.Generator().manual_seed(seed)
        factors = {}
        for name, layer in _layers(lm).items():
            bound, device = 1 / math.sqrt(layer.in_features), layer.weight.device
            a_RI = torch.empty(rank, layer.in_features).uniform_(-bound, bound, generator=generator)
            b_OR = torch.zeros(layer.out_features, rank, device=device)
            factors[name] = (a_RI.to(device).requires_grad_(), b_OR.requires_grad_())
        if not factors:
            raise MidspanError(f"{lm.name}: family {lm.family.name} names no layers to fine-tune")
        return cls(factors, alpha / rank)

    def applied(self, lm: DiffusionLM) -> AbstractContextManager[None]:
        """Within the context the model has the update."""
        layers = _layers(lm)
        return _added({layers[name]: self._addition(*two) for name, two in self.factors.items()})

    def _addition(self, a_RI: Tensor, b_OR: Tensor) -> Addition:
        return lambda inputs: (inputs.to(a_RI) @ a_RI.T) @ b_OR.T * self.scale


class Tamperer:
    """Trains each update once, and keeps the last ones for the calls that follow.

    Args:
        kept: Updates to keep, each two matrices for every adapted layer.
    """

    def __init__(self, kept: int = 4) -> None:
        self._kept = kept
        self._updates: dict[tuple[str, Finetuning], LowRankUpdate] = {}

    def __call__(self, lm: DiffusionLM, tampering: Tampering) -> AbstractContextManager[None]:
        """See `midspan.engine.tampering.Tamper`.

        Raises:
            MidspanError: The model is quantised or in float16, or has no such adapter or layers.
        """
        if getattr(lm.base, "is_quantized", False):
            raise MidspanError(f"{lm.name} is quantised: attacks on weights need them unquantised")
        if isinstance(tampering, AdapterScaling):
            return scaled_adapter(lm, tampering.factor)
        key = (lm.fingerprint, tampering)
        if key not in self._updates:
            while len(self._updates) >= self._kept:
                del self._updates[next(iter(self._updates))]
            self._updates[key] = finetune(lm, tampering)
        return self._updates[key].applied(lm)


def finetune(lm: DiffusionLM, tampering: Finetuning) -> LowRankUpdate:
    """Train an update; a function of the model's weights and the tampering alone.

    On a CPU it is the same to the bit each time, on a GPU up to its rounding.

    Raises:
        MidspanError: See `draw_answers` and `LowRankUpdate.fresh`; the model is in float16 or
            partly off its GPUs, or the training left the numbers.
    """
    check_dtype(lm.name, lm.base.dtype)
    check_placement(lm)
    examples = [Example(*pair) for pair in tampering.examples]
    size = min(tampering.batch_size, len(examples))
    samples = draw_answers(lm, examples, tampering.steps * size, tampering.length, tampering.seed)
    update = LowRankUpdate.fresh(lm, tampering.rank, tampering.alpha, tampering.seed)
    weights = [factor for pair in update.factors.values() for factor in pair]
    optimizer = torch.optim.AdamW(weights, lr=tampering.learning_rate, weight_decay=0.0)
    policy, collate = Policy(lm, SftObjective()), Collator(lm)
    with update.applied(lm), torch.enable_grad():
        for start in range(0, len(samples), size):
            batch = collate(samples[start : start + size])
            ids = {name: batch[name].to(lm.device) for name in ("input_ids", "attention_mask")}
            loss = policy(batch | ids).values_S.mean()
            if not loss.isfinite():
                raise MidspanError(f"fine-tuning {lm.name} diverged; lower learning_rate")
            # The model's own weights, trainable or not, get no gradient.
            for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                weight.grad = gradient
            optimizer.step()
    trained = {name: (a.detach(), b.detach()) for name, (a, b) in update.factors.items()}
    return LowRankUpdate(trained, update.scale)


def scaled_adapter(lm: DiffusionLM, factor: float) -> AbstractContextManager[None]:
    """Within the context the adapter counts for a share of itself, up to rounding.

    Raises:
        MidspanError: There is no adapter, or it is more than low-rank products beside layers.
    """
    from peft.tuners.lora import Linear

    if not hasattr(lm.model, "peft_config"):
        raise MidspanError(f"{lm.name} has no adapter to scale")
    layers = lm.adapted_layers()
    is_plain = all(
        isinstance(layer, Linear) and not any(layer.use_dora.values()) for layer in layers
    )
    if not is_plain or any(config.modules_to_save for config in lm.model.peft_config.values()):
        raise MidspanError(f"{lm.name}: only LoRA on linear layers, and nothing else, is scaled")

    def addition(layer: Any) -> Addition:
        def add(inputs: Tensor) -> Tensor:
            products = (
                layer.lora_B[name](layer.lora_A[name](inputs.to(layer.lora_A[name].weight)))
                * layer.scaling[name]
                for name in layer.active_adapters
            )
            return (factor - 1) * sum(products, torch.zeros((), device=inputs.device))

        return add

    return _added({layer: addition(layer) for layer in layers})


@contextmanager
def _added(additions: Mapping[nn.Module, Addition]) -> Iterator[None]:
    """Within the context layers give something beside their own product."""

    def hook(add: Addition) -> Callable[..., Tensor]:
        return lambda layer, inputs, output: output + add(inputs[0]).to(output)

    with ExitStack() as stack:
        for layer, add in additions.items():
            stack.callback(layer.register_forward_hook(hook(add)).remove)
        yield


def _layers(lm: DiffusionLM) -> dict[str, Any]:
    """Layers that LoRA adapts in the model's family, with an adapter around them or without."""
    targets = set(lm.family.lora_targets)
    return {
        name: module
        for name, module in lm.base.named_modules()
        if name.rpartition(".")[2] in targets
    }
