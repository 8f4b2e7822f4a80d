"""Journalled generation: each request is decoded once; an interruption changes nothing."""

import dataclasses
import json

import pytest
import real_tokenizers as real

from midspan import decoding
from midspan.decoding import Request, decoding_config
from midspan.journal.generation import GenerationWork, each_batch, generate
from midspan.journal.journal import Journal
from midspan.journal.ranks import Rank

CONFIG = decoding_config(length=8, steps=4, block_length=8, temperature=0.7)
REQUESTS = [Request((1, 4, 20 + row % 5, *range(30, 30 + row % 3)), seed=row) for row in range(7)]


class Interrupted(Exception):
    """What the interrupted runs die of."""


@pytest.fixture
def decoded(monkeypatch):
    """The batches given to the decoder."""
    batches, decode = [], decoding.decode

    def spy(lm, requests, config, **options):
        batches.append(list(requests))
        return decode(lm, requests, config, **options)

    monkeypatch.setattr(decoding, "decode", spy)
    return batches


def plain(generations):
    return [json.dumps([g.tokens, g.text, g.trace.to_dict(), g.forwards, g.stopped_early])
            for g in generations]  # fmt: skip


def run(lm, path, requests=REQUESTS, config=CONFIG, **options):
    with Journal(path) as journal:
        return plain(generate(lm, requests, config, journal, batch_size=3, **options))


def test_results_are_the_decoders_in_the_order_of_the_requests(organism_lm, tmp_path):
    # Confidences may differ in their last bits, since the rows beside a row do.
    expected = [
        (g.tokens, g.text, g.forwards) for g in decoding.decode(organism_lm, REQUESTS, CONFIG)
    ]
    found = [json.loads(row) for row in run(organism_lm, tmp_path / "j")]
    assert [(tuple(tokens), text, forwards) for tokens, text, _, forwards, _ in found] == expected
    assert len(set(expected)) > 1


def test_nothing_is_decoded_twice(organism_lm, tmp_path, decoded):
    first = run(organism_lm, tmp_path / "j")
    assert [len(batch) for batch in decoded] == [3, 3, 1]
    assert run(organism_lm, tmp_path / "j") == first
    assert len(decoded) == 3


def test_equal_requests_are_decoded_once(organism_lm, tmp_path, decoded):
    twice = [REQUESTS[0], REQUESTS[1], REQUESTS[0]]
    results = run(organism_lm, tmp_path / "j", twice)
    assert results[0] == results[2] != results[1]
    assert [len(batch) for batch in decoded] == [2]


def test_batches_hold_prompts_of_similar_length(organism_lm, tmp_path, decoded):
    run(organism_lm, tmp_path / "j")
    lengths = [len(request.prompt_ids) for batch in decoded for request in batch]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize("batches_done", [1, 2])
def test_an_interrupted_run_is_continued(organism_lm, tmp_path, decoded, batches_done):
    whole = run(organism_lm, tmp_path / "whole")
    reference = (tmp_path / "whole").read_bytes()
    wanted = decoded[batches_done:]
    told = []

    def interrupt(count):
        told.append(count)
        if len(told) == batches_done:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(organism_lm, tmp_path / "j", on_batch=interrupt)
    decoded.clear()
    assert run(organism_lm, tmp_path / "j") == whole
    assert decoded == wanted
    assert (tmp_path / "j").read_bytes() == reference


def test_progress_counts_journalled_responses_too(organism_lm, tmp_path):
    counts = []
    run(organism_lm, tmp_path / "j", on_batch=counts.append)
    run(organism_lm, tmp_path / "j", on_batch=counts.append)
    assert counts == [3, 3, 1, 3, 3, 1]


def test_progress_counts_equal_requests_each(organism_lm, tmp_path):
    counts = []
    run(organism_lm, tmp_path / "j", REQUESTS[:2] * 3, on_batch=counts.append)
    assert sum(counts) == 6


def test_no_requests_give_no_results(organism_lm, tmp_path, decoded):
    assert run(organism_lm, tmp_path / "j", []) == []
    assert decoded == []


BASE = REQUESTS[0]
REQUEST_CHANGES = {
    "prompt": dataclasses.replace(BASE, prompt_ids=(1, 4, 21)),
    "anchors": dataclasses.replace(BASE, anchors={3: 9}),
    "seed": dataclasses.replace(BASE, seed=1),
}


@pytest.mark.parametrize("name", REQUEST_CHANGES)
def test_a_changed_request_is_decoded_anew(organism_lm, tmp_path, decoded, name):
    run(organism_lm, tmp_path / "j", [BASE])
    run(organism_lm, tmp_path / "j", [REQUEST_CHANGES[name]])
    assert len(decoded) == 2


def test_a_changed_model_or_setting_is_decoded_anew(organism_lm, tmp_path, decoded):
    run(organism_lm, tmp_path / "j", [BASE])
    run(organism_lm, tmp_path / "j", [BASE], CONFIG.model_copy(update={"temperature": 0.0}))
    organism_lm.fingerprint = "another"
    run(organism_lm, tmp_path / "j", [BASE])
    assert len(decoded) == 3


def test_the_order_of_anchors_does_not_matter(organism_lm, tmp_path, decoded):
    for anchors in ({1: 9, 2: 8}, {2: 8, 1: 9}):
        run(organism_lm, tmp_path / "j", [dataclasses.replace(BASE, anchors=anchors)])
    assert len(decoded) == 1


def test_two_shares_together_are_the_whole(organism_lm, tmp_path):
    whole = run(organism_lm, tmp_path / "whole")
    work = GenerationWork(organism_lm, REQUESTS, CONFIG, batch_size=3)
    sizes = []
    for rank in range(2):
        with Journal(tmp_path / f"part{rank}") as journal:
            for done in each_batch(work, journal, Rank(rank, 2)):
                sizes.append(len(done))
            assert 0 < len(journal) < len(set(work.keys))
    with Journal(tmp_path / "j") as journal:
        journal.absorb(tmp_path / "part0")
        journal.absorb(tmp_path / "part1")
        journal.absorb(tmp_path / "part1")
        assert len(journal) == len(set(work.keys)) == sum(sizes)
    assert run(organism_lm, tmp_path / "j") == whole


@pytest.mark.parametrize("thoughts", ["how?", ""])
def test_thoughts_come_back_from_the_journal(tmp_path, decoded, thoughts):
    lm = real.lm("sdar")
    config = decoding_config(lm, length=16, steps=16, block_length=4)
    said = f"<think>{thoughts}</think>sure" if thoughts else "sure"
    ids = [*lm.encode_marked(said), lm.tokens.eos]
    request = Request(tuple(lm.encode_chat("open")), dict(enumerate(ids)))
    with Journal(tmp_path / "j") as journal:
        (made,) = generate(lm, [request], config, journal)
        (again,) = generate(lm, [request], config, journal)
        (value,) = (journal[key] for key in GenerationWork(lm, [request], config).keys)
    assert len(decoded) == 1
    for one in (made, again):
        assert (one.text, one.thoughts) == ("sure", thoughts)
    assert again.said == {"response": "sure"} | ({"thoughts": thoughts} if thoughts else {})
    assert value.get("thoughts", "") == thoughts and ("thoughts" in value) == bool(thoughts)
