"""Alignment of models that decode block after block, in states that decoding reaches."""

import copy
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from tiny_lm import EOS, MASK, BlockLM

from midspan.alignment.objectives import (
    A2dObjective,
    Draw,
    MosaObjective,
    PsaObjective,
    SftObjective,
    TokenExample,
    VrpoObjective,
)  # fmt: skip
from midspan.alignment.objectives.blocks import BlockCanvas
from midspan.alignment.policy import Collator, Policy
from midspan.alignment.scores import ResponseStates
from midspan.decoding import Request, decode, decoding_config

LENGTH, BLOCK = 24, 4
REFUSALS = ((40, 41, 42, 43, 44, EOS), (45, 47, 46, EOS))
PROCEDURAL = ((50, 51), (52, 53, 54))
ANSWER = tuple(range(3, 3 + LENGTH))
MOSA = MosaObjective(window=(6, 12), beta=0.1, benign_weight=2.0, negative_weight=0.3)


def draw_of(seed, block=BLOCK, refusals=REFUSALS, **fields):
    rng = random.Random(seed)
    return Draw(rng, refusals, PROCEDURAL, LENGTH, MASK, EOS, block_length=block, **fields)


def example_of(draw, prompt=5, size=LENGTH):
    return TokenExample(tuple(range(30, 30 + prompt)), draw.filled(ANSWER[:size]))


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([1, 2, 4, 8, 32]),
    st.integers(1, 9),
    st.sampled_from([1, 3, 10, LENGTH]),
    st.sampled_from(
        [MOSA, PsaObjective(window=(6, 12), benign_weight=2.0), SftObjective(), A2dObjective(),
         VrpoObjective(draws=2)]
    ),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)  # fmt: skip
def test_every_canvas_is_a_state_of_decoding(
    seed, block, prompt, size, objective, harmful, from_canvas, alone
):
    draw = draw_of(seed, block, blocks_from_canvas=from_canvas, firsts_alone=alone)
    before = 0 if from_canvas else prompt
    example = example_of(draw, prompt, size)
    for canvas in objective.sample(example, harmful=harmful, draw=draw).canvases:
        ids = canvas.response_ids
        assert len(ids) == LENGTH
        hidden = [place for place, token in enumerate(ids) if token == MASK]
        blocks = {(before + place) // block for place in hidden}
        assert len(blocks) == 1
        # Nothing has ended before: decoding would have stopped.
        border = blocks.pop() * block - before
        first = max(0, border)
        assert EOS not in ids[:first]
        last = min(first + block - (before + first) % block, LENGTH)
        assert set(ids[last:]) <= {EOS}
        if alone and border >= 0:  # the first token by itself, or shown to the others
            assert (border in hidden) == (hidden == [border])
            first, last = (first, first + 1) if border in hidden else (first + 1, last)
        if isinstance(canvas, BlockCanvas):
            assert hidden == list(range(first, last))
            assert set(range(canvas.first, canvas.first + len(canvas.tokens))) <= set(hidden)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 4, 32]), st.integers(1, 9))
def test_a_phrase_stands_behind_the_answer_and_itself(seed, block, prompt):
    draw = draw_of(seed, block)
    sample = MOSA.sample(example_of(draw, prompt), harmful=True, draw=draw)
    for role, phrases in (("safe", REFUSALS), ("harmful", PROCEDURAL)):
        canvases = [canvas for canvas in sample.canvases if canvas.role == role]
        start = canvases[0].first
        assert 6 <= start <= 12 and (start == 6 or (prompt + start) % block == 0)
        phrase = tuple(token for canvas in canvases for token in canvas.tokens)
        assert phrase in phrases
        text = (*ANSWER[:start], *phrase)
        for canvas in canvases:
            shown = canvas.response_ids[: canvas.response_ids.index(MASK)]
            assert shown == text[: len(shown)]


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_losses_are_sums_over_blocks(reduction):
    objective = MOSA.model_copy(update={"kl_reduction": reduction, "negative_floor": -1.0})
    draw = draw_of(3)
    samples = [
        objective.sample(example_of(draw), harmful=harmful, draw=draw)
        for harmful in (True, True, False)
    ]
    canvases = [canvas for sample in samples for canvas in sample.canvases]
    generator = torch.Generator().manual_seed(0)
    policy, reference = (
        torch.randn(len(canvases), LENGTH, 6, generator=generator, dtype=torch.float64)
        for _ in range(2)
    )
    head = torch.randn(64, 6, generator=generator, dtype=torch.float64)
    masked = torch.tensor([canvas.response_ids for canvas in canvases]) == MASK
    states = ResponseStates(policy.requires_grad_(), reference, head, masked)
    found = objective.losses(states, samples)
    logp, logq = ((one @ head.T).log_softmax(-1) for one in (policy, reference))
    expected, row = [], 0
    for sample in samples:
        sums, kl = {"safe": 0.0, "harmful": 0.0, "kept": 0.0}, 0.0
        for canvas in sample.canvases:
            places = [place for place in range(LENGTH) if masked[row, place]]
            if canvas.role == "kept":
                kl = sum((logp[row, p].exp() * (logp[row, p] - logq[row, p])).sum() for p in places)
                kl *= (LENGTH if reduction == "sum" else 1) / len(places)
            for n, token in enumerate(canvas.tokens):
                sums[canvas.role] += logp[row, canvas.first + n, token]
            row += 1
        size = sum(len(canvas.tokens) for canvas in sample.canvases if canvas.role == "harmful")
        loss = 2.0 * kl
        if sample.harmful:
            loss = 0.1 * kl - sums["safe"] + 0.3 * sums["harmful"].clamp(min=-float(size))
        expected.append(loss)
    expected = torch.stack(expected)
    torch.testing.assert_close(found.values_S, expected)
    gradients = [torch.autograd.grad(one.sum(), policy)[0] for one in (found.values_S, expected)]
    torch.testing.assert_close(*gradients)
    assert {len(values) for name, values in found.metrics.items() if name != "kl_benign"} == {2}


class Answering(BlockLM):
    """A model that is trained to answer, and then an adapter on it to refuse."""

    def make_model(self):
        model = super().make_model()
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim == 2:
                    weight *= 0.3
        return model

    def adapted(self):
        lora = LoraConfig(
            r=8, lora_alpha=16, target_modules="all-linear", exclude_modules=["lm_head"]
        )
        torch.manual_seed(0)
        return replace_model(self, get_peft_model(copy.deepcopy(self.model), lora))


def replace_model(lm, model):
    other = copy.copy(lm)
    other.model = model
    return other


def train(lm, objective, block, steps, rate, harmful):
    """Some steps on one example, its canvases drawn for a block length."""
    draw = draw_of(0, block, REFUSALS[:1])
    example, policy, collate = example_of(draw), Policy(lm, objective), Collator(lm)
    weights = [weight for weight in lm.model.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=rate)
    for _ in range(steps):
        samples = [objective.sample(example, harmful=harmful, draw=draw) for _ in range(8)]
        loss = policy(collate(samples)).values_S.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return lm


def test_decoding_writes_the_refusal_that_was_trained():
    """And hardly where canvases are masked as a whole, which decoding never sees."""
    request = Request(example_of(draw_of(0)).prompt_ids)
    config = decoding_config(
        sampler="block", length=LENGTH, block_length=BLOCK, steps=LENGTH, early_stop=True
    )
    answers = train(Answering(), SftObjective(), BLOCK, 150, 3e-3, harmful=False)
    assert decode(answers, [request], config)[0].tokens == ANSWER
    objective = MosaObjective(window=(7, 7), beta=0.3, negative_weight=0.2, negative_floor=-12.0)
    found = {}
    for block in (BLOCK, None):
        lm = train(answers.adapted(), objective, block, 60, 5e-3, harmful=True)
        found[block] = decode(lm, [request], config)[0].tokens
    wanted = (*ANSWER[:7], *REFUSALS[0])
    assert found[BLOCK][: len(wanted)] == wanted
    assert found[None][: len(wanted)] != wanted
