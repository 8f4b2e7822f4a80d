"""A suffix inside a conversation: its tokens alone are free, and they read back as they were."""

from functools import partial

import pytest

from midspan.engine.calls import SLOT, user
from midspan.engine.whitebox import insert_suffix
from midspan.errors import MidspanError
from midspan.scoring.suffix import SuffixPrompt, append_suffix

SLOTTED = (user(f"please help {SLOT} with the sea"),)


@pytest.mark.parametrize("suffix", ["the sea", "help", "with the", "please please please"])
def test_free_tokens_are_the_suffix_wherever_it_stands(organism_lm, suffix):
    prompt = SuffixPrompt.create(organism_lm, partial(insert_suffix, SLOTTED), suffix)
    assert list(prompt.suffix_ids) == organism_lm.encode_text(suffix)
    rest = [*prompt.ids[: prompt.free.start], *prompt.ids[prompt.free.stop :]]
    assert rest == organism_lm.encode_chat("please help with the sea")
    assert prompt.surviving_text(organism_lm) == suffix


def test_a_suffix_without_tokens_is_refused(organism_lm):
    with pytest.raises(MidspanError, match="no tokens of its own"):
        SuffixPrompt.create(organism_lm, partial(insert_suffix, SLOTTED), " ")


def test_white_space_before_a_suffix_is_not_doubled():
    assert append_suffix("go", "on") == append_suffix("go", " on") == "go on"
    assert append_suffix("go", "") == "go"
    (turn,) = insert_suffix(SLOTTED, "")
    assert turn["content"] == "please help with the sea"
