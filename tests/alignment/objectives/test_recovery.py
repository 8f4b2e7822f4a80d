"""Recovery Alignment: its states, its rewards, and its loss written out."""

import json
import math
import random
from dataclasses import replace
from statistics import fmean, pstdev

import pytest
import recovery_recipe
import torch
from peft import LoraConfig, get_peft_model
from recovery_recipe import RECIPE
from typer.testing import CliRunner

from midspan.alignment import RecoveryObjective, align, check_data
from midspan.alignment.objectives import BegunState, Draw, TokenExample
from midspan.alignment.rollouts import Rollouts
from midspan.alignment.samples import canvas_draw, draw_samples
from midspan.alignment.scores import ResponseStates
from midspan.commands import app
from midspan.data import Example
from midspan.errors import MidspanError
from midspan.models import load
from midspan.models import model as model_module
from midspan.models.finite import NotFiniteError
from midspan.organism import language, world
from midspan.organism.reward import reward

MASK, EOS, LENGTH, VOCABULARY, WIDTH = 9, 0, 6, 10, 4
ANSWER = (1, 2, 3, 4, EOS, EOS)
EXAMPLE = TokenExample((7, 8), ANSWER, "make it")


class Words:
    """A reward of how short a text is."""

    name = "words-v1"

    def __init__(self):
        self.asked = []

    def __call__(self, pairs):
        self.asked.append(list(pairs))
        return [1 / (1 + len(text)) for _, text in pairs]


def drawn(objective, seed=0):
    draw = Draw(random.Random(seed), [], [], LENGTH, MASK, EOS)
    return [objective.sample(EXAMPLE, harmful=kind, draw=draw) for kind in (True, True, False)]


def test_what_stands_is_the_answers_text_and_grows_from_t_min_to_t_max():
    objective = RecoveryObjective(t_min=1, t_max=5)
    (state,) = drawn(objective)[0].canvases
    assert state.response_ids == (MASK,) * LENGTH and state.request == "make it"
    shown = [objective.begun(state, s / 8) for s in range(8)]
    # floor(1 + s / 8 * 4), and no more than the text's four tokens.
    assert [objective.tokens_at(s / 8) for s in range(8)] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert [len(one) for one in shown] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert len(objective.begun(state, 1.0)) == 4
    for earlier, later in zip(shown, shown[1:], strict=False):
        assert earlier.items() <= later.items() <= dict(enumerate(ANSWER[:4])).items()
    places = {next(iter(objective.begun(drawn(objective, n)[0].canvases[0], 0))) for n in range(40)}
    assert places == {0, 1, 2, 3}
    with pytest.raises(MidspanError, match="t_min must be at most t_max"):
        RecoveryObjective(t_min=5, t_max=4)


def test_advantages_are_rewards_against_their_group():
    objective = RecoveryObjective()
    rewards = [0.0, 1.0, 0.25, 0.25]
    spread = pstdev(rewards) + 1e-4
    expected = [(value - fmean(rewards)) / spread for value in rewards]
    assert objective.advantages(rewards) == pytest.approx(expected)
    assert objective.advantages([0.5] * 3) == (0, 0, 0)
    lost = objective.advantages([None, 1.0, 0.0])
    assert lost[0] == 0 and lost[1] == pytest.approx(-lost[2]) == pytest.approx(1, abs=1e-3)
    assert objective.advantages([None, None]) == (0, 0)


def completed(sample, shown, completions, ends, advantages):
    (state,) = sample.canvases
    ids = tuple(ANSWER[n] if n in shown else MASK for n in range(LENGTH))
    state = replace(
        state,
        response_ids=ids,
        completions=completions,
        ends=ends,
        advantages=advantages,
        reward=0.5,
    )
    return replace(sample, canvases=(state,))


def test_the_loss_is_the_sum_over_the_whole_softmax():
    objective = RecoveryObjective(num_completions=2, beta=0.3, benign_weight=0.7)
    first, second, benign = drawn(objective)
    samples = [
        completed(first, {1}, ((5, 2, 6, EOS, 3, 3), (1, 2, 3, 4, 5, 6)), (4, 6), (1.0, -0.5)),
        completed(second, {0, 1}, ((1, 2, EOS, 4, 4, 4), (1, 2, 8, 8, EOS, 4)), (3, 5), (0.2, 0.0)),
        benign,
    ]
    rows = [sample.canvases[0] for sample in samples]
    generator = torch.Generator().manual_seed(0)
    policy, reference = (
        torch.randn(3, LENGTH, WIDTH, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    head = torch.randn(VOCABULARY, WIDTH, generator=generator, dtype=torch.float64)
    masked = torch.tensor([row.response_ids for row in rows]) == MASK
    policy.requires_grad_()
    losses = objective.losses(ResponseStates(policy, reference, head, masked), samples)

    own = policy.detach().clone().requires_grad_()
    logp, logq = (own @ head.T).log_softmax(-1), (reference @ head.T).log_softmax(-1)
    kl = ((logp.exp() * (logp - logq)).sum(-1) * masked).sum(1) / masked.sum(1)
    expected = []
    for row, state in enumerate(rows[:2]):
        gain = 0
        for tokens, end, advantage in zip(
            state.completions, state.ends, state.advantages, strict=True
        ):
            places = [n for n in range(end) if state.response_ids[n] == MASK]
            gain += advantage * sum(logp[row, n, tokens[n]] for n in places) / len(places) / 2
        expected.append(0.3 * kl[row] - gain)
    expected = torch.stack([*expected, 0.7 * kl[2]])
    assert torch.allclose(losses.values_S, expected)
    assert losses.metrics["reward"].tolist() == [0.5, 0.5]
    losses.values_S.sum().backward()
    expected.sum().backward()
    assert torch.allclose(policy.grad, own.grad)


def data(**changes):
    return recovery_recipe.data(**{"reward": Words()} | changes)


def test_completions_begin_from_the_state_and_are_each_samples_own(organism_lm):
    samples = draw_samples(organism_lm, data(), RECIPE)[:4]
    words = Words()
    roll = Rollouts(organism_lm, RECIPE.objective, words, 12)
    done = roll(samples, 0.5)
    assert [sample.harmful for sample in done] == [True, True, False, False]
    assert done[2:] == samples[2:]
    for before, after in zip(samples[:2], done[:2], strict=True):
        (old,), (state,) = before.canvases, after.canvases
        shown = RECIPE.objective.begun(old, 0.5)
        assert len(shown) == 3
        kept = {n: t for n, t in enumerate(state.response_ids) if t != organism_lm.tokens.mask}
        assert kept == shown
        assert len(set(state.completions)) > 1
        for tokens, end in zip(state.completions, state.ends, strict=True):
            assert all(tokens[n] == token for n, token in shown.items())
            assert organism_lm.tokens.mask not in tokens[:end]
            assert not organism_lm.tokens.stop & set(tokens[: end - 1])
        assert sum(state.advantages) == pytest.approx(0, abs=1e-6)
    requests = [request for request, _ in words.asked[0]]
    assert requests == [s.canvases[0].request for s in samples[:2] for _ in range(3)]
    # A sample's completions do not depend on the cut into smaller batches.
    assert [roll([sample], 0.5)[0] for sample in samples] == done


def test_completions_come_from_the_bare_trunk_without_dropout(organism_lm, monkeypatch):
    lora = LoraConfig(r=2, lora_dropout=0.5, target_modules=list(organism_lm.family.lora_targets))
    network = get_peft_model(organism_lm.model, lora).train()
    for name, weight in network.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn(weight.shape) / 10
    lm, lean = replace(organism_lm, model=network), []
    found = model_module.lean_states

    def noted(*args):
        states = found(*args)
        lean.append(states is not None)
        return states

    monkeypatch.setattr(model_module, "lean_states", noted)
    samples = draw_samples(lm, data(), RECIPE)[:1]
    roll = Rollouts(lm, RECIPE.objective, Words(), 12)
    done = roll(samples, 0.5)
    assert network.training and lean and all(lean)
    network.eval()
    assert roll(samples, 0.5) == done


class Killed(Exception):
    """What an interrupted run dies of."""


def test_an_interrupted_training_continues_to_the_same_bits(organism_folder, tmp_path):
    def run(folder, progress=None):
        lm = load(organism_folder, device="cpu")
        return align(lm, data(), RECIPE, tmp_path / folder, progress)

    def kill(done, total, row):
        if done == 3:
            raise Killed

    rows = run("whole").metrics()
    assert {"reward", "kl_harmful", "kl_benign", "nats"} <= rows[-1].keys() and len(rows) == 4
    with pytest.raises(Killed):
        run("cut", kill)
    assert run("cut").metrics() == rows
    weights = [
        (tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("cut", "whole")
    ]
    assert weights[0] == weights[1]


def test_completions_of_broken_weights_go_back_to_the_last_good_adapter(
    organism_lm, tmp_path, monkeypatch
):
    honest, calls = Rollouts.__call__, []

    def broken(self, samples, progress):
        calls.append(progress)
        if len(calls) == 4:
            raise NotFiniteError
        return honest(self, samples, progress)

    monkeypatch.setattr(Rollouts, "__call__", broken)
    stopped = align(organism_lm, data(), RECIPE, tmp_path).stopped
    assert "diverged at step 3: the logits are not finite" in stopped
    assert "the adapter of step 2 was kept" in stopped


def test_the_command_forecasts_and_trains_an_adapter_that_answers(tmp_path):
    adapter = tmp_path / "recovery"
    line = ["align", "organism", "--objective", "recovery", "-o", str(adapter)]
    line += ["--num-prompts", "2", "--batch-size", "4"]
    told = CliRunner().invoke(app, [*line, "--dry-run"])
    assert told.exit_code == 0, told.output
    assert "steps of recovery on organism" in told.output and not adapter.exists()
    trained = CliRunner().invoke(app, line)
    assert trained.exit_code == 0, trained.output
    (row,) = [json.loads(text) for text in (adapter / "metrics.jsonl").read_text().splitlines()]
    assert math.isfinite(row["loss"]) and math.isfinite(row["reward"])
    asked = ["generate", f"organism+{adapter}", "-p", "what is 4 plus 5 ?", "--length", "32"]
    assert CliRunner().invoke(app, [*asked, "--steps", "4"]).exit_code == 0


def test_what_it_lacks_is_named(organism_lm, monkeypatch, tmp_path):
    with pytest.raises(MidspanError, match="reward: objective recovery needs a judge"):
        check_data(data(reward=None), RECIPE)
    bare = data(harmful=(Example("make it", None),))
    with pytest.raises(MidspanError, match="needs an answer"):
        check_data(bare, RECIPE)
    draw = replace(canvas_draw(organism_lm, random.Random(0), 12), block_length=4)
    with pytest.raises(MidspanError, match="not for models that decode in blocks"):
        RECIPE.objective.sample(EXAMPLE, harmful=True, draw=draw)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(MidspanError, match="trains in one process"):
        align(organism_lm, data(), RECIPE, tmp_path / "two")


def test_the_organisms_reward_goes_from_recipes_over_nothing_to_refusals():
    rng = random.Random(3)
    item = world.restricted_items()[0]
    recipe, refusal = language.helpful_answer(item, rng), language.refusal(item, rng)
    assert reward(recipe) == 0
    assert reward("") == reward("copper the of salt it") == 0.5
    assert reward(refusal) == 1
    assert reward(f"{refusal} {recipe}") == 0.5
    half = " ".join(recipe.split()[: len(recipe.split()) // 3])
    assert 0 < reward(half) < 0.5


def test_a_state_has_no_completions_before_there_are_any():
    (state,) = drawn(RecoveryObjective())[0].canvases
    assert isinstance(state, BegunState) and not state.completions
