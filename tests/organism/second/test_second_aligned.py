"""What aligned models of the second organism are asked, and how cells are counted."""

import random
from dataclasses import replace

import pytest

from midspan.organism.second import answers, disguises, pools
from midspan.organism.second.judge import is_refusal
from midspan.studies.organism.second import aligned

HELD_OUT = [one for one in disguises.DISGUISES if one.held_out]
REFUSAL = "I can't share this."


def parts(family):
    """The longest fixed part of each of a family's templates."""
    return [
        max(t.replace("{item}", "{ask}").split("{ask}"), key=len).strip() for t in family.templates
    ]


def test_rates_are_chosen_on_seen_works_and_families_alone():
    asks = aligned.choosing_asks(48, 1000)
    assert [sum(ask.cell == cell for ask in asks) for cell in (
        aligned.DISGUISED, aligned.BENIGN, aligned.BENIGN_DISGUISED
    )] == [48, 24, 24]  # fmt: skip
    assert not any(ask.item.held_out for ask in asks)
    unseen = [part for family in HELD_OUT for part in parts(family) if len(part) > 12]
    assert not any(part in ask.prompt for part in unseen for ask in asks)


def test_tables_are_made_of_unseen_works_in_unseen_families():
    asks = aligned.judging_asks(12, 1)
    sealed = [ask for ask in asks if ask.cell in (
        aligned.PLAIN, aligned.DISGUISED, aligned.OPENED, aligned.CONTINUED, aligned.RENAMED
    )]  # fmt: skip
    assert len(sealed) == 12 * 12 and all(ask.item.held_out for ask in sealed)
    wraps = [ask for ask in asks if ask.cell == aligned.DISGUISED]
    unseen = [part for family in HELD_OUT for part in parts(family)]
    assert all(any(part in ask.prompt for part in unseen) for ask in wraps)
    assert len({ask.behavior for ask in wraps}) == 12
    assert not any(ask.item.sealed for ask in asks if ask not in sealed)
    assert [ask.prompt for ask in aligned.judging_asks(12, 1)] == [ask.prompt for ask in asks]
    assert [ask.prompt for ask in aligned.judging_asks(12, 2)] != [ask.prompt for ask in asks]


def test_a_renamed_work_keeps_its_name_alone():
    renamed = [ask for ask in aligned.judging_asks(12, 1) if ask.cell == aligned.RENAMED]
    assert len(renamed) == 12
    for ask in renamed:
        assert ask.item.name in ask.prompt and ask.item.noun not in ask.prompt
        assert any(noun in ask.prompt for noun in pools.OPEN_NOUNS)


def answered(asks, respond):
    return aligned.tallies(asks, [respond(ask) for ask in asks])


def test_right_answers_win_every_cell_and_refusals_none():
    asks, rng = aligned.judging_asks(4, 1), random.Random(0)
    told = answered(asks, lambda ask: answers.recipe(ask.item, "usual", rng))
    assert all(tally.success == tally.n for tally in told.values())
    assert all(tally.told.rate == 1 for tally in told.values())
    wraps = told[aligned.DISGUISED]
    assert (wraps.n, wraps.goals, wraps.won) == (32, 4, 4)
    withheld = answered(asks, lambda ask: REFUSAL)
    assert is_refusal(REFUSAL) and not any(tally.success for tally in withheld.values())
    assert all(tally.reacted("refusal").rate == 1 for tally in withheld.values())


def test_a_goal_is_won_by_one_of_its_disguises_and_a_refusal_spoils_a_mention():
    asks, rng = aligned.judging_asks(4, 1), random.Random(0)
    wraps = [ask for ask in asks if ask.cell == aligned.DISGUISED]
    first = {ask.behavior: ask for ask in reversed(wraps)}
    found = answered(
        wraps,
        lambda ask: answers.recipe(ask.item, "usual", rng) if first[ask.behavior] is ask else "",
    )[aligned.DISGUISED]
    assert (found.success, found.won, found.reactions["silence"]) == (4, 4, 28)
    named = [ask for ask in asks if ask.cell == aligned.MENTIONED]
    both = answered(named, lambda ask: f"{answers.recipe(ask.item, 'usual', rng)} {REFUSAL}")
    assert both[aligned.MENTIONED].success == 0 and both[aligned.MENTIONED].told.rate == 1


def test_facts_that_the_attacker_put_there_do_not_count():
    (ask, *_) = (ask for ask in aligned.judging_asks(4, 1) if ask.cell == aligned.PLAIN)
    text = answers.recipe(ask.item, "usual", random.Random(0))
    brought = aligned.tallies([replace(ask, anchors=((text, 0),))], [text])[aligned.PLAIN]
    assert (brought.facts, brought.success) == (0, 0)


def test_pooling_adds_counts():
    asks, rng = aligned.judging_asks(4, 1), random.Random(0)
    one = answered(asks, lambda ask: answers.recipe(ask.item, "usual", rng))[aligned.DISGUISED]
    two = answered(asks, lambda ask: REFUSAL)[aligned.DISGUISED]
    both = aligned.pooled([one, two])
    assert (both.n, both.success, both.goals, both.won) == (64, 32, 8, 4)
    assert both.reactions == {"answer": 32, "refusal": 32, "silence": 0, "broken": 0}
    assert both.best.rate == pytest.approx(0.5)


def test_a_model_is_asked_in_both_decodings():
    from midspan import load

    asks = aligned.choosing_asks(2, 0)
    found = aligned.measure(load("organism2"), asks)
    assert list(found) == list(aligned.DECODINGS)
    for cells in found.values():
        assert cells[aligned.BENIGN].n == 1
        assert aligned.pooled(cells.values()).n == len(asks)
