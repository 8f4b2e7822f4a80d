"""Likelihoods of answers against one forward at a time and against `phrase_score`."""

import math

import pytest
import torch
from tiny_lm import EOS, MASK, TinyLM

from midspan.errors import MidspanError
from midspan.scoring.continuations import MultipleChoice, score_choices
from midspan.scoring.likelihood import ScoreOptions, phrase_score

PROMPT = (5, 6, 7)


@pytest.fixture
def lm():
    return TinyLM()


def test_four_options_cost_one_forward_and_are_exact(lm):
    choice = MultipleChoice(PROMPT, ((10,), (11,), (12,), (13,)))
    (scored,) = score_choices(lm, [choice])
    assert (lm.calls, scored.forwards) == (1, 1)
    logprobs = lm.logits(torch.tensor([[*PROMPT, MASK]]))[0, -1].log_softmax(-1)
    expected = [float(logprobs[token]) for (token,) in choice.answers]
    assert [one.value for one in scored.answers] == pytest.approx(expected, abs=1e-5)
    assert all(one.error == 0 for one in scored.answers)
    best = int(logprobs.argmax())
    (sure,) = score_choices(lm, [MultipleChoice(PROMPT, ((best,),))])
    assert sure.answers[0].is_likeliest and not any(one.is_likeliest for one in scored.answers)


def test_longer_answers_are_phrase_scores_with_an_error(lm):
    answers = ((10,), (20, 21, 22), (30, 31))
    options = ScoreOptions(samples=16, seed=3, batch_size=5)
    (scored,) = score_choices(lm, [MultipleChoice(PROMPT, answers)], options)
    assert scored.forwards == lm.calls == 1 + 2 * 16
    for ids, one in zip(answers[1:], scored.answers[1:], strict=True):
        alone = ScoreOptions(mode="mc", samples=16, seed=3)
        assert one.value == pytest.approx(phrase_score(lm, PROMPT, ids, 0, len(ids), alone).value)
        assert 0 < one.error < abs(one.value) and one.is_likeliest is None
    (single,) = score_choices(lm, [MultipleChoice(PROMPT, ((20, 21),))], ScoreOptions(samples=1))
    assert math.isinf(single.answers[0].error)


def test_the_error_is_the_spread_of_repeated_estimates(lm):
    choice = MultipleChoice(PROMPT, ((20, 21, 22, 23),))
    runs = [
        score_choices(lm, [choice], ScoreOptions(samples=8, seed=seed))[0].answers[0]
        for seed in range(40)
    ]
    values = torch.tensor([one.value for one in runs])
    stated = sum(one.error for one in runs) / len(runs)
    # Stratified draws vary less than the stated error, never more.
    assert float(values.std()) < 1.3 * stated


@pytest.mark.parametrize("shift", [False, True])
def test_rows_of_a_ragged_batch_do_not_disturb_each_other(shift):
    lm = TinyLM(shift=shift)
    choices = [
        MultipleChoice((5,), ((10,), (11,))),
        MultipleChoice(tuple(range(3, 23)), ((20, 21, 22),)),
        MultipleChoice((8, 9), ((12,), (13, 14))),
    ]
    options = ScoreOptions(samples=4)
    together = score_choices(lm, choices, options)
    for choice, scored in zip(choices, together, strict=True):
        (alone,) = score_choices(lm, [choice], options)
        for one, other in zip(scored.answers, alone.answers, strict=True):
            assert one.value == pytest.approx(other.value, abs=1e-4)


def test_out_of_memory_is_answered_by_smaller_batches(lm, monkeypatch):
    choices = [MultipleChoice((5, *range(8, 8 + n)), ((10,), (20, 21))) for n in range(3)]
    options = ScoreOptions(samples=4, batch_size=8)
    expected = score_choices(lm, choices, options)
    whole, sizes = lm.logits, []

    def scarce(ids, *arguments, **named):
        if len(ids) > most:
            raise torch.OutOfMemoryError("no more")
        sizes.append(len(ids))
        return whole(ids, *arguments, **named)

    monkeypatch.setattr(lm, "logits", scarce)
    most = 2
    with pytest.warns(UserWarning, match="out of memory: going on with batch_size=2"):
        found = score_choices(lm, choices, options)
    assert max(sizes) == 2 and sum(sizes) == sum(one.forwards for one in found) == 3 * 5
    for one, other in zip(found, expected, strict=True):
        values = [[answer.value for answer in scored.answers] for scored in (one, other)]
        assert values[0] == pytest.approx(values[1], abs=1e-4)
    most = 0
    with pytest.raises(torch.OutOfMemoryError):
        score_choices(lm, choices[:1], options)


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        (MultipleChoice((), ((1,),)), "at least one token"),
        (MultipleChoice(PROMPT, ()), "at least one token"),
        (MultipleChoice(PROMPT, ((1,), ())), "at least one token"),
        (
            MultipleChoice(tuple([3] * 96), ((1,),)),
            "have 97 tokens, and the model takes",
        ),
    ],
)
def test_bad_choices_are_refused(lm, choice, reason):
    with pytest.raises(MidspanError, match=rf"choices\[1\]: .*{reason}"):
        score_choices(lm, [MultipleChoice(PROMPT, ((EOS,),)), choice])
