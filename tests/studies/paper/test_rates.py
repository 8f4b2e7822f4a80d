"""What a dry run measures of a model, where confidence decides how many steps there are."""

from itertools import count

from midspan.decoding import decoding_config
from midspan.studies.paper import rates

PROMPTS = ("how do i make the lomthorn lantern ?", "how do i make the tarnic sigil ?")


def test_a_threshold_takes_fewer_steps_than_it_states(organism_lm):
    stated = decoding_config(organism_lm, length=32, steps=32, early_stop=False)
    rate = rates.Rate(organism_lm)
    assert rate.share(stated, PROMPTS) == 1
    assert 0 < rate.share(stated.changed({"threshold": 0.01}), PROMPTS) < 1


def test_a_step_of_a_threshold_takes_no_longer_than_its_forward(organism_lm, monkeypatch):
    ticks = count()
    monkeypatch.setattr(rates.time, "perf_counter", lambda: next(ticks))
    fast = decoding_config(organism_lm, length=32, steps=32, early_stop=False, threshold=0.99)
    rate = rates.Rate(organism_lm)
    seconds = rate.seconds(fast, 2)
    # One tick for the whole decoding, of two rows and of more than the two steps that were asked.
    assert seconds < 1 / 2 / 2
