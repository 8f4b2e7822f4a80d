"""SFT, A2D and VRPO against sums written out over the whole softmax."""

import math
import random

import pytest
import torch

from midspan.alignment.objectives import (
    A2dObjective,
    Draw,
    SftObjective,
    TokenExample,
    VrpoObjective,
)  # fmt: skip
from midspan.alignment.policy import Collator
from midspan.alignment.scores import ResponseStates

MASK, EOS, LENGTH, VOCABULARY, WIDTH = 9, 0, 6, 10, 4
REFUSAL = (5, 6, EOS)
EXAMPLE = TokenExample((7, 8), (1, 2, 3, 4, 1, 2))


def samples_of(objective, seed=0, size=LENGTH):
    draw = Draw(random.Random(seed), [REFUSAL], [(3, 4)], LENGTH, MASK, EOS)
    example = TokenExample(EXAMPLE.prompt_ids, draw.filled(EXAMPLE.answer_ids[:size]))
    return [objective.sample(example, harmful=kind, draw=draw) for kind in (True, True, False)]


def states_of(samples, seed=0):
    rows = [canvas for sample in samples for canvas in sample.canvases]
    generator = torch.Generator().manual_seed(seed)
    shape = (len(rows), LENGTH, WIDTH)
    policy, reference = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    head = torch.randn(VOCABULARY, WIDTH, generator=generator, dtype=torch.float64)
    masked = torch.tensor([row.response_ids for row in rows]) == MASK
    return ResponseStates(policy.requires_grad_(), reference, head, masked)


def bound(hidden_LD, head, canvas, last=LENGTH):
    logp = (hidden_LD @ head.T).log_softmax(-1)
    places = [k for k, token in enumerate(canvas.response_ids) if token == MASK]
    counted = [logp[k][canvas.target_ids[k]] for k in places if k < last]
    return sum(counted) * LENGTH / len(places)


def test_sft_wants_the_refusal_and_the_benign_answer():
    samples = samples_of(SftObjective())
    refusal = (*REFUSAL, EOS, EOS, EOS)
    wanted = [sample.canvases[0].target_ids for sample in samples]
    assert wanted == [refusal, refusal, EXAMPLE.answer_ids]
    shown = samples[0].canvases[0].response_ids
    assert all(a in (b, MASK) for a, b in zip(shown, refusal, strict=True)) and MASK in shown


def test_a2d_wants_the_end_wherever_the_harmful_answer_is_masked():
    for sample in samples_of(A2dObjective())[:2]:
        (canvas,) = sample.canvases
        assert canvas.target_ids == (EOS,) * LENGTH
        answer = EXAMPLE.answer_ids
        assert all(a in (b, MASK) for a, b in zip(canvas.response_ids, answer, strict=True))


@pytest.mark.parametrize("objective", [SftObjective(benign_weight=0.5), A2dObjective()])
def test_cross_entropy_is_the_bound_per_token(objective):
    samples = samples_of(objective)
    states = states_of(samples)
    losses = objective.losses(states, samples)
    weights = (1, 1, objective.benign_weight)
    for row, (sample, weight) in enumerate(zip(samples, weights, strict=True)):
        nats = -bound(states.policy_BLD[row], states.head_VD, sample.canvases[0]) / LENGTH
        assert losses.values_S[row].item() == pytest.approx(weight * nats.item())
    assert losses.metrics.keys() == {"nats_harmful", "nats_benign"}


def test_benign_rows_may_be_held_by_the_kl_instead():
    objective = SftObjective(retain="kl", benign_weight=2.0)
    samples = samples_of(objective)
    assert samples[2].canvases[0].response_ids == (MASK,) * LENGTH
    states = states_of(samples)
    losses = objective.losses(states, samples)
    logp = (states.policy_BLD[2] @ states.head_VD.T).log_softmax(-1)
    logq = (states.reference_BLD[2] @ states.head_VD.T).log_softmax(-1)
    kl = (logp.exp() * (logp - logq)).sum()
    assert losses.values_S[2].item() == pytest.approx(2 * kl.item())
    assert not SftObjective().uses_reference and objective.uses_reference


@pytest.mark.parametrize("rejected", ["text", "canvas"])
@pytest.mark.parametrize("size", [0, 1, 3, LENGTH])
def test_vrpo_is_the_log_sigmoid_of_the_margin_of_bounds(size, rejected):
    objective = VrpoObjective(draws=3, beta=0.2, benign_weight=0.5, rejected=rejected)
    samples = samples_of(objective, size=size)
    states = states_of(samples)
    losses = objective.losses(states, samples)
    for place, sample in enumerate(samples):
        rows = range(place * 6, place * 6 + 6)
        own = size if sample.harmful else len(REFUSAL) - 1
        lasts = [LENGTH] * 3 + [own if rejected == "text" else LENGTH] * 3
        gains = [
            (bound(states.policy_BLD[row], states.head_VD, canvas, last)
             - bound(states.reference_BLD[row], states.head_VD, canvas, last))
            for row, canvas, last in zip(rows, sample.canvases, lasts, strict=True)
        ]  # fmt: skip
        margin = 0.2 * float((sum(gains[:3]) - sum(gains[3:])).detach()) / 3
        weight = 1 if sample.harmful else 0.5
        assert losses.metrics["margin"][place].item() == pytest.approx(margin)
        assert losses.values_S[place].item() == pytest.approx(
            weight * math.log1p(math.exp(-margin))
        )


def test_vrpo_prefers_the_refusal_on_harmful_and_the_answer_on_benign_prompts():
    harmful, _, benign = samples_of(VrpoObjective(draws=2))
    refusal = (*REFUSAL, EOS, EOS, EOS)
    answer = EXAMPLE.answer_ids
    assert [c.target_ids for c in harmful.canvases] == [refusal, refusal, answer, answer]
    assert [c.target_ids for c in benign.canvases] == [answer, answer, refusal, refusal]


@pytest.mark.parametrize("size", [0, 1, 3, LENGTH])
@pytest.mark.parametrize("objective", [SftObjective(), A2dObjective(), VrpoObjective(draws=4)])
def test_the_end_behind_a_text_is_not_unlearned(objective, size):
    samples = samples_of(objective, size=size)
    canvases = [canvas for sample in samples for canvas in sample.canvases]
    masked = torch.tensor([canvas.response_ids for canvas in canvases]) == MASK
    # Logits are states, and end-of-text tokens are expected everywhere.
    logits = torch.zeros(len(canvases), LENGTH, VOCABULARY, dtype=torch.float64)
    logits[..., EOS] = 5.0
    head = torch.eye(VOCABULARY, dtype=torch.float64)
    states = ResponseStates(logits.clone().requires_grad_(), logits, head, masked)
    objective.losses(states, samples).values_S.sum().backward()
    for row, canvas in enumerate(canvases):
        end = next((k for k, token in enumerate(canvas.target_ids) if token == EOS), LENGTH)
        # A positive gradient would lower the end's logit.
        assert (states.policy_BLD.grad[row, end:, EOS] <= 0).all()


@pytest.mark.parametrize("objective", [SftObjective(), A2dObjective(), VrpoObjective(draws=2)])
def test_gradients_are_finite_differences(objective):
    samples = samples_of(objective)
    states = states_of(samples)

    def loss(policy_BLD):
        moved = ResponseStates(policy_BLD, states.reference_BLD, states.head_VD, states.masked_BL)
        return objective.losses(moved, samples).values_S.sum()

    assert torch.autograd.gradcheck(loss, states.policy_BLD)


def test_a_batch_holds_every_canvas_of_every_sample(organism_lm):
    samples = samples_of(VrpoObjective(draws=2))
    batch = Collator(organism_lm)(samples)
    assert batch["input_ids"].shape == (12, 2 + LENGTH)
    assert len(batch["samples"]) == 3
