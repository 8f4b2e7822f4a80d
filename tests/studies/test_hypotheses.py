"""Rules that need no judgement, and what missing outcomes leave open."""

from itertools import product

import pytest

from midspan.bounds import RateBounds
from midspan.statistics import wilson
from midspan.studies.hypotheses import Bound, Hypothesis, Measurement, Metric, Paired, judged


def claim(rule, *measured, n=1):
    hypothesis = Hypothesis(text="t", metric="m", n=n, rule=rule)
    by_decoding = {f"d{i}": one for i, one in enumerate(measured)}
    return judged(hypothesis, Metric("words", lambda source: source), by_decoding)


AT_MOST = Bound(side="at most", limit=0.4)


@pytest.mark.parametrize(
    ("outcomes", "decided"),
    [
        ([False] * 40, "supported"),
        ([False] * 38 + [None] * 2, "supported"),  # 2 of 40 at most
        ([False] * 30 + [None] * 10, "undecided"),  # [14.2, 40.2] if all ten are successes
        ([True] * 40, "refuted"),
        ([True] * 30 + [None] * 10, "refuted"),
        ([True] * 20 + [None] * 20, "undecided"),
        ([None] * 40, "undecided"),
    ],
)
def test_a_bound_holds_under_the_worse_of_both_ends(outcomes, decided):
    found = claim(AT_MOST, Measurement.of_bounds(RateBounds.of(outcomes)))
    assert found.outcome == decided
    known = [one for one in outcomes if one is not None]
    if None in outcomes:
        assert f"{outcomes.count(None)} without outcome" in found.evidence
    if decided == "undecided" and known:
        # What is known alone would have decided.
        alone = Measurement.of_rate(wilson(sum(known), len(known)))
        assert AT_MOST.decide(alone) != "undecided"
        assert "by what the missing outcomes are" in found.evidence


def test_every_filling_of_what_is_missing_decides_as_the_bounds_do():
    first = [False] * 7 + [None, None, True]
    second = [True] * 6 + [None] + [True] * 3
    found = claim(Paired(), Measurement.of_outcomes(first, second))
    assert found.outcome == "supported" and "3 without outcome" in found.evidence
    assert claim(Paired(), Measurement.of_outcomes(first[2:], second[2:])).outcome == "undecided"
    outcomes = set()
    for a, b, c in product((True, False), repeat=3):
        filled = [False] * 7 + [a, b, True], [True] * 6 + [c] + [True] * 3
        outcomes.add(claim(Paired(), Measurement.of_outcomes(*filled)).outcome)
    assert outcomes == {"supported"}
    turned = claim(Paired(), Measurement.of_outcomes(second, first))
    assert turned.outcome == "refuted"


def test_a_difference_with_what_is_missing_is_printed_from_end_to_end():
    measured = Measurement.of_outcomes([False, None, False, True], [True, True, False, True])
    assert measured.text.startswith("25.0 to 50.0 % against 75.0 %, difference -50.0 to -25.0 ")
    assert measured.text.endswith("n=4, 1 without outcome, p=1")
    assert [end.value for end in measured.ends] == [-0.5, -0.25]
    other = Measurement.of_outcomes([False, True], [None, True])
    assert [end.value for end in other.ends] == [-0.5, 0.0]
    whole = Measurement.of_outcomes([True, False], [False, False])
    assert whole == Measurement.of_pairs([1.0, 0.0], [0.0, 0.0]) and whole.ends == ()


def test_decodings_must_agree_and_n_must_be_there():
    low, high = (Measurement.of_bounds(RateBounds.of([won] * 40)) for won in (False, True))
    assert claim(AT_MOST, low, low).outcome == "supported"
    assert claim(AT_MOST, high, high).outcome == "refuted"
    split = claim(AT_MOST, low, high)
    assert split.outcome == "undecided"
    assert "(supported); d1: 100.0 %" in split.evidence and split.evidence.endswith("(refuted)")
    few = Measurement.of_bounds(RateBounds.of([True] * 39))
    assert claim(AT_MOST, high, few, n=40).outcome == "no verdict"
    short = claim(AT_MOST, low, n=41)
    assert short.outcome == "no verdict" and short.cases == "40 of 41"
    assert "41 were planned" in short.evidence and short.short == "d0 0.0 %"
    assert claim(AT_MOST).outcome == "no verdict"
    edge = Measurement(0.4, 0.4, 0.4, 5, "0.4")
    assert claim(AT_MOST, edge).outcome == "supported"
    assert claim(Bound(side="at least", limit=0.4), edge).outcome == "supported"
    assert claim(Bound(side="above", limit=0.4), edge).outcome == "undecided"


@pytest.mark.parametrize("won", [False, True])
def test_one_case_refutes_and_supports_nothing(won):
    measured = Measurement.of_rate(wilson(int(won), 1))
    assert Bound(side="at most", limit=0.1).decide(measured) == ("refuted" if won else "undecided")
    for rule in (Bound(side="at most", limit=0.1), Bound(side="at least", limit=0.0)):
        found = claim(rule, measured, measured)
        assert found.outcome == "no verdict" and "needs 5 cases" in found.evidence
