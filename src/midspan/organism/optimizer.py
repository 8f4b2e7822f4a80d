"""Muon for the organism's block matrices, in float32.

torch's own Muon runs its Newton-Schulz iteration in bfloat16, which CPUs without native support
emulate at a hundredth of the speed; this one batches all matrices of a shape instead.
"""

from collections.abc import Iterable

import torch


class Muon(torch.optim.Optimizer):
    """Momentum, then an orthogonalised update (Jordan et al. 2024), quintic Newton-Schulz."""

    def __init__(self, params: Iterable[torch.Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update every parameter; matrices of one shape share a batched iteration."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[torch.Tensor]] = {}
            for weight in group["params"]:
                by_shape.setdefault(weight.shape, []).append(weight)
            for shape, weights in by_shape.items():
                updates = [self._momentum(weight, group["momentum"]) for weight in weights]
                scale = max(1.0, shape[0] / shape[1]) ** 0.5
                for weight, update in zip(
                    weights, orthogonalise(torch.stack(updates)), strict=True
                ):
                    weight.sub_(update, alpha=group["lr"] * scale)

    def _momentum(self, weight: torch.Tensor, momentum: float) -> torch.Tensor:
        assert weight.grad is not None
        state = self.state[weight]
        if "buffer" not in state:
            state["buffer"] = torch.zeros_like(weight)
        state["buffer"].lerp_(weight.grad, 1 - momentum)
        return weight.grad.lerp(state["buffer"], momentum)


def orthogonalise(matrices_NRC: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """Push every matrix's singular values towards one; shape [N, R, C] is kept."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrices_NRC.shape[1] > matrices_NRC.shape[2]
    x = matrices_NRC.mT if tall else matrices_NRC
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
