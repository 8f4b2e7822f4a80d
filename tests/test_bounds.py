"""What is not known is tried both ways: no assignment of outcomes lies outside the bounds."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midspan.bounds import MeanBounds, PairedBounds, RateBounds, Span, any_of, best_of
from midspan.statistics import bounded_mean, mcnemar_exact, paired_difference, wilson

OUTCOMES = st.sampled_from([True, False, None])


def filled(outcomes):
    """Every way in which the unknown ones could have come out."""
    return product(*((True, False) if one is None else (one,) for one in outcomes))


@given(st.lists(OUTCOMES, min_size=1, max_size=7))
def test_a_rate_is_bounded_by_every_assignment(outcomes):
    found = RateBounds.of(outcomes)
    estimates = [wilson(sum(way), len(way)) for way in filled(outcomes)]
    assert found.least.rate == min(one.rate for one in estimates)
    assert found.most.rate == max(one.rate for one in estimates)
    assert found.least.low == min(one.low for one in estimates)
    assert found.most.high == max(one.high for one in estimates)
    assert (found.n, found.unknown) == (len(outcomes), outcomes.count(None))


@settings(max_examples=60)
@given(st.lists(st.tuples(OUTCOMES, OUTCOMES), min_size=1, max_size=12).filter(
    lambda pairs: sum(pair.count(None) for pair in pairs) <= 7
))  # fmt: skip
def test_a_paired_difference_is_bounded_by_every_assignment(pairs):
    first, second = zip(*pairs, strict=True)
    found = PairedBounds.of(*([Span.of(one) for one in side] for side in (first, second)))
    gaps, p_values = [], []
    for way in filled([*first, *second]):
        a, b = way[: len(first)], way[len(first) :]
        gaps.append(paired_difference(a, b))
        more = sum(x and not y for x, y in zip(a, b, strict=True))
        fewer = sum(y and not x for x, y in zip(a, b, strict=True))
        p_values.append(mcnemar_exact(more, fewer))
    assert found.low == pytest.approx(min(gap.low for gap in gaps))
    assert found.high == pytest.approx(max(gap.high for gap in gaps))
    assert found.least.difference.mean == pytest.approx(min(gap.mean for gap in gaps))
    assert found.most.difference.mean == pytest.approx(max(gap.mean for gap in gaps))
    assert found.p == pytest.approx(max(p_values))
    assert found.unknown == sum(None in pair for pair in pairs)


def test_the_direction_of_pairs():
    found = PairedBounds.of([Span.of(True)] * 6 + [Span.of(False)], [Span.of(False)] * 7)
    assert (found.least.more, found.least.fewer, found.n) == (6, 0, 7)
    assert found.points == "+85.7" and found.p == mcnemar_exact(6, 0)
    open_ended = PairedBounds.of([Span.of(None)] * 2, [Span.of(False), Span.of(True)])
    assert open_ended.points == "-50.0 to +50.0"


@pytest.mark.parametrize(
    ("outcomes", "whole"),
    [
        ([True, None], True), ([False, None], None), ([None], None), ([False], False),
        ([False, True, False], True),
    ],
)  # fmt: skip
def test_any_of_several(outcomes, whole):
    assert any_of(outcomes) is whole
    assert best_of(map(Span.of, outcomes)) == Span.of(whole)


def test_a_mean_with_values_that_are_not_known():
    found = MeanBounds.of([Span(0.25, 0.25), Span(0.5, 1.0), Span(0.0, 1.0)])
    assert (found.least, found.most) == (
        bounded_mean([0.25, 0.5, 0.0]), bounded_mean([0.25, 1.0, 1.0]),
    )  # fmt: skip
    assert found.text == "0.250 to 0.750" and found.note.endswith("n=3, 2 not known")
    whole = MeanBounds.of([Span(0.125, 0.125)] * 4)
    assert whole.text == "0.125" and whole.note.endswith("n=4")
    assert MeanBounds.of([]).text == "n/a"


def test_what_is_printed():
    assert str(RateBounds.of([True, False])) == str(wilson(1, 2))
    assert str(RateBounds.of([True, None, False, False])) == (
        "25.0 to 50.0 % [4.6, 85.0] n=4, 1 without outcome"
    )
    assert str(RateBounds.of([])) == "n/a [0.0, 100.0] n=0"
