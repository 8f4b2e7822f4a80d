import pytest
import torch
from tiny_lm import EOS, EOT, MASK, ScriptedLM, TinyLM

from midspan.decoding import Request, decode, decoding_config


def first_confidences(temperature, compatibility):
    """Confidence of EOS, EOT and an ordinary token where EOS policy hides the end tokens."""
    lm = ScriptedLM(1, [(EOS, 30.0), (EOT, 30.0), (9, 30.0)])
    config = decoding_config(
        length=3, steps=1, temperature=temperature, eos_policy="suppress_confidence",
        early_stop=False, compatibility=compatibility,
    )  # fmt: skip
    trace = decode(lm, [Request((5,))], config)[0].trace
    assert trace.token.tolist() == [EOS, EOT, 9]
    return [round(value, 3) for value in trace.confidence.tolist()]


@pytest.mark.parametrize("compatibility", [False, True])
def test_greedy_confidence_leaves_out_both_end_tokens(compatibility):
    assert first_confidences(0.0, compatibility) == [0.0, 0.0, 1.0]


def test_published_sampling_forgets_to_leave_out_eos():
    torch.manual_seed(0)
    assert first_confidences(0.5, compatibility=True) == [1.0, 0.0, 1.0]
    assert first_confidences(0.5, compatibility=False) == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("remasking", ["low_confidence", "random"])
def test_published_sampling_has_the_distribution_of_ours(remasking):
    lm = ScriptedLM(1, [(9, 5.0)] * 24)
    config = {"length": 24, "steps": 24, "temperature": 1.4, "remasking": remasking}
    requests = [Request((5,), seed=seed) for seed in range(60)]
    torch.manual_seed(0)
    shares = []
    for compatibility in (True, False):
        found = decode(lm, requests, decoding_config(**config, compatibility=compatibility))
        tokens = [token for generation in found for token in generation.tokens]
        shares.append(tokens.count(9) / len(tokens))
    assert shares[0] == pytest.approx(shares[1], abs=0.05)


@pytest.mark.parametrize(
    "fields",
    [
        {"top_k": 2}, {"top_k": 5, "remasking": "margin"}, {"top_k": 100}, {"top_p": 1.0},
        {"top_p": 0.95, "remasking": "entropy"}, {"top_p": 0.95, "top_k": 20},
        {"sampler": "llada", "block_length": 4, "steps": 4}, {"sampler": "llada", "guidance": 0.5},
        {"sampler": "llada", "eos_policy": "suppress_logits"},
    ],
    ids=str,
)  # fmt: skip
def test_where_nothing_is_drawn_the_published_samplers_are_ours(fields):
    # Neither chooses the mask: where a model prefers it, the published samplers leave it open.
    lm = TinyLM(bias={MASK: -1e4, EOS: 2.0})
    fields = {"sampler": "dream", "length": 8, "steps": 5} | fields
    if fields["sampler"] == "llada" and "block_length" not in fields:
        fields["steps"] = 8
    found = [
        decode(lm, [Request((5, 6, 7))], decoding_config(**fields, **how))[0]
        for how in ({"compatibility": True}, {"early_stop": False})
    ]
    published, ours = (generation.trace for generation in found)
    assert found[0].tokens == found[1].tokens
    assert published.step.tolist() == ours.step.tolist()
    if "remasking" not in fields:  # Elsewhere theirs is the score of the rule.
        assert published.confidence.tolist() == pytest.approx(ours.confidence.tolist(), abs=1e-5)
