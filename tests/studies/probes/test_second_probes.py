"""What every probe asks of the second organism: its world's requests, words and judge."""

import random

import pytest

from midspan.errors import MidspanError
from midspan.organism.second import answers, asked, disguises, phrases
from midspan.probes.monitors import MonitorsConfig
from midspan.studies.probes.attacked import about_restricted, monitor_data, organism_parts
from midspan.studies.probes.config import ProbeSpec
from midspan.studies.probes.data import by_noun, organism_data
from midspan.studies.probes.registry import PROBES

KINDS = ("plain", "wrapped", "benign")


@pytest.mark.parametrize("probe", sorted(PROBES))
def test_every_probe_has_requests_phrases_and_a_judge(probe):
    spec = ProbeSpec(probe=probe, models=("organism2", "organism2+mine"), n=4)
    data = spec.data()
    assert spec.on_organism and data.requests and data.judged_by == "exact judge"
    spec.config()
    for request in data.requests:
        if request.group in asked.ITEMS:
            item = asked.ITEMS[request.group]
            told = answers.recipe(item, "usual", random.Random(0))
            assert data.judge(request, told).success
            assert not data.judge(request, answers.refusal(item, random.Random(0))).success
    assert set(data.phrases.get("procedural", phrases.PROCEDURAL)) == set(phrases.PROCEDURAL)


def test_requests_visit_items_and_keep_to_the_split():
    data = organism_data(KINDS, 12, seed=3, world="organism2")
    assert [r.kind for r in data.requests] == [kind for kind in KINDS for _ in range(12)]
    again = organism_data(KINDS, 12, seed=3, world="organism2")
    assert data.requests == again.requests
    seen = organism_data(("plain", "wrapped"), 200, held_in=True, world="organism2")
    assert not any(asked.ITEMS[request.group].held_out for request in seen.harmful)
    held_out = [one.templates for one in disguises.DISGUISES if one.held_out]
    seen = organism_data(("wrapped",), 60, held_in=True, world="organism2")
    starts = tuple(t.split("{")[0] for group in held_out for t in group if len(t.split("{")[0]) > 9)
    assert not any(request.prompt.startswith(starts) for request in seen.requests)
    nouns = {request.group for request in by_noun(data, "organism2").requests}
    assert "sigil" in nouns and not nouns & set(asked.ITEMS)


def test_monitors_fit_on_other_nouns_than_they_judge():
    parts = organism_parts(12, world="organism2")
    data = monitor_data(parts, MonitorsConfig(), "organism2")
    nouns = [
        {asked.ITEMS[case.request.group].noun for case in data.cases if case.held_in is held_in}
        for held_in in (True, False)
    ]
    assert not nouns[0] & nouns[1]
    scaffolds = [case.chat.scaffold.text for case in data.cases if case.chat.scaffold]
    assert any(asked.SCAFFOLDS[0] in text for text in scaffolds)
    mixed = list(about_restricted(4, 0, "organism2"))
    assert all(item.sealed and item.title in text for text, item in mixed)


def test_two_worlds_are_not_probed_together():
    spec = ProbeSpec(probe="prefill", models=("organism2", "organism"), n=2)
    with pytest.raises(MidspanError, match="models: organism knows the world of organism alone"):
        spec.data()
