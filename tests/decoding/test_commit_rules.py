"""Each rule against its definition, on scores that tie and lie exactly on the limits."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from midspan.decoding.commit_rules import (
    by_doubt,
    by_factor,
    by_schedule,
    by_schedule_or_threshold,
    by_threshold,
)

SCORES = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
ROWS = st.lists(st.tuples(SCORES, st.booleans()), min_size=4, max_size=4)


def surest(row, count):
    """Of a row of (score, is open), the places of the best, the leftmost of equals first."""
    places = [place for place, (_, is_open) in enumerate(row) if is_open]
    return set(sorted(places, key=lambda place: (-row[place][0], place))[:count])


def reaching(row, limit):
    return {place for place, (score, is_open) in enumerate(row) if is_open and score >= limit}


def places(rule, rows, commits, **options):
    score_AR = torch.tensor([[score for score, _ in row] for row in rows])
    open_AR = torch.tensor([[is_open for _, is_open in row] for row in rows])
    chosen_AR = rule(score_AR, open_AR, torch.tensor(commits), **options)
    return [set(row.nonzero()[:, 0].tolist()) for row in chosen_AR]


CASES = st.lists(st.tuples(ROWS, st.integers(0, 4)), min_size=1, max_size=3)


@settings(max_examples=40, deadline=None)
@given(CASES, st.sampled_from([0.25, 0.5, 1.0]), st.sampled_from([0.5, 1.0, 2.0, 3.0]))
def test_rules_commit_what_their_definitions_say(cases, threshold, factor):
    rows, commits = zip(*cases, strict=True)
    given_rows = (rows, commits)
    expected = [surest(row, count) for row, count in cases]
    assert places(by_schedule, *given_rows) == expected

    expected = [reaching(row, threshold) | surest(row, 1) for row in rows]
    assert places(by_threshold, *given_rows, threshold=threshold, ties="left") == expected

    expected = []
    for row in rows:
        best = max((score for score, is_open in row if is_open), default=0.0)
        expected.append(reaching(row, min(threshold, best)))
    assert places(by_threshold, *given_rows, threshold=threshold, ties="together") == expected

    expected = []
    for row in rows:
        scores = sorted((score for score, is_open in row if is_open), reverse=True)
        fitting = [n for n, score in enumerate(scores, 1) if score >= 1 - factor / (n + 1)]
        expected.append(surest(row, max(fitting, default=1)))
    assert places(by_factor, *given_rows, factor=factor) == expected

    expected = []
    for row in rows:
        doubts = sorted(1 - score for score, is_open in row if is_open)
        fitting = [n for n in range(1, len(doubts) + 1) if sum(doubts[: n - 1]) <= factor / 4]
        expected.append(surest(row, max(fitting, default=0)))
    assert places(by_doubt, *given_rows, doubt=factor / 4) == expected

    expected = []
    for row, count in cases:
        above = reaching(row, math.nextafter(threshold, 2))
        expected.append(above if len(above) >= count else surest(row, count))
    assert places(by_schedule_or_threshold, *given_rows, threshold=threshold) == expected
