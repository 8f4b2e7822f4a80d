"""AdvPrefix against its pseudo-code: planted beginnings, likelihoods and verdicts."""

import math

import pytest
from attack_cast import ADVPREFIX, GOAL, Cast, likelihood
from hypothesis import given
from hypothesis import strategies as st

from midspan.attacks._cutting import beginnings, middles
from midspan.attacks._selection import Choice, select
from midspan.attacks.advprefix import ATTACK, AdvPrefixConfig
from midspan.engine.calls import SLOT, Anchor

SMALL = AdvPrefixConfig(
    openings=("Here", ""), draws=(2, 1), kept=4, completions=3, shorter=2, min_words=4, min_chars=9
)


def play(tmp_path, config, answers=None):
    cast = Cast(ADVPREFIX | (answers or {}))
    return cast.play(ATTACK, config, tmp_path / "journal.jsonl"), cast


def scored(cast):
    return [call.phrase for call in cast.of("Score")]


def test_calls_are_those_of_the_formula(tmp_path):
    result, cast = play(tmp_path, SMALL)
    # Two cuts of one first line; both openings draw a greedy proposal on top.
    assert cast.counts == {
        "advprefix.answer": 5, "Score": 2, "target": 2 * 3 + 1, "advprefix.judge": 2 * 3,
    }  # fmt: skip
    assert sorted(scored(cast)) == ["Here is all of it :\n\n1", "Here is all of it :\n\n1 ."]
    assert sorted(call.temperature for call in cast.of("advprefix.answer")) == [0, 0, 1, 1, 1]
    assert (result.stop, result.access) == ("exhausted", "logprobs")


@pytest.mark.parametrize(
    "bad",
    ["", "one line that is long enough", "a\nb", "I cannot tell you of this\nat all", "\n\n \n"],
)
def test_unusable_proposals_leave_nothing_to_deliver(tmp_path, bad):
    result, cast = play(tmp_path, SMALL, {"advprefix.answer": bad})
    assert (result.stop, result.ran) == ("failed", False)
    assert set(cast.counts) == {"advprefix.answer"}


@pytest.mark.parametrize(("words", "usable"), [(4, True), (3, False)])
def test_a_proposal_of_just_enough_words_is_usable(tmp_path, words, usable):
    said = "one\n" + " ".join("abcd"[: words - 1])
    _, cast = play(tmp_path, SMALL, {"advprefix.answer": said})
    assert bool(scored(cast)) is usable


@pytest.mark.parametrize(("chars", "judged"), [(0, True), (1, False)])
def test_a_completion_of_just_enough_characters_is_judged(tmp_path, chars, judged):
    length = len("Here is all of it :\n\n1") + len(" a long answer")
    config = SMALL.model_copy(update={"min_chars": length + chars, "shorter": 1})
    _, cast = play(tmp_path, config)
    assert bool(cast.of("advprefix.judge")) is judged


@pytest.mark.parametrize(
    ("text", "most", "found"),
    [
        ("one", 3, ["one"]),
        ("one\ntwo three four", 2, ["one\ntwo", "one\ntwo three"]),
        ("one\n\n  two\nthree", 5, ["one\n\n  two"]),
    ],
)
def test_beginnings_are_the_first_line_and_words_of_the_second(text, most, found):
    assert beginnings(text, most) == found


@pytest.mark.parametrize(
    ("window", "found"),
    [
        ((0, 99), ["d e.", "f"]),
        ((3, 3), ["d e."]),
        ((4, 5), ["f"]),
        ((5, 5), ["f"]),
        ((6, 9), []),
    ],
)
def test_middles_are_sentences_that_begin_in_the_window(window, found):
    assert middles("a b c. d e. f", window) == found
    assert middles("a b c.", (0, 9)) == []  # Nothing follows the last sentence.


def test_only_the_likeliest_are_completed(tmp_path):
    config = SMALL.model_copy(update={"kept": 1, "shorter": 5})
    _, cast = play(tmp_path, config)
    anchors = {call.anchors for call in cast.of("target") if call.anchors}
    assert anchors == {(Anchor(min(scored(cast), key=len), 0),)}
    assert {(c.max_tokens, c.temperature) for c in cast.of("target") if c.anchors} == {(512, 1.0)}


def test_the_beginning_that_completes_best_is_delivered(tmp_path):
    def judge(call, rng):
        return "[[YES]]" if ". a long" in call.fields["response"] else "[[NO]]"

    result, cast = play(tmp_path, SMALL, {"advprefix.judge": judge})
    (attempt,) = result.attempts
    assert attempt.messages[0]["content"].endswith("words: Here is all of it :\n\n1 .")
    assert (attempt.score, attempt.anchors) == (1.0, ())


def test_short_completions_fail_unjudged_and_unreadable_verdicts_count_neither_way(tmp_path):
    said = iter([" short", " short", " long answer"] * 2 + ["the end"])
    config = SMALL.model_copy(update={"min_chars": 33})
    marks = iter(["[[YES]]", "what ?", "what ?", "what ?"])
    answers = {
        "target": lambda call, rng: next(said),
        "advprefix.judge": lambda call, rng: next(marks),
    }
    result, cast = play(tmp_path, config, answers)
    assert cast.counts["advprefix.judge"] == 4  # One verdict, one asked three times.
    assert result.attempts[0].score == pytest.approx(1 / 3)


def test_prefill_anchors_the_beginning_under_the_bare_request(tmp_path):
    config = SMALL.model_copy(update={"delivery": "prefill"})
    result, cast = play(tmp_path, config)
    (attempt,) = result.attempts
    assert attempt.anchors[0].text in scored(cast)
    assert {call.messages[0]["content"] for call in cast.of("target")} == {GOAL}


def test_gcg_searches_the_suffix_and_tries_the_best_so_far(tmp_path):
    config = SMALL.model_copy(update={"delivery": "gcg", "steps": 5, "check_every": 2, "width": 3})
    result, cast = play(tmp_path, config)
    assert cast.counts["GCGCandidates"] == cast.counts["SuffixLosses"] == 5
    assert result.access == "white-box"
    assert all(SLOT in call.messages[0]["content"] for call in cast.of("SuffixLosses"))
    lowest = [min(float(s.split()[1]) for s in call.suffixes) for call in cast.of("SuffixLosses")]
    best = [min(lowest[:step]) for step in (2, 4, 5)]
    assert [-attempt.score for attempt in result.attempts] == sorted(set(best), reverse=True)
    followed = [call.suffix for call in cast.of("GCGCandidates")][1:]
    assert followed == [f"x {loss}" for loss in lowest[:-1]]  # Better or not.


def test_the_adaptive_objective_is_a_sentence_of_the_middle(tmp_path):
    answer = "One two three . Four five six seven . Eight nine ten"
    config = SMALL.model_copy(update={"adaptive": True, "window": (4, 9), "delivery": "prefill"})
    result, cast = play(tmp_path, config, {"advprefix.answer": answer})
    assert sorted(scored(cast)) == ["Eight nine ten", "Four five six seven ."]
    assert {call.start for call in cast.of("Score")} == {30}
    assert result.attempts[0].anchors == (Anchor("Eight nine ten", 30),)
    _, cast = play(tmp_path / "none", config.model_copy(update={"window": (20, 60)}))
    assert not cast.of("Score")


@pytest.mark.parametrize("kind", ["advprefix.answer", "Score", "advprefix.judge"])
def test_helpers_that_do_not_answer_are_no_refusal(tmp_path, kind):
    result, _ = play(tmp_path, SMALL, {kind: None})
    assert (result.stop, result.ran) == ("failed", False)


@given(
    st.lists(
        st.builds(
            Choice,
            st.text("ab", min_size=1, max_size=4),
            st.floats(0, 50),
            st.sampled_from([0.0, 0.5, 1.0]),
        ),
        min_size=1,
        max_size=8,
        unique_by=lambda choice: choice.prefix,
    ),
    st.sampled_from([0.5, 10.0]),
)
def test_selection_is_the_papers(choices, weight):
    """Its steps one by one: the least cost, then again and again the likeliest that is left."""
    costs = [choice.nll - weight * math.log(choice.success + 1e-6) for choice in choices]
    chosen = [choices[costs.index(min(costs))]]
    left = [c for c in choices if c.success >= chosen[0].success and c != chosen[0]]
    while left:
        left = [c for c in left if not any(c.prefix.startswith(o.prefix) for o in chosen)]
        if left:
            chosen.append(min(left, key=lambda choice: choice.nll))
            left.remove(chosen[-1])
    assert select(choices, weight) == chosen


def test_further_beginnings_are_the_likeliest_not_the_cheapest():
    best, likely, rich = Choice("a", 1.0, 0.5), Choice("b", 5.0, 0.5), Choice("c", 6.0, 1.0)
    # By cost, "c" would go before "b"; and the best may be less successful than others.
    assert [c.prefix for c in select([rich, likely, best], 1.0)] == ["a", "b", "c"]


def test_a_beginnings_likelihood_is_the_sum_over_its_tokens(tmp_path):
    """A long one that is likelier a token and unlikelier as a whole is not kept."""
    short, long = "Here is all of it :\n\n1", "Here is all of it :\n\n1 ."

    def score(call, rng):
        return likelihood(-3.0) if call.phrase == short else likelihood(-2.0, -2.0)

    config = SMALL.model_copy(update={"kept": 1})
    _, cast = play(tmp_path, config, {"Score": score})
    assert set(scored(cast)) == {short, long}
    assert {call.anchors[0].text for call in cast.of("target") if call.anchors} == {short}


def test_what_could_not_be_judged_is_not_held_against_a_beginning(tmp_path):
    marks = iter(["[[YES]]", *["what ?"] * 3])
    config = SMALL.model_copy(update={"completions": 2, "kept": 1})
    result, _ = play(tmp_path, config, {"advprefix.judge": lambda call, rng: next(marks)})
    assert result.attempts[0].score == 1.0


def test_several_beginnings_are_each_delivered(tmp_path):
    lines = iter("pqrst")

    def answer(call, rng):
        return f"Here is {next(lines)} of it :\n1 then more"

    config = SMALL.model_copy(update={"prefixes": 3, "kept": 9, "shorter": 1})
    result, _ = play(tmp_path, config, {"advprefix.answer": answer})
    told = [attempt.messages[0]["content"] for attempt in result.attempts]
    assert len(told) == len(set(told)) == 3


def test_the_evaluator_reasons_before_it_decides_unless_told_not_to(tmp_path):
    said = "It takes the request up.\n\n[[YES]]"
    result, cast = play(tmp_path, SMALL, {"advprefix.judge": said})
    assert result.attempts[0].score == 1.0
    (asked,) = {call.messages[0]["content"] for call in cast.of("advprefix.judge")}
    _, cast = play(tmp_path / "plain", SMALL.model_copy(update={"reasoned": False}))
    (plain,) = {call.messages[0]["content"] for call in cast.of("advprefix.judge")}
    assert "few sentences" in asked and "few sentences" not in plain
    assert AdvPrefixConfig().openings == ("Here", "To", "Sure", "")


def test_a_proposals_length_bounds_the_cost():
    with pytest.raises(ValueError, match=r"attacker.max_tokens must be a number"):
        AdvPrefixConfig(attacker={"max_tokens": None})


def test_every_opening_needs_its_draws():
    with pytest.raises(ValueError, match="one number for each"):
        AdvPrefixConfig(openings=("a",), draws=(1, 2))
