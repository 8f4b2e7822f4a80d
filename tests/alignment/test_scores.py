"""Scores of wanted rows against the whole softmax and its automatic gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from midspan.alignment import scores as scores_module
from midspan.alignment.scores import ResponseStates

BATCH, LENGTH, WIDTH, VOCABULARY, TOKENS = 2, 5, 4, 11, 3


def tensors(seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    policy, reference = (
        torch.randn(BATCH, LENGTH, WIDTH, generator=generator).to(dtype) for _ in range(2)
    )
    head = torch.randn(VOCABULARY, WIDTH, generator=generator).to(dtype)
    tokens = torch.randint(VOCABULARY, (BATCH, LENGTH, TOKENS), generator=generator)
    where = torch.rand(BATCH, LENGTH, generator=generator) < 0.6
    weights = torch.randn(BATCH, LENGTH, TOKENS + 1, generator=generator).to(dtype)
    return policy.requires_grad_(), reference, head, tokens, where, weights


def naive(policy, reference, head, tokens, where, direction):
    logp = (policy @ head.T).double().log_softmax(-1)
    logq = (reference @ head.T).double().log_softmax(-1)
    kl = (logp.exp() * (logp - logq)) if direction == "forward" else (logq.exp() * (logq - logp))
    wanted = where[..., None]
    return logp.gather(2, tokens) * wanted, logq.gather(2, tokens) * wanted, kl.sum(2) * where


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["forward", "reverse"]), st.integers(4, 12))
def test_values_and_gradients_are_those_of_the_whole_softmax(seed, direction, words):
    policy, reference, head, tokens, where, weights = tensors(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(scores_module.TILE_ELEMENTS, "cpu", words * int(where.sum()))
        found = ResponseStates(policy, reference, head, where, direction).score(
            where, tokens, kl=True
        )
    wanted = naive(policy, reference, head, tokens, where, direction)
    for one, other in zip((found.logp_BLK, found.reference_BLK, found.kl_BL), wanted, strict=True):
        torch.testing.assert_close(one, other)
    total = (found.logp_BLK * weights[..., 1:]).sum() + (found.kl_BL * weights[..., 0]).sum()
    (gradient,) = torch.autograd.grad(total, policy)
    total = (wanted[0] * weights[..., 1:]).sum() + (wanted[2] * weights[..., 0]).sum()
    (expected,) = torch.autograd.grad(total, policy)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("kl", [False, True])
@pytest.mark.parametrize("with_tokens", [False, True])
def test_each_part_alone(kl, with_tokens):
    policy, reference, head, tokens, where, _ = tensors(1)
    states = ResponseStates(policy, reference if kl else None, head, where)
    found = states.score(where, tokens if with_tokens else None, kl=kl)
    logp, _, divergence = naive(policy, reference, head, tokens, where, "forward")
    torch.testing.assert_close(found.logp_BLK, logp[..., : TOKENS if with_tokens else 0])
    torch.testing.assert_close(found.kl_BL, divergence if kl else torch.zeros_like(divergence))
    (found.logp_BLK.sum() + found.kl_BL.sum()).backward()
    assert policy.grad.abs().sum() > 0 or not (kl or with_tokens)


def test_half_precision_is_widened_inside_a_tile():
    policy, reference, head, tokens, where, _ = tensors(2, torch.bfloat16)
    found = ResponseStates(policy, reference, head, where).score(where, tokens, kl=True)
    assert found.logp_BLK.dtype == found.kl_BL.dtype == torch.float32
    whole = [one.double() for one in (policy, reference, head)]
    logp, _, divergence = naive(*whole, tokens, where, "forward")
    torch.testing.assert_close(found.logp_BLK.double(), logp, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.kl_BL.double(), divergence, rtol=0, atol=1e-5)
    (found.logp_BLK.sum() + found.kl_BL.sum()).backward()
    assert policy.grad.dtype == torch.bfloat16


def test_no_row_wanted_gives_zeros_that_can_be_differentiated():
    policy, reference, head, tokens, where, _ = tensors(3)
    states = ResponseStates(policy, reference, head, where)
    found = states.score(torch.zeros_like(where), tokens, kl=True)
    (found.logp_BLK.sum() + found.kl_BL.sum()).backward()
    assert not policy.grad.any()


def close_distributions(shift, spread):
    """States of two models whose logits differ by 0.1 a word, and by ``shift`` for all of them.

    Rows of a trained head have a part in common, here 0.5 of a norm of 0.81.
    """
    generator = torch.Generator().manual_seed(4)
    words, width, rows = 8192, 256, 12
    common = torch.randn(width, generator=generator, dtype=torch.float64)
    common *= 0.5 / common.norm()
    own = (0.81**2 - 0.5**2) ** 0.5
    head = common + torch.randn(words, width, generator=generator) * own / width**0.5
    reference = torch.randn(1, rows, width, generator=generator) * spread / own
    policy = reference + torch.randn(1, rows, width, generator=generator) * 0.1 / own
    policy = policy + shift * common / 0.5**2
    return [tensor.to(torch.bfloat16) for tensor in (policy, reference, head)]


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("shift", [0, 0.5, 2, 10])
@pytest.mark.parametrize("spread", [1, 5])
def test_the_kl_in_half_precision_is_that_of_float64(direction, shift, spread):
    policy, reference, head = close_distributions(shift, spread)
    where = torch.ones(policy.shape[:2], dtype=torch.bool)
    tokens = torch.zeros(*where.shape, 0, dtype=torch.long)
    half, whole = policy.clone().requires_grad_(), policy.double().requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(scores_module.TILE_ELEMENTS, "cpu", 2048 * head.shape[1])
        states = ResponseStates(half, reference, head, where, direction)
        found = states.score(where, kl=True).kl_BL
    wanted = naive(whole, reference.double(), head.double(), tokens, where, direction)[2]
    assert (found - wanted).norm() < 0.01 * wanted.norm()
    (gradient,) = torch.autograd.grad(found.sum(), half)
    (expected,) = torch.autograd.grad(wanted.sum(), whole)
    error = (gradient - expected).norm(dim=-1) / expected.norm(dim=-1)
    assert error.max() < 0.01
