"""Which parts of an answer stand on a canvas."""

import random
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midspan.alignment.objectives import PartialAnswer
from midspan.errors import MidspanError

LENGTH = 64


def places_of(seed, **fields):
    return sorted(PartialAnswer(**{"share": 1} | fields).reveal(LENGTH, random.Random(seed)))


def only(kind, **fields):
    return {"runs": 0, kind: 1} | fields


@settings(max_examples=200)
@given(st.integers(0, 10_000), st.sampled_from(["runs", "prefix", "span", "scattered"]))
def test_something_is_left_to_predict(seed, kind):
    places = places_of(seed, **only(kind))
    assert set(places) < set(range(LENGTH))


@given(st.integers(0, 1_000))
def test_runs_are_no_longer_than_they_may_be(seed):
    places = set(places_of(seed, shown_run=5, hidden_run=9))
    if places:
        for shown, run in groupby(range(LENGTH), places.__contains__):
            assert len(list(run)) <= (5 if shown else 9)


def test_runs_reach_from_a_single_hole_to_nearly_clean():
    hidden = [LENGTH - len(places_of(seed)) for seed in range(500)]
    assert min(hidden) == 1
    assert sum(size > 0.9 * LENGTH for size in hidden) > 50
    assert sum(size < 0.5 * LENGTH for size in hidden) > 50
    longest = [max(len(list(run)) for shown, run in
                   groupby(range(LENGTH), set(places_of(seed)).__contains__) if not shown)
               for seed in range(500)]  # fmt: skip
    # Half of log-uniform lengths lie below the root of the largest.
    assert 100 < sum(size <= 11 for size in longest) < 300


@given(st.integers(0, 1_000))
def test_a_beginning_is_a_beginning_and_a_span_one_piece(seed):
    prefix = places_of(seed, **only("prefix"))
    assert prefix == list(range(len(prefix))) and 1 <= len(prefix) < LENGTH
    span = places_of(seed, **only("span"))
    assert 4 <= len(span) <= 14 and span == list(range(span[0], span[-1] + 1))


def test_scattered_tokens_come_at_the_stated_rates():
    counts = [len(places_of(s, **only("scattered", scattered_rate=(0.2, 0.2)))) for s in range(200)]
    assert sum(counts) / 200 / LENGTH == pytest.approx(0.2, abs=0.015)


def test_the_share_is_what_was_asked():
    clean = [not places_of(seed, share=0.7, **only("span")) for seed in range(600)]
    assert sum(clean) / 600 == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"runs": 0}, "are all 0; give one a weight"),
        ({"span_tokens": (4, 2)}, "span_tokens must satisfy 1 <= first <= last, not 4, 2"),
        ({"span_tokens": (0, 2)}, "span_tokens must satisfy 1 <= first <= last, not 0, 2"),
        ({"short_prefix": (0, 2)}, "short_prefix must satisfy 1 <= first <= last, not 0, 2"),
        ({"long_prefix": (3, 2)}, "long_prefix must satisfy 1 <= first <= last, not 3, 2"),
        ({"scattered_rate": (0.5, 0.1)}, "scattered_rate must satisfy 0 < first <= last < 1"),
        ({"scattered_rate": (0.0, 0.1)}, "scattered_rate must satisfy 0 < first <= last < 1"),
        ({"scattered_rate": (0.1, 1.0)}, "scattered_rate must satisfy 0 < first <= last < 1"),
    ],
)
def test_impossible_settings_are_refused(fields, message):
    with pytest.raises(MidspanError, match=message):
        PartialAnswer(**fields)


def test_settings_at_their_limits_are_taken():
    limits = {"short_prefix": (1, 1), "long_prefix": (1, 1), "span_tokens": (1, 1)}
    PartialAnswer(**limits, scattered_rate=(0.5, 0.5), runs=0, prefix=1e-9)
    assert not any(places_of(seed, share=0) for seed in range(50))


def test_sizes_and_starts_are_those_of_the_range_and_no_others():
    prefix = only("prefix", short_prefix=(3, 5), long_prefix=(3, 5))
    assert {len(places_of(seed, **prefix)) for seed in range(200)} == {3, 4, 5}
    both = only("prefix", short_prefix=(2, 2), long_prefix=(90, 90))
    assert {len(places_of(seed, **both)) for seed in range(50)} == {2, LENGTH - 1}
    spans = [places_of(seed, **only("span", span_tokens=(60, 62))) for seed in range(300)]
    assert {(span[0], len(span)) for span in spans} == {
        (start, size) for size in (60, 61, 62) for start in range(LENGTH - size + 1)
    }
    whole = only("span", span_tokens=(LENGTH, LENGTH))
    assert {len(places_of(seed, **whole)) for seed in range(20)} == {LENGTH - 1}
    runs = [places_of(seed, shown_run=1, hidden_run=1) for seed in range(20)]
    assert {tuple(run) for run in runs} == {tuple(range(first, LENGTH, 2)) for first in (0, 1)}
