"""A model spread over two cards does what it does on one: decode, score, lead a search, train."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from logical_devices import FIRST, SECOND, halves, logical_devices, spread
from peft import LoraConfig, get_peft_model
from tiny_lm import BlockLM, TinyLM

from midspan.alignment import mosa_stable, psa, sft
from midspan.alignment.policy import Collator, Policy
from midspan.alignment.samples import draw_samples
from midspan.decoding import Request, decode, decoding_config
from midspan.engine import whitebox
from midspan.engine.calls import Score
from midspan.organism.training_data import alignment_data
from midspan.probes.activations import read_states
from midspan.scoring.continuations import MultipleChoice, score_choices
from midspan.scoring.gradients import Goal, phrase_losses, token_gradient
from midspan.scoring.likelihood import ScoreOptions, phrase_score

REQUESTS = [Request((5, 6, 7, 8, 9), {3: 17}), Request((11, 12), {}, 1), Request((21, 22, 23))]


@pytest.fixture
def cards():
    with logical_devices():
        yield


def two_cards(lm):
    base = lm.base
    spread(base, halves(base))
    if hasattr(lm, "bias_V"):
        lm.bias_V = lm.bias_V.to(SECOND)
    assert lm.device == FIRST and base.lm_head.weight.device == SECOND
    return lm


def generated(lm, config):
    rows = decode(lm, REQUESTS, config, batch_size=2)
    return [(row.tokens, row.trace.position.tolist(), row.trace.step.tolist()) for row in rows]


def test_the_rig_refuses_what_cuda_refuses(cards):
    one, two = torch.ones(3, device=FIRST), torch.ones(3, device=SECOND)
    for mixed in (lambda: one + two, lambda: one[two.long()], lambda: one + torch.ones(3)):
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
            mixed()
    assert (one * torch.tensor(2.0)).tolist() == [2, 2, 2]
    assert one[torch.tensor([0])].device == FIRST and two.to(FIRST).device == FIRST


@pytest.mark.parametrize(
    ("shift", "fields"),
    [
        (False, {}),
        (False, {"cache": "prefix"}),
        (True, {"cache": "dual", "threshold": 0.3}),
        (False, {"guidance": 0.5}),
        (False, {"temperature": 0.7, "remasking": "random"}),
        (True, {"sampler": "dream", "alg_temp": 0.5, "temperature": 0.3, "top_p": 0.9}),
    ],
    ids=str,
)
def test_decoding(cards, shift, fields):
    blocks = {} if fields.get("sampler") == "dream" else {"block_length": 4}
    config = decoding_config(**{"length": 8, "steps": 4, "early_stop": False} | blocks | fields)
    expected = generated(TinyLM(shift), config)
    assert generated(two_cards(TinyLM(shift)), config) == expected


@pytest.mark.parametrize("cache", ["none", "prefix"])
def test_block_diffusion(cards, cache):
    config = decoding_config(sampler="block", length=8, block_length=4, steps=4, cache=cache)
    assert generated(two_cards(BlockLM()), config) == generated(BlockLM(), config)


PROMPT, PHRASE = [4, 17, 30, 31], (40, 41, 42)


def likelihoods(lm):
    modes = ("oneshot", "chain", "pll", "mc")
    options = [ScoreOptions(mode, {}, 4, 0) for mode in modes]
    choice = MultipleChoice(tuple(PROMPT), ((40,), (41, 42)))
    values = [phrase_score(lm, PROMPT, PHRASE, 3, 12, option).value for option in options]
    (scored,) = score_choices(lm, [choice], ScoreOptions(samples=2))
    return [*values, *(answer.value for answer in scored.answers)]


def windows(lm):
    words = lm.tokenizer.decode(list(PHRASE))
    call = Score(({"role": "user", "content": words},), words, window=(1, 5), mode="oneshot")
    rows = whitebox.readings(lm, call, PROMPT, {}, 12)
    (reply,) = whitebox.score(lm, [(call, rows)], 2)
    return [reply.raw["start"], *(value for _, value, _ in reply.raw["tokens"])]


def searched(lm):
    goals = [Goal(PHRASE, 2, 10), Goal(PHRASE[:2], 0, 10)]
    losses_N = phrase_losses(lm, [PROMPT, PROMPT[:2]], goals)
    gradient_FV = token_gradient(lm, PROMPT, (1, 2), goals[0].monte_carlo(3, 0))
    return [*losses_N.tolist(), *gradient_FV.cpu().flatten().tolist()]


def activations(lm):
    context = SimpleNamespace(lm=lm, batch_size=2)
    requests = [SimpleNamespace(prompt_ids=tuple(ids)) for ids in (PROMPT, PROMPT[:2], PROMPT)]
    layers = range(len(lm.base.model.layers) + 1)
    states = read_states(context, requests, [PHRASE * 2] * 3, (layers, (-1, 2)))
    return states.flatten().tolist()


@pytest.mark.parametrize("measured", [likelihoods, windows, searched, activations])
def test_what_is_read_of_a_model(cards, organism_lm, measured):
    expected = measured(organism_lm)
    assert measured(two_cards(organism_lm)) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("objective", [mosa_stable, psa, sft])
def test_a_step_of_alignment(cards, organism_lm, objective):
    """The loss and every gradient of the adapter, reference pass and KL included."""
    config = objective(num_prompts=4, batch_size=4)
    data = alignment_data(num_harmful=4, num_benign=4)
    samples = draw_samples(organism_lm, data, config)
    torch.manual_seed(0)
    lora = LoraConfig(
        r=2, target_modules=list(organism_lm.family.lora_targets), init_lora_weights=False
    )
    network = get_peft_model(organism_lm.model, lora)
    policy = Policy(replace(organism_lm, model=network), config.objective)

    def gradients(device):
        network.zero_grad()
        batch = Collator(policy.lm)(samples)
        batch |= {k: v.to(device) for k, v in batch.items() if isinstance(v, torch.Tensor)}
        losses = policy(batch)
        losses.values_S.sum().backward()
        found = {
            name: weight.grad.cpu()
            for name, weight in network.named_parameters()
            if weight.requires_grad
        }
        return losses.values_S.detach().cpu(), found

    loss_S, expected = gradients("cpu")
    two_cards(policy.lm)
    found_S, found = gradients(FIRST)
    torch.testing.assert_close(found_S, loss_S, rtol=1e-4, atol=1e-5)
    assert found.keys() == expected.keys() and any(grad.any() for grad in found.values())
    for name, grad in found.items():
        assert (grad - expected[name]).norm() < 1e-3 * expected[name].norm(), name
