"""Scores under block-causal attention read the states that decoding reaches."""

import pytest
import torch
from tiny_lm import MASK, BlockLM, TinyLM

from midspan.decoding import Request, decode, decoding_config
from midspan.engine import whitebox
from midspan.engine.calls import Score
from midspan.scoring.block_states import reached_states
from midspan.scoring.continuations import MultipleChoice, score_choices
from midspan.scoring.gradients import Goal, phrase_losses, token_gradient
from midspan.scoring.likelihood import ScoreOptions, phrase_score

PROMPT, PHRASE, LENGTH = (5, 6, 7, 8, 9, 10), (20, 21, 22, 23, 24, 25, 26), 12


class FreeLM(BlockLM):
    """Without `no_grad` around its logits."""

    def __init__(self, shift):
        super().__init__()
        self.family.logit_shift = shift

    logits = TinyLM.__mro__[1].logits


def states(shift):
    """The phrase's tokens that are scored together, in blocks of 4 of which the prompt fills 2."""
    later = [[2, 3, 4, 5], [6]] if not shift else [[2], [3, 4, 5], [6]]
    return [[0, 1], *later]


def expected(lm, shift, prompt=PROMPT):
    """Log-probability of each token, one forward at a time over its block and those before."""
    values = []
    for part in states(shift):
        shown = PHRASE[: part[0]]
        # With the shift, the row of a block's first token lies in the block before.
        end = (len(prompt) + part[-1]) // 4 * 4 + 4
        ids = [*prompt, *shown, *[MASK] * (end - len(prompt) - len(shown))]
        logits = lm.logits(torch.tensor([ids]))[0].log_softmax(-1)
        values += [logits[len(prompt) + j, PHRASE[j]] for j in part]
    return torch.stack(values)


@pytest.mark.parametrize("shift", [False, True])
def test_a_phrase_over_borders_is_scored_block_by_block(shift):
    lm = FreeLM(shift)
    value = float(expected(lm, shift).sum())
    score = phrase_score(lm, PROMPT, PHRASE, 0, LENGTH)
    assert score.value == pytest.approx(value, abs=1e-4)
    assert score.forwards == len(states(shift))
    (loss,) = phrase_losses(lm, [PROMPT], [Goal(PHRASE, 0, LENGTH)])
    assert float(loss) == pytest.approx(-value / len(PHRASE), abs=1e-5)


@pytest.mark.parametrize("shift", [False, True])
def test_the_gradient_is_that_of_the_states(shift):
    lm = FreeLM(shift)
    gradient_FV = token_gradient(lm, PROMPT, [1, 3], Goal(PHRASE, 0, LENGTH))
    embedding = lm.base.get_input_embeddings()
    one_hot = torch.nn.functional.one_hot(torch.tensor(PROMPT), 64).float().requires_grad_()

    def put(module, arguments, embedded):
        return torch.cat([(one_hot @ embedding.weight)[None], embedded[:, len(PROMPT) :]], 1)

    handle = embedding.register_forward_hook(put)
    (-expected(lm, shift).mean()).backward()
    handle.remove()
    torch.testing.assert_close(gradient_FV, one_hot.grad[[1, 3]], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shift", [False, True])
def test_decoding_reaches_these_states(shift):
    """What is written in one step a state has the confidences that the score adds up."""
    lm = FreeLM(shift)
    config = decoding_config(
        sampler="block", length=7, block_length=4, steps=2, cache="prefix", early_stop=False
    )
    found = decode(lm, [Request(PROMPT)], config)[0]
    # Decoding also fills the last block, which the canvas cuts.
    assert found.forwards == len(states(shift)) + shift
    confidence = torch.tensor(found.trace.confidence).double().log().sum()
    lm.bias_V[MASK] = -torch.inf  # which decoding never commits
    score = phrase_score(lm, PROMPT, found.tokens, 0, 7)
    assert score.value == pytest.approx(float(confidence), abs=1e-4)


@pytest.mark.parametrize("shift", [False, True])
def test_a_choice_of_one_draw_is_its_states(shift):
    lm = FreeLM(shift)
    choice = MultipleChoice(PROMPT, (PHRASE, (30,)))
    draws = ScoreOptions("mc", samples=64, seed=1)
    (scored,) = score_choices(lm, [choice], draws)
    bound = phrase_score(lm, PROMPT, PHRASE, 0, len(PHRASE), draws)
    assert scored.answers[0].value == pytest.approx(bound.value, abs=1e-4)
    assert scored.answers[0].error < 3
    assert scored.forwards == bound.forwards + 1 > 65


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("mode", ["oneshot", "chain"])
def test_what_a_role_answers_is_the_score(shift, mode):
    lm = FreeLM(shift)
    call = Score((), " ".join(f"t{token}" for token in PHRASE), mode=mode)
    rows = whitebox.readings(lm, call, PROMPT, {}, LENGTH)
    (reply,) = whitebox.score(lm, [(call, rows)], batch_size=2)
    wanted = phrase_score(lm, PROMPT, PHRASE, 0, LENGTH, ScoreOptions(mode))
    assert [token for token, *_ in reply.raw["tokens"]] == list(PHRASE)
    assert sum(value for _, value, _ in reply.raw["tokens"]) == pytest.approx(
        wanted.value, abs=1e-4
    )
    assert reply.forwards == wanted.forwards


def test_full_attention_keeps_the_states_asked_for():
    hidden = torch.rand(5, 7) > 0.5
    weight = hidden.double()
    found = reached_states(TinyLM(), 3, 0, hidden, weight)
    assert found[0] is hidden and found[1] is weight
    assert found[2].tolist() == list(range(5))


def test_a_phrase_within_a_block_keeps_its_state():
    hidden = torch.tensor([[True, False, True], [False, False, True]])
    found = reached_states(FreeLM(shift=False), 1, 3, hidden, hidden.double())
    assert torch.equal(found[0], hidden) and torch.equal(found[1], hidden.double())
    # With the shift the first of the block is alone, and is shown to the third.
    found = reached_states(FreeLM(shift=True), 1, 3, hidden, hidden.double())
    assert found[0].tolist() == [[True, False, True], [False, False, True], [False, False, True]]
    assert found[1].tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 1]]
    assert found[2].tolist() == [0, 0, 1]


def test_phrases_that_are_read_in_one_canvas_share_its_forward():
    lm = TinyLM()
    calls = [
        Score((), text, start=start, window=window)
        for text in ("t30 t31 t32", "t7", "t9 t8")
        for start, window in ((0, None), (2, None), (5, None), (0, (1, 4)))
    ]
    asked = [
        (call, whitebox.readings(lm, call, prompt, {}, LENGTH))
        for prompt in (PROMPT, PROMPT[:2])
        for call in calls
    ]
    lm.calls = 0
    together = whitebox.score(lm, asked, batch_size=8)
    assert lm.calls == 2
    for one, found in zip(asked, together, strict=True):
        (alone,) = whitebox.score(lm, [one], batch_size=1)
        assert found.forwards == alone.forwards
        assert found.raw["start"] == alone.raw["start"]
        for (token, value, _), (same, expected, _) in zip(
            found.raw["tokens"], alone.raw["tokens"], strict=True
        ):
            assert token == same and value == pytest.approx(expected, abs=1e-4)
