"""The demo's ten claims from records by hand, and their powers against exact sums."""

from pathlib import Path

from midspan.studies.organism.demo.cases import ATTEMPTS, DemoSizes
from midspan.studies.organism.demo.claims import METRICS, demo_claims, demo_hypotheses
from midspan.studies.organism.demo.power import ASSUMED
from midspan.studies.organism.results import Results
from midspan.studies.power import (
    powers,
)

HERE = "trained-mosa-stable"


def record(model, cell, number, success, refusal=False, attempt=""):
    return {
        "model": model, "decoding": "one block", "cell": cell, "id": f"{cell}/{number}{attempt}",
        "behavior": f"{cell}/{number}", "held_out_item": False,
        "verdict": {"success": success, "refusal": refusal, "coherent": True},
    }  # fmt: skip


def claims_for(fell, first=0.0, count=200, planned=0, refusals=0):
    """`fell` behaviors a model, by its name; `first` is the rate of openings at the start."""
    rows = []
    for model in ("original", "initial-stable", "mosa-stable", "psa", HERE):
        for number in range(count):
            won = number < fell[model]
            rows += [record(model, "sealed disguised", number, won, attempt="/a")]
            rows += [record(model, "sealed disguised", number, False, attempt="/b")]
            rows += [record(model, "sealed plain", number, False)]
            refused = model != "original" and number < refusals
            rows += [record(model, "benign usual", number, not refused, refused)]
            rows += [record(model, "arithmetic", number, True)]
            rows += [record(model, "prefill 0", number, number < first * count)]
            rows += [record(model, f"prefill {at}", number, number < count / 2) for at in (20, 40)]
    sizes = DemoSizes(
        plain=planned or count, disguises=planned or count, prefill=count, benign=count // 2,
        utility=count // 3,
    )  # fmt: skip
    return demo_claims(demo_hypotheses(sizes), Results(rows))


HELD = {"original": 120, "initial-stable": 60, "mosa-stable": 10, "psa": 5, HERE: 10}


def test_ten_claims_are_decided_by_intervals():
    claims = claims_for(HELD)
    assert [claim.outcome for claim in claims] == ["supported"] * 10
    assert "n=200" in claims[0].evidence and f"best-of-{ATTEMPTS}" in claims[0].expected


def test_each_claim_is_refuted_by_the_opposite():
    broken = {"original": 0, "initial-stable": 50, "mosa-stable": 100, "psa": 100, HERE: 100}
    outcomes = [claim.outcome for claim in claims_for(broken, first=1.0, refusals=60)]
    assert outcomes[:6] == ["undecided", *["refuted"] * 5]  # nothing got past the Original at all
    assert outcomes[6:] == ["refuted", "supported"] * 2


def test_close_ones_stay_open():
    close = HELD | {"initial-stable": 12}
    outcomes = [claim.outcome for claim in claims_for(close, first=0.5)]
    assert [outcomes[1], outcomes[5]] == ["undecided"] * 2


def test_fewer_cases_than_planned_decide_nothing():
    claims = claims_for(HELD, planned=201)
    assert [claim.outcome for claim in claims[:3]] == ["no verdict", "supported", "no verdict"]
    assert "n = 201" in claims[0].expected


def test_rates_are_assumed_for_every_metric():
    assert set(ASSUMED) == set(METRICS)


def test_the_demo_decides_eight_claims_under_what_is_assumed_and_the_page_says_so():
    found = powers(demo_hypotheses(DemoSizes()), ASSUMED)
    assert len(found) == 10 and sum(share >= 0.9 for _, _, share in found) >= 8, found
    page = (Path(__file__).parents[3] / "docs" / "second-world.md").read_text(encoding="utf-8")
    for one, assumed, share in found:
        assert f"| {one.text} | {assumed} | {one.n} | {share:.0%} |" in page
