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


def test_half_precision_is_widened_inside_a_chunk():
    policy, reference, head, tokens, where, _ = tensors(2, torch.bfloat16)
    found = ResponseStates(policy, reference, head, where).score(where, tokens, kl=True)
    assert found.logp_BLK.dtype == found.kl_BL.dtype == torch.float32
    logp, _, divergence = naive(policy, reference, head, tokens, where, "forward")
    torch.testing.assert_close(found.logp_BLK.double(), logp, rtol=0, atol=0.02)
    torch.testing.assert_close(found.kl_BL.double(), divergence, rtol=0, atol=0.02)
    (found.logp_BLK.sum() + found.kl_BL.sum()).backward()
    assert policy.grad.dtype == torch.bfloat16


def test_no_row_wanted_gives_zeros_that_can_be_differentiated():
    policy, reference, head, tokens, where, _ = tensors(3)
    states = ResponseStates(policy, reference, head, where)
    found = states.score(torch.zeros_like(where), tokens, kl=True)
    (found.logp_BLK.sum() + found.kl_BL.sum()).backward()
    assert not policy.grad.any()
