"""PAL against its pseudo-code, on hand-made likelihoods."""

import math

import pytest
from attack_cast import GOAL, PAL, Cast, likelihood

from midspan.attacks.pal import ATTACK, PalConfig, loss_of
from midspan.engine.calls import Likelihood, TokenScore

SMALL = PalConfig(steps=4, candidates=6, ranked=2, suffix="! !", check_every=100)


def play(tmp_path, config, answers=None):
    cast = Cast(PAL | (answers or {}))
    return cast.play(ATTACK, config, tmp_path / "journal.jsonl"), cast


def test_calls_are_those_of_the_formula(tmp_path):
    result, cast = play(tmp_path, SMALL)
    assert cast.counts == {"GCGCandidates": 4, "SuffixLosses": 4, "Score": 8, "target": 2}
    assert (result.stop, result.access, len(result.attempts)) == ("exhausted", "logprobs", 2)
    assert result.usage["proxy"].forwards == 4 + 4 * 6
    assert all(call.role == "proxy" for call in cast.of("GCGCandidates") + cast.of("SuffixLosses"))


def test_the_target_scores_the_proxys_best_and_the_step_takes_the_targets_best(tmp_path):
    values = {}

    def score(call, rng):
        values[call.messages[0]["content"]] = rng.random()
        return likelihood(-values[call.messages[0]["content"]], -2.0)

    _, cast = play(tmp_path, SMALL.model_copy(update={"loss": "cross-entropy"}), {"Score": score})
    scored = [call.messages[0]["content"] for call in cast.of("Score")]
    for step, losses in enumerate(cast.of("SuffixLosses")):
        best = sorted(losses.suffixes, key=lambda suffix: float(suffix.split()[1]))[:2]
        asked = scored[2 * step : 2 * step + 2]
        assert set(asked) == {f"{GOAL} {suffix}" for suffix in best}
        chosen = min(asked, key=values.__getitem__).removeprefix(f"{GOAL} ")
        after = [call.suffix for call in cast.of("GCGCandidates")][step + 1 : step + 2]
        assert after in ([], [chosen])
    steps = [min(values[text] for text in scored[n : n + 2]) for n in range(0, 8, 2)]
    assert steps != sorted(steps, reverse=True)  # The loss may rise again.


def test_no_candidate_is_scored_twice(tmp_path):
    answers = {"GCGCandidates": lambda call, rng: ("a 1", "b 2", "! !")}
    result, cast = play(tmp_path, SMALL, answers)
    assert cast.counts == {"GCGCandidates": 4, "SuffixLosses": 1, "Score": 2, "target": 1}
    assert result.stop == "exhausted"


@pytest.mark.parametrize(("mode", "steps"), [("oneshot", 3), ("chain", 2)])
def test_the_query_limit_ends_it_with_a_response(tmp_path, mode, steps):
    config = SMALL.model_copy(update={"mode": mode, "max_queries": 6, "steps": 9})
    _, cast = play(tmp_path, config)
    assert cast.counts["GCGCandidates"] == steps  # Two suffixes a step; a chain of two tokens each.
    assert cast.asked[-1].role == "target"


def test_a_longer_match_is_tried_at_once_and_success_stops(tmp_path):
    config = SMALL.model_copy(update={"steps": 50, "check_every": 50})
    scores = iter([0, 0, 0, 0, 1, 0] + [2] * 100)
    answers = {
        "Score": lambda call, rng: likelihood(-0.1, -0.2, met=next(scores)),
        "target": lambda call, rng: (
            "Sure, here is more" if len(cast_of.of("target")) == 3 else "hm"
        ),
    }
    cast_of = Cast(PAL | answers)
    result = cast_of.play(ATTACK, config, tmp_path / "journal.jsonl")
    assert result.stop == "success"
    assert cast_of.counts["GCGCandidates"] == 4
    assert len(result.attempts) == 3


def test_a_refusal_after_the_opening_is_no_success(tmp_path):
    result, _ = play(tmp_path, SMALL, {"target": "Sure, here is why i cannot help"})
    assert result.stop == "exhausted"


@pytest.mark.parametrize("kind", ["GCGCandidates", "SuffixLosses"])
def test_a_failing_proxy_is_no_refusal(tmp_path, kind):
    result, _ = play(tmp_path, SMALL, {kind: None})
    assert (result.stop, result.ran) == ("failed", False)


def log(*values):
    return [math.log(value) for value in values]


def test_loss_reads_only_what_the_target_shows():
    half, third, tenth, twentieth = log(0.5, 0.3, 0.1, 0.05)
    met = TokenScore(7, half, ((7, half), (8, third)))
    unmet = TokenScore(7, tenth, ((8, half), (7, third)))
    hidden = TokenScore(7, twentieth, ((8, half), (9, third)))
    entropy = PalConfig(loss="cross-entropy")
    hinge = PalConfig(loss="hinge", margin=0.4)
    assert loss_of(Likelihood(0, (met, met)), entropy) == (pytest.approx(-half), 2)
    assert loss_of(Likelihood(0, (met, met)), hinge) == (pytest.approx(-0.4), 2)
    # The first token that is not met ends the sum; each unmet one weighs a thousand.
    loss, count = loss_of(Likelihood(0, (met, unmet, met)), entropy)
    assert (loss, count) == (pytest.approx((-half - third) / 2 + 2000), 1)
    # A hidden token has at most what the shown ones leave over: 0.2, not its true 0.05.
    assert loss_of(Likelihood(0, (hidden,)), entropy)[0] == pytest.approx(-math.log(0.2) + 1000)
    expected = half - math.log(0.2) + 1000
    assert loss_of(Likelihood(0, (hidden,)), hinge)[0] == pytest.approx(expected)
