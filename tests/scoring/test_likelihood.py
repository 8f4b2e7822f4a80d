import math

import pytest
import torch
from tiny_lm import MASK, TinyLM

from midspan.errors import MidspanError
from midspan.scoring.likelihood import ScoreOptions, phrase_score

PROMPT, PHRASE, LENGTH = (5, 6, 7), (10, 11, 12), 12


@pytest.fixture(scope="module")
def lm():
    return TinyLM()


def log_p(lm, canvas, position):
    """Log-probability of the next phrase token, one forward at a time."""
    logits = lm.logits(torch.tensor([[*PROMPT, *canvas]]))[0, len(PROMPT) + position]
    return logits.log_softmax(-1)


def oneshot(lm, start, canvas=None):
    canvas = canvas or [MASK] * LENGTH
    return sum(float(log_p(lm, canvas, start + j)[t]) for j, t in enumerate(PHRASE))


def test_oneshot_reads_one_masked_canvas(lm):
    lm.calls = 0
    score = phrase_score(lm, PROMPT, PHRASE, 4, LENGTH)
    assert (score.forwards, lm.calls, score.start) == (1, 1, 4)
    assert score.value == pytest.approx(oneshot(lm, 4), abs=1e-4)


@pytest.mark.parametrize("mode", ["chain", "pll"])
def test_chain_and_pll_reveal_the_other_tokens(lm, mode):
    expected = 0.0
    for j, token in enumerate(PHRASE):
        canvas = [MASK] * LENGTH
        shown = range(j) if mode == "chain" else [i for i in range(3) if i != j]
        for i in shown:
            canvas[4 + i] = PHRASE[i]
        expected += float(log_p(lm, canvas, 4 + j)[token])
    lm.calls = 0
    options = ScoreOptions(mode, batch_size=2)
    score = phrase_score(lm, PROMPT, PHRASE, 4, LENGTH, options)
    assert score.forwards == lm.calls == 3
    assert score.value == pytest.approx(expected, abs=1e-4)


def test_monte_carlo_approaches_the_average_over_orders(lm):
    # E[sum of log p of the hidden tokens * N / count], all subsets enumerated.
    expected = 0.0
    for hidden in range(1, 8):
        positions = [i for i in range(3) if hidden >> i & 1]
        canvas = [MASK] * LENGTH
        for i in range(3):
            if i not in positions:
                canvas[4 + i] = PHRASE[i]
        total = sum(float(log_p(lm, canvas, 4 + i)[PHRASE[i]]) for i in positions)
        chance = 1 / 3 / math.comb(3, len(positions))
        expected += chance * total * 3 / len(positions)
    options = ScoreOptions("mc", samples=1500, batch_size=500)
    score = phrase_score(lm, PROMPT, PHRASE, 4, LENGTH, options)
    assert score.forwards == 1500
    assert score.value == pytest.approx(expected, rel=0.03)
    one_token = phrase_score(lm, PROMPT, PHRASE[:1], 4, LENGTH, ScoreOptions("mc", samples=1))
    assert one_token.value == pytest.approx(
        phrase_score(lm, PROMPT, PHRASE[:1], 4, LENGTH).value, abs=1e-5
    )


def test_context_is_revealed(lm):
    canvas = [MASK] * LENGTH
    canvas[0], canvas[9] = 20, 21
    options = ScoreOptions(context={0: 20, 9: 21})
    score = phrase_score(lm, PROMPT, PHRASE, 4, LENGTH, options)
    assert score.value == pytest.approx(oneshot(lm, 4, canvas), abs=1e-4)


def test_a_shifted_model_is_read_where_it_predicts():
    lm = TinyLM(shift=True)
    score = phrase_score(lm, PROMPT, PHRASE, 3, LENGTH)
    assert score.value == pytest.approx(oneshot(lm, 3), abs=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda lm: phrase_score(lm, PROMPT, (), 0, 8), "phrase_ids is empty"),
        (lambda lm: phrase_score(lm, PROMPT, (MASK,), 0, 8), "holds the mask token"),
        (lambda lm: phrase_score(lm, (), PHRASE, 0, 8), "prompt_ids is empty"),
        (lambda lm: phrase_score(lm, PROMPT, PHRASE, 6, 8), "outside 0..7"),
        (lambda lm: phrase_score(lm, PROMPT, PHRASE, -1, 8), "outside 0..7"),
        (lambda lm: phrase_score(lm, PROMPT, PHRASE, 0, 95), "lower length"),
        (
            lambda lm: phrase_score(lm, PROMPT, PHRASE, 0, 8, ScoreOptions("best")),
            "mode: must be one of .*; got .best.",
        ),
        (
            lambda lm: phrase_score(lm, PROMPT, PHRASE, 0, 8, ScoreOptions("mc", samples=0)),
            "options.samples=0",
        ),
        (
            lambda lm: phrase_score(lm, PROMPT, PHRASE, 0, 8, options=ScoreOptions(context={2: 9})),
            "context: position 2 lies inside",
        ),
        (
            lambda lm: phrase_score(lm, PROMPT, PHRASE, 0, 8, options=ScoreOptions(context={8: 9})),
            "context: position 8 is outside",
        ),
    ],
)
def test_bad_places_are_refused(lm, call, message):
    with pytest.raises(MidspanError, match=message):
        call(lm)


def test_a_model_without_a_mask_token_is_refused():
    lm = TinyLM()
    lm.tokens.mask = None
    with pytest.raises(MidspanError, match="no mask token"):
        phrase_score(lm, PROMPT, PHRASE, 0, LENGTH)
