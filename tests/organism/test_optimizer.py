"""Muon's update: orthogonal, batched like alone, downhill."""

import pytest
import torch

from midspan.organism.optimizer import Muon, orthogonalise


def matrices(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(3, 8, 32), (3, 32, 8), (1, 4, 64)])
def test_singular_values_come_near_one(shape):
    u, values, vt = torch.linalg.svd(matrices(*shape), full_matrices=False)
    spread = torch.logspace(0, -1.5, values.shape[1])
    made = orthogonalise((u * spread) @ vt)
    assert made.shape == shape
    values = torch.linalg.svdvals(made)
    assert values.min() > 0.65 and values.max() < 1.25


def test_the_directions_are_kept():
    given = matrices(2, 8, 32)
    u, _, vt = torch.linalg.svd(given, full_matrices=False)
    closeness = (orthogonalise(given) * (u @ vt)).sum((1, 2)) / 8
    assert closeness.min() > 0.8


def test_a_zero_gradient_gives_no_update():
    assert orthogonalise(torch.zeros(1, 4, 6)).abs().max() == 0


def test_matrices_of_a_shape_are_updated_as_if_alone():
    def updated(together: bool) -> list[torch.Tensor]:
        weights = [torch.nn.Parameter(matrix) for matrix in matrices(3, 6, 4)]
        groups = [weights] if together else [[weight] for weight in weights]
        optimizers = [Muon(group, lr=0.1) for group in groups]
        for step in range(3):
            for place, weight in enumerate(weights):
                weight.grad = (place + step + 1.0) * matrices(3, 6, 4)[place] + step
            for optimizer in optimizers:
                optimizer.step()
        return weights

    for left, right in zip(updated(True), updated(False), strict=True):
        torch.testing.assert_close(left, right)


def test_a_step_has_the_learning_rates_size():
    weight = torch.nn.Parameter(torch.zeros(4, 4))
    weight.grad = torch.eye(4)
    Muon([weight], lr=0.5).step()
    torch.testing.assert_close(weight.data, -0.5 * torch.eye(4), atol=0.2, rtol=0)
    tall = torch.nn.Parameter(torch.zeros(16, 4))
    tall.grad = torch.eye(16)[:, :4].contiguous()
    Muon([tall], lr=0.5).step()
    assert -tall.data[0, 0].item() == pytest.approx(1.0, abs=0.35)
