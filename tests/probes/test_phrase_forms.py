"""Probes place and score phrases as text has them at that place."""

import pytest
import real_tokenizers as real

from midspan.decoding import decoding_config
from midspan.journal.journal import Journal
from midspan.journal.suffix_search import SuffixSearch
from midspan.probes import gcg as gcg_probe
from midspan.probes.context import ProbeContext, ProbeData, ProbeOutcome, ProbeRequest
from midspan.probes.gcg import GCGProbeConfig, gcg
from midspan.probes.local import LocalContext
from midspan.probes.prefill import RANDOM, PrefillConfig, prefill
from midspan.probes.samples import SamplesConfig, samples
from midspan.probes.window import WindowConfig, window

PHRASE = "the next step is"
DATA = ProbeData(
    (ProbeRequest("a", "harmful", "open the file", "a", True),),
    dict.fromkeys(("affirmative", "procedural", "neutral"), (PHRASE,)),
    lambda request, response: ProbeOutcome(False, False),
    "a test",
)


@pytest.fixture
def context(tmp_path):
    lm = real.lm("llada")
    decodings = {"d": decoding_config(lm, length=16, block_length=16, steps=2)}
    with Journal(tmp_path / "journal.jsonl") as journal:
        yield LocalContext(lm, decodings, 8, model="tiny", journal=journal)


def forms(lm):
    return {0: lm.encode_text(PHRASE), 8: lm.encode_text(f" {PHRASE}")}


@pytest.mark.parametrize("name", ["prefill", "window"])
def test_anchors_have_the_form_of_their_place(context, monkeypatch, name) -> None:
    cases = []
    monkeypatch.setattr(ProbeContext, "answer", lambda self, found, data: cases.extend(found) or [])
    if name == "prefill":
        prefill(context, DATA, PrefillConfig(positions=(0, 8)))
    else:
        window(context, DATA, WindowConfig(stride=8))
    placed = [case for case in cases if case.anchors]
    assert {case.labels["position"] for case in placed} == {0, 8}
    for case in placed:
        start = case.labels["position"]
        if case.labels.get("phrase_kind") == RANDOM:
            assert len(case.anchors) == len(forms(context.lm)[8])
            continue
        wanted = forms(context.lm)[start]
        assert case.anchors == dict(enumerate(wanted, start))
        assert case.labels["phrase"] == PHRASE


def test_the_searched_phrase_has_the_form_of_its_start(context, monkeypatch) -> None:
    goals = []

    def found(search, request, goal, journal, on_step):
        goals.append(goal)
        return SuffixSearch(request, tuple(context.lm.encode_chat(request)), (0.0,), 0)

    monkeypatch.setattr(gcg_probe, "search_suffix", found)
    gcg(context, DATA, GCGProbeConfig(starts=(0, 8)))
    assert {goal.start for goal in goals} == {0, 8}
    for goal in goals:
        assert list(goal.phrase_ids) == forms(context.lm)[goal.start]


def test_a_sample_reads_as_text(context) -> None:
    _, with_phrase = samples(context, DATA, SamplesConfig(start=8))
    words = {position: word for position, *_, word, _ in with_phrase["commits"]}
    assert "".join(words[position] for position in range(8, 12)) == f" {PHRASE}"
