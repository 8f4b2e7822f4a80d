"""The KL of alignment in bf16 against float64: values and gradients, ours and plain code's.

Run: python benchmarks/kl_precision.py [--words 8192] [--width 256] [--rows 64]

Rows of a trained head have a part in common, which moves all logits together: here 0.5 of a norm of
0.81. Cases are common shifts of 0, 0.5, 2 and 10 nats between policy and reference, own
differences of 0.1 and 0.5 nats a word, and logits with a standard deviation of 1 and 5. plain:
logits in bf16, softmax and autograd in float32. Printed: the largest relative error of all cases.
"""

import argparse
from itertools import product

import torch
from torch import Tensor

from midspan.alignment.scores import Direction, ResponseStates

SHIFTS, SPREADS, GAPS = (0.0, 0.5, 2.0, 10.0), (1.0, 5.0), (0.1, 0.5)


def case(args: argparse.Namespace, shift: float, spread: float, gap: float) -> list[Tensor]:
    """States of policy and reference [N, D], and a head [V, D], all in bf16."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    common, own = normal(args.width), (0.81**2 - 0.5**2) ** 0.5
    common *= 0.5 / common.norm()
    head_VD = common + normal(args.words, args.width) * own / args.width**0.5
    reference_ND = normal(args.rows, args.width) * spread / own
    policy_ND = reference_ND + normal(args.rows, args.width) * gap / own + shift * common / 0.5**2
    return [one.bfloat16() for one in (policy_ND, reference_ND, head_VD)]


def plain(policy_ND: Tensor, reference_ND: Tensor, head_VD: Tensor, way: Direction) -> Tensor:
    """KL [N], by logits in the precision of what is given."""
    precise = torch.promote_types(head_VD.dtype, torch.float32)
    logp_NV, logq_NV = (
        (one @ head_VD.T).to(precise).log_softmax(-1) for one in (policy_ND, reference_ND)
    )
    first, second = (logp_NV, logq_NV) if way == "forward" else (logq_NV, logp_NV)
    return (first.exp() * (first - second)).sum(1)


def ours(policy_ND: Tensor, reference_ND: Tensor, head_VD: Tensor, way: Direction) -> Tensor:
    """KL [N]."""
    where_1N = torch.ones(1, len(policy_ND), dtype=torch.bool)
    states = ResponseStates(policy_ND[None], reference_ND[None], head_VD, where_1N, way)
    return states.score(where_1N, kl=True).kl_BL[0]


def errors(args: argparse.Namespace, way: Direction) -> dict[str, tuple[float, float]]:
    """Largest relative errors of values and gradients, by whose they are."""
    worst = {"plain": (0.0, 0.0), "ours": (0.0, 0.0)}
    for fields in product(SHIFTS, SPREADS, GAPS):
        policy_ND, reference_ND, head_VD = case(args, *fields)
        found = {}
        for name, kl_of, dtype in (
            ("exact", plain, torch.float64), ("plain", plain, torch.bfloat16),
            ("ours", ours, torch.bfloat16),
        ):  # fmt: skip
            states_ND = policy_ND.to(dtype).requires_grad_()
            kl_N = kl_of(states_ND, reference_ND.to(dtype), head_VD.to(dtype), way)
            (gradient_ND,) = torch.autograd.grad(kl_N.sum(), states_ND)
            found[name] = (kl_N.detach(), gradient_ND)
        exact = found.pop("exact")
        for name, values in found.items():
            now = [
                ((one - other).norm() / other.norm()).item()
                for one, other in zip(values, exact, strict=True)
            ]
            worst[name] = (max(now[0], worst[name][0]), max(now[1], worst[name][1]))
    return worst


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--words", type=int, default=8192)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--rows", type=int, default=64)
    args = parser.parse_args(arguments)
    print("| | direction | values | gradients |\n|---|---|---|---|")
    for way in ("forward", "reverse"):
        for name, (value, gradient) in errors(args, way).items():
            print(f"| {name} | {way} | {value:.2%} | {gradient:.2%} |")


if __name__ == "__main__":
    main()
