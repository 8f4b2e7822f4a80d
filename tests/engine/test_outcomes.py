"""Rates of records that are made by hand: what is known, and from where to where the rest goes."""

from hypothesis import given
from hypothesis import strategies as st

from midspan.bounds import Span
from midspan.engine.outcomes import (
    Outcomes,
    asr_by_budget,
    compare,
    deciding,
    score,
    scoring_judges,
    union,
    won,
)


def attempt(cost, success):
    verdict = (
        {"failure": "unparseable", "reason": "hm"} if success is None else {"success": success}
    )
    return {"target_calls": cost, "verdicts": {"j": verdict}}


def row(outcome="lost", attempts=(), behavior="b", lost=(), ran=True, **fields):
    return {
        "behavior": behavior, "outcome": {"j": outcome}, "lost": list(lost), "ran": ran,
        "counts": "any", "attempts": [attempt(*one) for one in attempts],
    } | fields  # fmt: skip


def rated(counts, *attempts):
    """A record whose attempts have scores of the attack's own and verdicts."""
    made = [attempt(1, success) | {"score": own} for own, success in attempts]
    return row(counts=counts) | {"attempts": made}


def test_what_decided_is_among_the_attempts_that_count():
    tried = [(2.0, False), (9.0, False), (5.0, True), (1.0, False)]
    # The success is not what the attack holds for its best, nor its last word.
    assert deciding(rated("best", *tried), "j") == 1
    assert deciding(rated("last", *tried), "j") == 3
    assert deciding(rated("any", *tried), "j") == 2
    assert deciding(rated("any", *tried[:2]), "j") == 1
    # One without a rating may be the best one.
    assert deciding(rated("best", (9.0, False), (None, True), (3.0, True)), "j") == 1
    assert deciding(rated("best", (None, False), (None, None)), "j") == 1


def curve(records, budgets):
    rates = (rate for _, rate in asr_by_budget(records, "j", budgets))
    return [(rate.least.successes, rate.most.successes, rate.n) for rate in rates]


def test_a_success_counts_from_its_first_attempt_on():
    record = row("won", [(2, False), (4, True), (7, True)])
    assert curve([record], [3, 4, 7]) == [(0, 0, 1), (1, 1, 1), (1, 1, 1)]


def test_what_is_not_known_bounds_every_budget():
    unread = row("unreadable", [(1, False), (3, None), (5, None)])
    later = row("won", [(2, None), (4, True)])
    gone = row("did not run", ran=False)
    hindered = row("lost", [(6, False)], lost=[{"role": "evaluator"}])
    assert curve([unread], [2, 3, 9]) == [(0, 0, 1), (0, 1, 1), (0, 1, 1)]
    assert curve([later], [1, 2, 3, 4]) == [(0, 0, 1), (0, 1, 1), (0, 1, 1), (1, 1, 1)]
    assert curve([gone, hindered], [0, 1]) == [(0, 0, 2), (0, 2, 2)]


@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from([True, False, None])), max_size=6))
def test_the_curve_against_every_way_that_verdicts_may_fall(tries):
    tries = sorted(tries, key=lambda one: one[0])
    record = row("lost", tries)
    for budget, (least, most, _) in zip(range(11), curve([record], range(11)), strict=True):
        within = [success for cost, success in tries if cost <= budget]
        assert least == (True in within)
        assert most == any(success is not False for success in within)


def test_a_loss_without_all_answers_is_not_known():
    part = [{"role": "evaluator"}]
    assert [won(row(outcome), "j") for outcome in ("won", "lost", "unreadable", "did not run")] == [
        True, False, None, None,
    ]  # fmt: skip
    assert won(row("lost", lost=part), "j") is None
    assert won(row("won", lost=part), "j") is True


def test_all_attacks_together():
    def rows(behavior, *outcomes):
        return [row(outcome, behavior=behavior) for outcome in outcomes]

    records = [
        *rows("a", "lost", "won", "unreadable"), *rows("b", "lost", "did not run"),
        *rows("c", "lost", "lost"),
    ]  # fmt: skip
    found = union(records, "j")
    assert (found.least.successes, found.most.successes, found.n) == (1, 2, 3)


def test_the_rate_says_of_how_many_attempts_any_wins():
    tries = [(1, False), (2, False)]
    rates = Outcomes.from_records([row(attempts=tries), row(attempts=tries[:1])], "j")
    assert str(rates) == "0.0 % [0.0, 65.8] n=2, any of 2"
    rates = Outcomes.from_records([row(attempts=tries, counts="best")], "j")
    assert str(rates) == "0.0 % [0.0, 79.3] n=1"


def test_models_are_compared_on_the_behaviors_of_both():
    first = [row("won", behavior=name) for name in "abc"]
    second = [row("lost", behavior=name) for name in "bcd"]
    assert (compare(first, second, "j").n, compare(first, second, "j").points) == (2, "+100.0")
    assert compare(first, second[2:], "j").n == 0
    second[0] = row("unreadable", behavior="b")
    assert compare(first, second, "j").points == "+50.0 to +100.0"


def test_a_missing_score_may_be_any():
    records = [row(strongreject={"j": [0.25, 0.5]}), row("did not run")]
    assert scoring_judges(records) == ("j",)
    assert [score(record, "j") for record in records] == [Span(0.25, 0.5), Span(0.0, 1.0)]
    assert scoring_judges(records[1:]) == ()
