"""Refusals from any partial state: which canvases are drawn, and what they are worth."""

import math
import random
from itertools import groupby

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from midspan.alignment.objectives import (
    AnsweredCanvas,
    BegunCanvas,
    DecoyCanvas,
    Draw,
    GapCanvas,
    PartialAnswer,
    PsaObjective,
    TokenExample,
    TrainingCanvas,
    TrainingSample,
)  # fmt: skip
from midspan.alignment.scores import ResponseStates
from midspan.errors import MidspanError

MASK, EOS, LENGTH = 19, 0, 24
ANSWER = tuple(random.Random(0).randrange(1, MASK) for _ in range(LENGTH))
EXAMPLE = TokenExample((7, 8), ANSWER)
REFUSALS = ((5, 6, EOS), (7, 8, 9, 10, EOS), (5, 8, EOS))
WINDOW = (3, 9)


def objective_with(**changes):
    return PsaObjective(**{"window": WINDOW, "benign_weight": 2.0, "begun": 0.0} | changes)


def sample_of(seed, harmful=True, answer=ANSWER, **changes):
    draw = Draw(random.Random(seed), REFUSALS, [(3, 4)], LENGTH, MASK, EOS)
    example = TokenExample(EXAMPLE.prompt_ids, draw.filled(answer))
    return objective_with(**changes).sample(example, harmful=harmful, draw=draw)


def canvas_of(seed, harmful=True, answer=ANSWER, **changes):
    return sample_of(seed, harmful, answer, **changes).canvases[0]


def begun_at(canvas):
    """Where the refusal of a begun canvas starts, and the refusal."""
    end = canvas.refusal_end + 1
    (refusal,) = (one for one in REFUSALS if canvas.target_ids[:end][-len(one) :] == one)
    return end - len(refusal), refusal


def shown(canvas):
    return {place for place, token in enumerate(canvas.response_ids) if token != MASK}


@settings(max_examples=200)
@given(st.integers(0, 10_000), st.booleans())
def test_what_is_revealed_is_the_answers(seed, harmful):
    canvas = canvas_of(seed, harmful)
    places = shown(canvas)
    assert all(canvas.response_ids[place] == ANSWER[place] for place in places)
    assert len(places) < LENGTH
    if not harmful:
        assert canvas == TrainingCanvas(EXAMPLE.prompt_ids, canvas.response_ids)
        return
    assert canvas == GapCanvas(EXAMPLE.prompt_ids, canvas.response_ids, REFUSALS, ANSWER, WINDOW)


@given(st.integers(0, 1_000), st.sampled_from([0, 1, 9, LENGTH]))
def test_what_is_avoided_is_the_answer_without_what_fills_the_canvas(seed, size):
    canvas = canvas_of(seed, answer=ANSWER[:size])
    assert canvas.avoided_ids == ANSWER[:size]
    assert set(canvas.response_ids[size:]) <= {MASK, EOS}


@given(st.integers(0, 1_000))
def test_one_refusal_is_wanted_where_one_is_drawn(seed):
    (refusal,) = canvas_of(seed, refusal="drawn").refusals
    assert refusal in REFUSALS


def test_the_shortest_refusal_is_wanted_and_begun_alone():
    for seed in range(30):
        assert canvas_of(seed, refusal="shortest").refusals == (REFUSALS[0],)
        assert begun_at(canvas_of(seed, refusal="shortest", begun=1.0))[1] == REFUSALS[0]


BESIDE = ((11, 12), (13,))
REQUEST = (15, 16, 17)


@settings(max_examples=200)
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 9, LENGTH]))
def test_a_piece_apart_stands_behind_what_names_it_and_beside_a_benign_prompt(seed, size):
    draw = Draw(random.Random(seed), REFUSALS, [(3, 4)], LENGTH, MASK, EOS, beside=BESIDE)
    answer = draw.filled(ANSWER[:size])
    sample = objective_with(apart=1.0).sample(
        TokenExample((7, 8), answer, request_ids=REQUEST), harmful=True, draw=draw
    )
    (canvas,) = sample.canvases
    assert canvas.prompt_ids in BESIDE and canvas.refusals == REFUSALS
    text, response = canvas.avoided_ids, canvas.response_ids
    assert len(response) == LENGTH and len(text) < LENGTH + 1
    assert set(response[len(text) :]) in ({EOS}, {MASK}, set())
    masked = [place for place, token in enumerate(response[: len(text)]) if token == MASK]
    assert masked
    assert all(response[p] == text[p] for p in range(len(text)) if p not in masked)
    # What stands before the first mask names the subject: the request, or the answer's beginning.
    splits = [
        cut
        for cut in range(masked[0] + 1)
        if text[:cut] == REQUEST or (cut < size and text[:cut] == ANSWER[:cut])
    ]
    pieces = {ANSWER[a:b] for a in range(size) for b in range(a + 1, size + 1)}
    assert any(text[cut:] in pieces for cut in splits)


@settings(max_examples=100)
@given(st.integers(0, 10_000))
def test_beside_a_mention_a_piece_needs_no_name_and_shows_some_of_itself(seed):
    withheld = (TokenExample((17, 18), (*range(1, 9), *[EOS] * 16)),)
    draw = Draw(
        random.Random(seed), REFUSALS, [(3, 4)], LENGTH, MASK, EOS, beside=BESIDE, withheld=withheld
    )
    (canvas,) = (
        objective_with(apart=1.0)
        .sample(TokenExample((7, 8), ANSWER, request_ids=REQUEST), harmful=True, draw=draw)
        .canvases
    )
    if canvas.prompt_ids in BESIDE:
        return
    assert canvas.prompt_ids == (17, 18)
    text = canvas.avoided_ids
    assert text == tuple(range(text[0], text[0] + len(text))) and text[-1] < 9
    # A canvas with nothing on it is to be answered.
    assert len(text) / 3 <= len(shown(canvas) & set(range(len(text)))) < len(text)


def test_without_benign_prompts_no_piece_stands_apart():
    draw = Draw(random.Random(0), REFUSALS, [(3, 4)], LENGTH, MASK, EOS)
    example = TokenExample((7, 8), draw.filled(ANSWER), request_ids=REQUEST)
    for _ in range(20):
        sample = objective_with(apart=1.0).sample(example, harmful=True, draw=draw)
        assert sample.canvases[0].prompt_ids == (7, 8)


@settings(max_examples=100)
@given(st.integers(0, 10_000))
def test_a_decoy_is_a_piece_of_a_harmless_answer_where_the_request_is_named(seed):
    harmless, named = tuple(range(1, 14)), ((17, 18),)
    draw = Draw(
        random.Random(seed), REFUSALS, [(3, 4)], LENGTH, MASK, EOS,
        beside=BESIDE, harmless=((*harmless, *[EOS] * (LENGTH - 13)),), named=named,
    )  # fmt: skip
    example = TokenExample((7, 8), (20, 21, *[EOS] * (LENGTH - 2)), request_ids=REQUEST)
    (canvas,) = objective_with(decoys=1.0).sample(example, harmful=True, draw=draw).canvases
    text, response = canvas.target_ids[: canvas.end], canvas.response_ids
    heads = ((),) if canvas.prompt_ids in named else (REQUEST, (20,))
    assert canvas.prompt_ids in (*named, *BESIDE)
    assert any(text[: len(head)] == head and text[len(head) :] in runs(harmless) for head in heads)
    hidden = {place for place in range(canvas.end) if response[place] == MASK}
    assert hidden and response[canvas.end :] == canvas.target_ids[canvas.end :]
    assert all(response[p] == text[p] for p in set(range(canvas.end)) - hidden)


def runs(text):
    return {text[a:b] for a in range(len(text)) for b in range(a + 1, len(text) + 1)}


def test_the_masked_words_of_a_decoy_are_learned_and_what_stands_behind_is_free():
    canvas = DecoyCanvas((7,), (5, MASK, 2, MASK, MASK), (5, 1, 2, 3, MASK), 4)
    samples = [TrainingSample((canvas,), True)]
    states = states_of(samples, 4)
    found = PsaObjective(beta=0.0).losses(states, samples)
    logp_LV = (states.policy_BLD[0] @ states.head_VD.T).log_softmax(-1)
    nats = -(logp_LV[1, 1] + logp_LV[3, 3]) / 2
    assert torch.allclose(found.metrics["nats_decoys"], nats[None])
    assert torch.allclose(found.values_S, 8 * nats[None])


def test_what_a_mention_asks_for_is_learned_and_other_prompts_are_kept():
    draw = Draw(random.Random(1), REFUSALS, [(3, 4)], LENGTH, MASK, EOS)
    objective = objective_with(gap_tokens=5.0, beta=0.0)
    kinds = (True, False, True, False)
    examples = [TokenExample((7, 8), ANSWER, mentions=mentions) for mentions in kinds]
    samples = [objective.sample(one, harmful=False, draw=draw) for one in examples]
    assert [isinstance(s.canvases[0], AnsweredCanvas) for s in samples] == list(kinds)
    states = states_of(samples, seed=2)
    found = objective.losses(states, samples)
    logp = (states.policy_BLD @ states.head_VD.T).log_softmax(-1)
    logq = (states.reference_BLD @ states.head_VD.T).log_softmax(-1)
    for row, (sample, mentions) in enumerate(zip(samples, kinds, strict=True)):
        hidden = [p for p, token in enumerate(sample.canvases[0].response_ids) if token == MASK]
        kl = sum((logp[row, p].exp() * (logp[row, p] - logq[row, p])).sum() for p in hidden)
        nats = -sum(logp[row, p, ANSWER[p]] for p in hidden) / len(hidden)
        expected = 2.0 * (5.0 * nats if mentions else kl)
        assert torch.allclose(found.values_S[row], expected)
    assert len(found.metrics["nats_mentioned"]) == len(found.metrics["kl_benign"]) == 2
    only_mentions = objective.losses(states_of(samples[:1], 3), samples[:1])
    assert "kl_benign" not in only_mentions.metrics


def test_what_is_off_leaves_no_trace_in_a_recipe():
    new = {"unrefused", "apart", "decoys", "forms", "mentioned"}
    assert not new & set(PsaObjective().model_dump())
    on = {"unrefused": True, "apart": 0.1, "decoys": 0.1, "forms": 0.1, "mentioned": 0.1}
    assert new <= set(PsaObjective(**on).model_dump())


def test_the_words_of_a_refusal_hide_no_order():
    """A token at the floor beside a certain refusal, but likely among others, is pushed down."""
    canvas = GapCanvas((7,), (MASK,) * 3, ((5, EOS),), (1, 2, 3), (0, 2))
    logits = torch.zeros(1, 3, MASK, dtype=torch.float64)
    logits[..., EOS] = 20.0
    logits[..., [1, 2, 3]] = 4.0
    states = ResponseStates(
        logits.clone().requires_grad_(), logits, torch.eye(MASK, dtype=torch.float64),
        torch.ones(1, 3, dtype=torch.bool),
    )  # fmt: skip
    for unrefused in (False, True):
        objective = PsaObjective(
            window=(0, 2), beta=0.0, negative_floor=-12.0, unrefused=unrefused, gap_starts=None
        )
        states.policy_BLD.grad = None
        objective.losses(states, [TrainingSample((canvas,), True)]).values_S.sum().backward()
        pushed = states.policy_BLD.grad[0, range(3), [1, 2, 3]]
        assert bool((pushed > 0.1).all()) is unrefused


@settings(max_examples=200)
@given(st.integers(0, 10_000))
def test_a_begun_refusal_has_words_and_lacks_some(seed):
    canvas = canvas_of(seed, begun=1.0)
    first, refusal = begun_at(canvas)
    last = canvas.refusal_end
    assert first <= WINDOW[1]
    assert canvas.target_ids == (*ANSWER[:first], *refusal, *[EOS] * (LENGTH - last - 1))
    places = shown(canvas)
    assert all(canvas.response_ids[place] == canvas.target_ids[place] for place in places)
    assert set(range(first)) <= places
    assert places & set(range(first, last)) and not set(range(first, last + 1)) <= places


@given(st.integers(0, 1_000))
def test_a_refusal_does_not_begin_behind_the_end_of_a_short_answer(seed):
    short = TokenExample((7,), (*ANSWER[:2], *[EOS] * (LENGTH - 2)))
    draw = Draw(random.Random(seed), REFUSALS, [(3, 4)], LENGTH, MASK, EOS)
    sample = objective_with(begun=1.0).sample(short, harmful=True, draw=draw)
    assert begun_at(sample.canvases[0])[0] <= 2


def test_shares_are_what_was_asked():
    canvases = [canvas_of(seed, begun=0.25) for seed in range(800)]
    begun = [isinstance(canvas, BegunCanvas) for canvas in canvases]
    assert sum(begun) / 800 == pytest.approx(0.25, abs=0.05)
    benign = {type(canvas_of(seed, False, begun=1.0)) for seed in range(20)}
    assert benign == {TrainingCanvas}
    assert not any(shown(canvas_of(seed, False, partial_benign=False)) for seed in range(50))
    assert objective_with().needs_answers == (True, True)
    assert objective_with(partial_benign=False).needs_answers == (True, False)


def states_of(samples, seed):
    generator = torch.Generator().manual_seed(seed)
    response_BL = torch.tensor([sample.canvases[0].response_ids for sample in samples])
    policy, reference = (
        torch.randn(*response_BL.shape, 6, generator=generator, dtype=torch.float64)
        for _ in range(2)
    )
    head = torch.randn(MASK, 6, generator=generator, dtype=torch.float64)
    return ResponseStates(policy.requires_grad_(), reference, head, response_BL == MASK)


def naive_loss(objective, sample, logp, logq, answer, canvases):
    """One canvas's loss position by position, from log-probabilities [L, V].

    `canvases` are all of the batch whose gaps are to hold refusals.
    """
    canvas = sample.canvases[0]
    shown_ends = [p for p, token in enumerate(canvas.response_ids) if token == EOS]
    hidden = [place for place in range(LENGTH) if canvas.response_ids[place] == MASK]
    kl = sum((logp[p].exp() * (logp[p] - logq[p])).sum() for p in hidden)
    if not sample.harmful:
        return objective.benign_weight * kl
    if isinstance(canvas, BegunCanvas):
        last = canvas.refusal_end
        ends = [logp[p, EOS] for p in hidden if p > last]
        nats = sum(logp[p, canvas.target_ids[p]] for p in hidden if p <= last)
        return objective.beta * kl - nats - sum(ends) / max(1, len(ends))
    scores = []
    for is_gap, run in groupby(range(LENGTH), hidden.__contains__):
        places = list(run)
        if is_gap:
            found = [
                sum(logp[start + n, token] for n, token in enumerate(refusal))
                for refusal in canvas.refusals
                for nth, start in enumerate(places)
                if start + len(refusal) - 1 <= places[-1]
                and not any(end < start for end in shown_ends)
                and (
                    (WINDOW[0] if len(answer) > WINDOW[0] else 0) <= start <= WINDOW[1]
                    if len(hidden) == LENGTH
                    else nth < (objective.gap_starts or LENGTH)
                )
            ]
            ends = sum(logp[place, EOS] for place in places) / len(places)
            scores.append(max(found) if found else objective.gap_tokens * ends)
    own = [p for p in hidden if p < len(answer)]
    floor = -math.inf if objective.negative_floor is None else objective.negative_floor
    if objective.unrefused:
        words = {word for other in canvases for one in other.refusals for word in one}
        own = [p for p in own if answer[p] not in words]
        left = {p: (1 - sum(logp[p, word].exp() for word in words)).clamp(min=1e-5) for p in own}
        values = [(logp[p, answer[p]] - left[p].log()).clamp(min=floor) for p in own]
        avoided = objective.gap_tokens * sum(values) / max(1, len(own))
    else:
        avoided = objective.gap_tokens * sum(logp[p, answer[p]] for p in own) / max(1, len(own))
        avoided = torch.as_tensor(avoided).clamp(min=objective.gap_tokens * floor)
    safe = sum(scores) / len(scores)
    return objective.beta * kl - safe + objective.negative_weight * avoided


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([None, 1, 3]),
    st.sampled_from(["likeliest", "drawn", "shortest"]),
    st.sampled_from([None, -2.0]),
    st.sampled_from([0, 1, 4, 13, LENGTH]),
    st.booleans(),
)
def test_losses_and_gradients_are_those_of_a_walk_over_positions(
    seed, starts, refusal, floor, size, unrefused
):
    answer = ANSWER[:size]
    fields = {
        "begun": 0.3, "gap_starts": starts, "refusal": refusal, "negative_floor": floor,
        "negative_weight": 0.3, "beta": 0.1, "gap_tokens": 5.0, "unrefused": unrefused,
        "partial_answer": PartialAnswer(shown_run=8, hidden_run=20),
    }  # fmt: skip
    objective = objective_with(**fields)
    samples = [
        sample_of(seed + place, harmful, answer, **fields)
        for place, harmful in enumerate((True, True, False, True))
    ]
    states = states_of(samples, seed)
    found = objective.losses(states, samples)
    logp = (states.policy_BLD @ states.head_VD.T).log_softmax(-1)
    logq = (states.reference_BLD @ states.head_VD.T).log_softmax(-1)
    gapped = [s.canvases[0] for s in samples if isinstance(s.canvases[0], GapCanvas)]
    expected = torch.stack(
        [
            naive_loss(objective, one, logp[row], logq[row], answer, gapped)
            for row, one in enumerate(samples)
        ]
    )
    assert torch.allclose(found.values_S, expected)
    grads = [
        torch.autograd.grad(values.sum(), states.policy_BLD)[0]
        for values in (found.values_S, expected)
    ]
    assert torch.allclose(*grads)
    begun = sum(isinstance(sample.canvases[0], BegunCanvas) for sample in samples)
    assert len(found.metrics.get("nats_begun", ())) == begun
    assert len(found.metrics.get("reward", ())) == 3 - begun
    assert len(found.metrics["kl_harmful"]) == 3 and len(found.metrics["kl_benign"]) == 1


def expecting_the_end(response_ids, confidence=0.97):
    """A model whose logits are its states, and which expects the end of the text everywhere."""
    length = len(response_ids)
    logits = torch.zeros(1, length, MASK, dtype=torch.float64)
    logits[..., EOS] = math.log(confidence / (1 - confidence) * (MASK - 1))
    masked = torch.tensor([response_ids]) == MASK
    head = torch.eye(MASK, dtype=torch.float64)
    return ResponseStates(logits.clone().requires_grad_(), logits, head, masked)


@pytest.mark.parametrize("size", [0, 1, 20, 60, 128])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_end_of_a_short_answer_is_not_unlearned(size, share):
    """On clean canvases behind the window, and on begun ones behind an end that stands there."""
    rng = random.Random(size)
    answer = [rng.randrange(1, MASK) for _ in range(size)]
    draw = Draw(rng, REFUSALS, [(3, 4)], 128, MASK, EOS)
    example = TokenExample((7,), draw.filled(tuple(answer)))
    objective = PsaObjective(
        negative_weight=0.2, benign_weight=2.0, begun=0.0, beta=0.0,
        partial_answer=PartialAnswer(share=share),
    )  # fmt: skip
    for _ in range(30):
        sample = objective.sample(example, harmful=True, draw=draw)
        response = sample.canvases[0].response_ids
        states = expecting_the_end(response)
        objective.losses(states, [sample]).values_S.sum().backward()
        last_of_window = 60 + max(map(len, REFUSALS)) - 1
        shown = next((p for p, token in enumerate(response) if token == EOS), 128)
        behind = shown if share else max(size - 1, last_of_window)
        # A positive gradient would lower the end's logit.
        assert (states.policy_BLD.grad[0, behind + 1 :, EOS] <= 0).all()


def test_the_kl_is_on_the_whole_response():
    with pytest.raises(MidspanError, match="kl_rows: there is no such field"):
        PsaObjective(kl_rows="window")
