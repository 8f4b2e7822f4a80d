"""DiffuGuard against a naive loop over one row."""

import dataclasses

import pytest
import torch

from midspan.decoding import Request, as_rule, decode, decoding_config
from midspan.decoding.hooks import View
from midspan.engine.calls import Chat, user
from midspan.engine.local import LocalRole

LENGTH, BLOCK, STEPS = 16, 8, 8


def chance(step, position):
    """What stands in for the draws: any fixed table will do."""
    return ((step * 37 + position * 101) % 97) / 97


@pytest.fixture(autouse=True)
def known_draws(monkeypatch):
    def uniform(view, position_AR):
        rows = zip(view.step_A, position_AR.tolist(), strict=True)
        return torch.tensor([[chance(step, p) for p in positions] for step, positions in rows])

    monkeypatch.setattr(View, "uniform", uniform)


@torch.no_grad()
def naive(lm, request, rule, steps=STEPS):
    """Tokens, forwards, and the distance of the audit."""
    prompt, mask = list(request.prompt_ids), lm.tokens.mask
    canvas = [request.anchors.get(p, mask) for p in range(LENGTH)]
    distance = 1 - torch.cosine_similarity(
        lm.hidden(torch.tensor([prompt]))[0].mean(0),
        lm.hidden(torch.tensor([prompt + canvas]))[0, len(prompt) : len(prompt) + BLOCK].mean(0),
        dim=0,
    )
    forwards = 0

    def predicted(penalties):
        logits_LV = lm.logits(torch.tensor([prompt + canvas]))[0, len(prompt) :].clone()
        logits_LV[:, mask] = -torch.inf
        for run in lm.unspelled:
            logits_LV[:, run.start : run.stop] = -torch.inf
        for position, token in penalties.items():
            logits_LV[position, token] -= rule.penalty
        return logits_LV.softmax(-1).max(-1)

    per_block = steps // (LENGTH // BLOCK)
    for start in range(0, LENGTH, BLOCK):
        block = range(start, start + BLOCK)
        left = [p for p in block if canvas[p] == mask]
        share, rest = divmod(len(left), per_block)
        for step in range(per_block):
            count = share + (step < rest)
            if not count:
                continue
            a = rule.alpha * (1 - step / (per_block - 1))
            best = predicted({})
            score = {
                p: (1 - a) * float(best.values[p]) + a * chance(forwards, p)
                for p in block if canvas[p] == mask
            }  # fmt: skip
            for p in sorted(score, key=lambda p: (-score[p], p))[:count]:
                canvas[p] = int(best.indices[p])
            forwards += 1
        if start == 0 and rule.threshold is not None and distance >= rule.threshold:
            own = [p for p in block if p not in request.anchors]
            again = sorted(own, key=lambda p: chance(forwards, p))[: int(len(own) * rule.share)]
            old = {p: canvas[p] for p in again}
            for p in again:
                canvas[p] = mask
            for left_steps in range(rule.steps, 0, -1):
                again = [p for p in block if canvas[p] == mask]
                if not again:
                    break
                best = predicted(old)
                order = sorted(again, key=lambda p: (-float(best.values[p]), p))
                for p in order[: -(-len(again) // left_steps)]:
                    canvas[p] = int(best.indices[p])
                forwards += 1
            assert all(canvas[p] != token for p, token in old.items())
    return tuple(canvas), forwards, float(distance)


@pytest.fixture
def requests(organism_lm):
    texts = ("how do i make the lomthorn lantern ?", "is the sky blue ?")
    rows = [Request(tuple(organism_lm.encode_chat(text))) for text in texts]
    return [*rows, dataclasses.replace(rows[0], anchors={0: rows[1].prompt_ids[-2], 5: 40})]


def config_of(*rules, **fields):
    plain = {"length": LENGTH, "block_length": BLOCK, "steps": STEPS, "early_stop": False}
    return decoding_config(**{**plain, **fields}, rules=rules)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"threshold": 0.0},
        {"threshold": 0.0, "share": 0.5, "steps": 3, "alpha": 0.0},
        {"threshold": 2.0, "alpha": 1.0},
        {"threshold": None},
    ],
)
def test_it_is_the_naive_loop(organism_lm, requests, fields):
    rule = as_rule({"rule": "diffuguard", **fields})
    plain = decode(organism_lm, requests, config_of())
    found = decode(organism_lm, requests, config_of(rule))
    assert [one.tokens for one in found] != [one.tokens for one in plain]
    for request, one in zip(requests, found, strict=True):
        tokens, forwards, _ = naive(organism_lm, request, rule)
        assert one.tokens == tokens
        assert one.forwards == forwards + int(rule.threshold is not None), request.anchors
        assert all(one.tokens[p] == token for p, token in request.anchors.items())
    # As a request's own rule it acts on this one alone.
    own = [dataclasses.replace(requests[0], rules=(rule,)), requests[1]]
    alone, beside = decode(organism_lm, own, config_of())
    assert (alone.tokens, beside.tokens) == (found[0].tokens, plain[1].tokens)


def test_the_threshold_is_of_the_distance_to_the_plain_request(organism_lm, requests):
    *_, distance = naive(organism_lm, requests[0], as_rule("diffuguard"))
    forwards = {}
    for name, threshold in (("below", distance - 1e-4), ("above", distance + 1e-4)):
        rule = as_rule({"rule": "diffuguard", "threshold": threshold})
        forwards[name] = decode(organism_lm, requests[:1], config_of(rule))[0].forwards
    assert forwards["below"] > forwards["above"] == STEPS + 1
    # Behind another prompt, the plain request given in full leads to the same prompt's mean.
    text = "how do i make the lomthorn lantern ?"
    ids = torch.tensor([organism_lm.encode_chat(text)])
    prompt = list(requests[1].prompt_ids)
    masked = torch.tensor([prompt + [organism_lm.tokens.mask] * LENGTH])
    with torch.no_grad():
        block_D = organism_lm.hidden(masked)[0, len(prompt) : len(prompt) + BLOCK].mean(0)
        baseline_D = organism_lm.hidden(ids)[0].mean(0)
    distance = float(1 - torch.cosine_similarity(block_D, baseline_D, dim=0))
    for threshold, is_repaired in ((distance - 1e-4, True), (distance + 1e-4, False)):
        rule = as_rule({"rule": "diffuguard", "threshold": threshold, "request": text})
        (found,) = decode(organism_lm, requests[1:2], config_of(rule))
        assert (found.forwards > STEPS + 1) is is_repaired


def test_a_text_that_ends_early_is_repaired_before_it_leaves(organism_lm, requests):
    end = organism_lm.tokens.eos
    request = dataclasses.replace(requests[0], anchors={1: end})
    early = config_of(steps=LENGTH, early_stop=True)
    guarded = early.model_copy(
        update={"rules": (as_rule({"rule": "diffuguard", "threshold": 0.0, "alpha": 0.0}),)}
    )
    plain, found = (decode(organism_lm, [request], config)[0] for config in (early, guarded))
    assert plain.stopped_early and plain.tokens[0] != organism_lm.tokens.mask
    assert found.forwards > plain.forwards + 1
    assert found.tokens[0] != plain.tokens[0] and found.tokens[1] == end


def test_draws_are_a_requests_own(organism_lm, requests, monkeypatch):
    monkeypatch.undo()
    rule = as_rule({"rule": "diffuguard", "alpha": 1.0, "threshold": 0.0})
    config = config_of(rule)
    assert config.is_random and not config_of("past_end").is_random
    seeded = [dataclasses.replace(requests[0], seed=seed) for seed in (1, 2, 1)]
    first, second, third = decode(organism_lm, seeded, config)
    assert first.tokens == third.tokens
    assert first.trace.position.tolist() != second.trace.position.tolist()
    assert first.tokens == decode(organism_lm, seeded[:1], config)[0].tokens


def test_a_call_with_it_is_given_a_seed(organism_lm):
    role = LocalRole(organism_lm, config_of())
    asked = (user("hello ."),)
    assert role.draws(Chat("target", asked, rules=(as_rule("diffuguard"),)))
    assert not role.draws(Chat("target", asked, rules=(as_rule("past_end"),)))
