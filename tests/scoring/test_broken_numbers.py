"""Likelihoods and losses of logits that are not finite are errors, not numbers."""

import pytest
import torch
from tiny_lm import TinyLM

from midspan.models.finite import NotFiniteError, check_read
from midspan.scoring.continuations import MultipleChoice, score_choices
from midspan.scoring.gradients import Goal, phrase_losses
from midspan.scoring.likelihood import phrase_score

BROKEN = 40
PROMPT, PHRASE = (5, BROKEN, 7), (10, 11)
READ = {
    "phrase_score": lambda lm, prompt: phrase_score(lm, prompt, PHRASE, 0, 8),
    "one token": lambda lm, prompt: score_choices(lm, [MultipleChoice(prompt, ((10,), (11,)))]),
    "several tokens": lambda lm, prompt: score_choices(lm, [MultipleChoice(prompt, (PHRASE,))]),
    "losses": lambda lm, prompt: phrase_losses(lm, [prompt], [Goal(PHRASE, 0, 8)]),
}


@pytest.mark.parametrize("name", READ)
def test_what_is_read_must_be_finite(name):
    lm = TinyLM()
    with torch.no_grad():
        lm.model.get_input_embeddings().weight[BROKEN] = float("nan")
    with pytest.raises(NotFiniteError):
        READ[name](lm, PROMPT)
    READ[name](lm, (5, 6, 7))


def test_a_token_that_may_not_stand_is_no_fault():
    check_read([-1.0, float("-inf")])
