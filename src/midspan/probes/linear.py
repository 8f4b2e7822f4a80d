"""A linear classifier with honest accuracy: ridge in closed form, cross-validated by group.

Shapes: N samples, D features, M other samples. Float64, so that results do not depend on threads.
"""

import random
from collections.abc import Sequence

import torch
from torch import Tensor


def folds(groups: Sequence[str], labels: Sequence[bool], num_folds: int, seed: int) -> list[int]:
    """A fold for every sample: groups stay together, and each fold has groups of both labels.

    Raises:
        ValueError: If a label has fewer groups than there are folds.
    """
    rng = random.Random(f"folds/{seed}")
    fold_of: dict[str, int] = {}
    for label in (False, True):
        names = sorted({g for g, y in zip(groups, labels, strict=True) if y is label})
        if len(names) < num_folds:
            raise ValueError(f"{num_folds} folds need as many groups of each label")
        rng.shuffle(names)
        fold_of |= {name: index % num_folds for index, name in enumerate(names)}
    return [fold_of[group] for group in groups]


def ridge(train_ND: Tensor, labels_N: Tensor, test_MD: Tensor, penalty: float) -> Tensor:
    """Decision values of the test samples, [M]; above 0 means True.

    Features are brought to mean 0 and variance 1 by the training samples; both labels weigh the
    same. Solved in the smaller of the two dimensions.

    Args:
        train_ND: Features.
        labels_N: True or False.
        test_MD: Features of the samples to decide.
        penalty: Ridge penalty, in units of the mean squared norm of a sample.
    """
    mean_D, scale_D = train_ND.mean(0), train_ND.std(0, correction=0)
    # A feature that never changes, as at a fixed token's embedding, must not divide by zero.
    scale_D = torch.where(scale_D > 1e-9, scale_D, 1.0)
    x_ND, x_MD = (train_ND - mean_D) / scale_D, (test_MD - mean_D) / scale_D
    sign_N = torch.where(labels_N, 1.0, -1.0).double()
    count_N = torch.where(labels_N, labels_N.sum(), (~labels_N).sum())
    root_N1 = (len(labels_N) / (2 * count_N)).double().sqrt()[:, None]
    x_ND, y_N1 = x_ND * root_N1, sign_N[:, None] * root_N1
    kernel_NN = x_ND @ x_ND.T
    strength = penalty * kernel_NN.diagonal().mean().clamp(min=1e-12)
    weights_N1 = torch.linalg.solve(
        kernel_NN + strength * torch.eye(len(kernel_NN), dtype=torch.float64), y_N1
    )
    return (x_MD @ (x_ND.T @ weights_N1))[:, 0]


def held_out_decisions(
    train_ND: Tensor, test_ND: Tensor, labels: Sequence[bool], fold_N: Sequence[int], penalty: float
) -> list[bool]:
    """Decisions on every sample by a classifier that saw none of its group.

    Args:
        train_ND: Features to learn from.
        test_ND: Features of the same samples to decide on; another model's, to see whether what
            was learned carries over.
        labels: The truth.
        fold_N: Each sample's fold.
        penalty: See `ridge`.
    """
    labels_N, fold = torch.tensor(labels), torch.tensor(fold_N)
    decided_N = torch.zeros(len(labels_N), dtype=torch.bool)
    for number in sorted(set(fold_N)):
        out = fold == number
        values = ridge(train_ND[~out].double(), labels_N[~out], test_ND[out].double(), penalty)
        decided_N[out] = values > 0
    return decided_N.tolist()


def balanced_accuracy(decided: Sequence[bool], labels: Sequence[bool]) -> float:
    """Mean of the two labels' accuracies; chance is one half whatever their numbers."""
    pairs = list(zip(decided, labels, strict=True))
    parts = [[d is y for d, y in pairs if y is label] for label in (False, True)]
    return sum(sum(part) / len(part) for part in parts) / 2
