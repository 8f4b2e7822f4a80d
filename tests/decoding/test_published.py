import pytest
import torch
from tiny_lm import EOS, EOT, ScriptedLM

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
