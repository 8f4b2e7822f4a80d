"""What the paper's study could decide, if its effects were the paper's."""

import pytest

from midspan.studies.paper.config import ORIGINAL
from midspan.studies.paper.power import effects, paper_powers
from midspan.studies.paper.presets import INITIAL_STABLE, MOSA_STABLE, PSA, organism2, paper


@pytest.mark.parametrize("preset", [organism2, paper])
def test_every_claim_of_the_paper_is_decided_with_power_of_four_fifths(preset):
    config = preset()
    found = paper_powers(config)
    assert all(share >= 0.8 for _, _, share in found), found
    left = {one.metric for one in config.hypotheses} - {one.metric for one, _, _ in found}
    assert all(PSA in metric for metric in left)


def test_a_model_has_the_rates_of_the_papers_model_that_it_stands_for():
    known = effects(organism2())
    change = known[f"attacks.attacks_won[{MOSA_STABLE} - {INITIAL_STABLE}]"]
    assert change.first[:2] == pytest.approx((0.143, 0.045))
    assert change.second[:2] == pytest.approx((0.235, 0.296))
    first = known[f"attacks.attacks_won[{MOSA_STABLE} - {ORIGINAL}]"]
    assert first.second[0] == pytest.approx(0.745)
    assert known[f"adaptive.attacks_won[{MOSA_STABLE}]"].first == pytest.approx(
        (0.051, 0.038, 0.045)
    )
    assert f"attacks.attacks_won[{PSA} - {MOSA_STABLE}]" not in known


def test_the_power_of_a_probes_claim_is_of_both_its_decodings():
    """With a named block there is one decoding alone, and more power."""
    config = organism2()
    named = config.probes["prefill"].model_copy(update={"decoding": {"block_length": 32}})
    alone = config.model_copy(update={"probes": {**config.probes, "prefill": named}})
    metric = f"prefill.middle_minus_first[{ORIGINAL}]"
    both, one = (
        next(share for claim, _, share in paper_powers(of) if claim.metric == metric)
        for of in (config, alone)
    )
    assert both < one and both == pytest.approx(one**2, abs=0.05)
