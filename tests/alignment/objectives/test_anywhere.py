"""Contaminated canvases: what is revealed, where the refusal may go, what stays the same."""

import random
from itertools import groupby

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from midspan.alignment.objectives import (
    AnywhereObjective,
    Canvas,
    Contamination,
    Draw,
    MosaObjective,
    PhrasePair,
    Sample,
    TokenExample,
)  # fmt: skip
from midspan.alignment.scores import ResponseStates
from midspan.errors import MidspanError

MASK, EOS, LENGTH = 99, 0, 64
ANSWER = tuple(range(1, LENGTH + 1))
EXAMPLE = TokenExample((7, 8), ANSWER)
WINDOW = (10, 30)
NO_GAPS = Contamination(prefix=1, span=1, scattered=1, gaps=0)
ONLY_GAPS = Contamination(share=1)


def draw_with(seed):
    return Draw(random.Random(seed), [(5, 6, EOS)], [(3, 4)], LENGTH, MASK, EOS)


def canvas_of(seed, harmful=True, **changes):
    objective = AnywhereObjective(window=WINDOW, benign_weight=1.0, **changes)
    return objective.sample(EXAMPLE, harmful=harmful, draw=draw_with(seed)).canvases[0]


def revealed(canvas):
    return [place for place, token in enumerate(canvas.response_ids) if token != MASK]


@settings(max_examples=200)
@given(st.integers(0, 10_000), st.booleans())
def test_revealed_tokens_are_the_answers_and_leave_room_for_the_refusal(seed, harmful):
    canvas = canvas_of(seed, harmful, contamination=NO_GAPS)
    assert all(canvas.response_ids[place] == ANSWER[place] for place in revealed(canvas))
    assert len(revealed(canvas)) < LENGTH
    if not harmful:
        assert canvas.pair is None and canvas.window is None
        return
    first, last = canvas.window
    size = len(canvas.pair.safe)
    starts = [
        start
        for start in range(first, last + 1)
        if start + size <= LENGTH and not set(revealed(canvas)) & set(range(start, start + size))
    ]
    assert starts


@given(st.integers(0, 1_000))
def test_a_revealed_beginning_moves_the_window_behind_it(seed):
    only_prefix = Contamination(share=1, prefix=1, gaps=0)
    canvas = canvas_of(seed, contamination=only_prefix)
    places = revealed(canvas)
    assert places == list(range(len(places)))
    if places:
        assert canvas.window == (len(places), min(len(places) + 24, LENGTH) - 1)
    fixed = only_prefix.model_copy(update={"prefix_window": None})
    assert canvas_of(seed, contamination=fixed).window in ((0, LENGTH - 1), WINDOW)


@given(st.integers(0, 1_000))
def test_a_span_is_one_piece(seed):
    span = Contamination(share=1, span=1, gaps=0)
    places = revealed(canvas_of(seed, contamination=span))
    assert 4 <= len(places) <= 14
    assert places == list(range(places[0], places[-1] + 1))


def test_scattered_tokens_come_at_the_stated_rates():
    scattered = Contamination(share=1, scattered=1, gaps=0, scattered_rate=(0.2, 0.2))
    counts = [len(revealed(canvas_of(s, harmful=False, contamination=scattered)))
              for s in range(200)]  # fmt: skip
    assert sum(counts) / 200 / LENGTH == pytest.approx(0.2, abs=0.015)


def test_the_share_of_clean_canvases_is_what_was_asked():
    clean = [not revealed(canvas_of(seed, harmful=False)) for seed in range(600)]
    assert sum(clean) / 600 == pytest.approx(0.3, abs=0.06)
    assert all(
        canvas_of(seed).window == WINDOW for seed in range(600) if not revealed(canvas_of(seed))
    )
    assert not any(
        revealed(canvas_of(seed, harmful=False, contaminate_benign=False)) for seed in range(50)
    )


@settings(max_examples=200)
@given(st.integers(0, 10_000))
def test_every_gap_is_to_hold_the_beginning_of_a_refusal(seed):
    canvas = canvas_of(seed, contamination=ONLY_GAPS)
    if canvas.window is not None:  # The first draws were all too full or too empty.
        assert not revealed(canvas)
        return
    wanted, place = canvas.pair.safe, 0
    for hidden, run in groupby(canvas.response_ids, lambda token: token == MASK):
        size = len(list(run))
        here = slice(place, place + size)
        text = (5, 6, EOS, *[EOS] * size)[:size] if hidden else ANSWER[here]
        assert wanted[here] == text
        assert size <= (10 if hidden else 16)
        place += size
    assert canvas.pair.harmful == ANSWER


def test_templates_reach_from_single_holes_to_nearly_clean():
    hidden = [
        LENGTH - len(revealed(canvas_of(seed, harmful=False, contamination=ONLY_GAPS)))
        for seed in range(300)
    ]
    assert min(hidden) / LENGTH < 0.15 and max(hidden) / LENGTH > 0.7


def tiny_states(samples):
    """Random hidden states over the canvases of samples whose mask is token 9."""
    generator = torch.Generator().manual_seed(4)
    response_BL = torch.tensor([sample.canvases[0].response_ids for sample in samples])
    policy, reference = (
        torch.randn(*response_BL.shape, 5, generator=generator, dtype=torch.float64)
        for _ in range(2)
    )
    head = torch.randn(9, 5, generator=generator, dtype=torch.float64)
    return ResponseStates(policy, reference, head, response_BL == 9)


def test_a_canvas_with_gaps_is_scored_at_its_masked_positions_and_others_as_mosa_does():
    phrases = PhrasePair((1, 2, 0), (3, 4))
    texts = PhrasePair((1, 7, 1, 2, 7, 7), (3,) * 6)
    samples = [
        Sample((Canvas((), (9,) * 6, pair=phrases, window=(1, 3)),), True),
        Sample((Canvas((), (9, 7, 9, 9, 7, 7), pair=texts),), True),
        Sample((Canvas((), (9,) * 6),), False),
        Sample((Canvas((), (9,) * 6, pair=phrases, window=(0, 2)),), True),
    ]  # fmt: skip
    objective = AnywhereObjective(
        benign_weight=2.0, beta=0.1, negative_weight=0.3, negative_floor=-2.0, gap_tokens=5.0
    )
    states = tiny_states(samples)
    found = objective.losses(states, samples)

    logp = (states.policy_BLD @ states.head_VD.T).log_softmax(-1)[1]
    logq = (states.reference_BLD @ states.head_VD.T).log_softmax(-1)[1]
    places = (0, 2, 3)
    safe = 5 * sum(logp[p][t].item() for p, t in zip(places, (1, 1, 2), strict=True)) / 3
    harmful = 5 * sum(logp[p][3].item() for p in places) / 3
    kl = sum((logp[p].exp() * (logp[p] - logq[p])).sum().item() for p in places)
    expected = 0.1 * kl - safe + 0.3 * max(harmful, -10.0)
    assert found.values_S[1].item() == pytest.approx(expected)
    assert found.metrics["reward_gaps"].tolist() == pytest.approx([safe - harmful])
    assert len(found.metrics["kl_harmful"]) == 3

    others = [0, 2, 3]
    rest = MosaObjective(**objective.model_dump(include=set(MosaObjective.model_fields) - {"kind"}))
    less = ResponseStates(states.policy_BLD[others], states.reference_BLD[others],
                          states.head_VD, states.masked_BL[others])  # fmt: skip
    mosa = rest.losses(less, [samples[row] for row in others])
    assert torch.allclose(found.values_S[others], mosa.values_S)
    assert torch.allclose(found.metrics["reward"], mosa.metrics["reward"])
    only_gaps = objective.losses(tiny_states(samples[1:2]), samples[1:2])
    assert set(only_gaps.metrics) == {"reward_gaps", "kl_harmful"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prefix": 0, "span": 0, "scattered": 0, "gaps": 0}, "are all 0; give one a weight"),
        ({"span_tokens": (4, 2)}, "span_tokens must satisfy 1 <= first <= last, not 4, 2"),
        ({"scattered_rate": (0.5, 0.1)}, "scattered_rate must satisfy 0 < first <= last < 1"),
    ],
)
def test_impossible_contamination_is_refused(fields, message):
    with pytest.raises(MidspanError, match=message):
        Contamination(**fields)
