"""The search for the fastest decoding at equal verdicts, with a decoder of known answers."""

from types import SimpleNamespace

import pytest

from midspan.decoding import Request, decoding_config
from midspan.errors import MidspanError
from midspan.journal.journal import Journal
from midspan.models.family import family_for
from midspan.probes.choice import Asked, ChoiceConfig, candidates, choose

SEARCH = {"n": 40, "held_out": 40, "agreement": 0.9, "floor": 0.8, "chunk": 8}
# A response takes as many seconds as the threshold says.
RECKLESS, GOOD, CAREFUL = 0.1, 0.5, 0.9


class Decoder:
    """Stands in for `decode` and its clock; answers with the request's number, or wrongly."""

    def __init__(self, wrong):
        self.wrong, self.now, self.calls = wrong, 0.0, []

    def decode(self, lm, requests, config, *, batch_size=0):
        threshold = config.threshold or 1.0
        numbers = [request.prompt_ids[0] for request in requests]
        if batch_size:  # otherwise it only warms up
            self.calls.append((config.threshold, numbers))
            self.now += threshold * len(numbers)
        wrong = self.wrong.get(config.threshold, ())
        return [
            SimpleNamespace(
                text=f"{-1 if number in wrong else number}", forwards=int(10 * threshold)
            )
            for number in numbers
        ]


@pytest.fixture
def search(monkeypatch, tmp_path):
    def run(wrong, journal="journal.jsonl", **fields):
        decoder = Decoder(wrong)
        monkeypatch.setattr("midspan.decoding.decode", decoder.decode)
        monkeypatch.setattr("time.process_time", lambda: decoder.now)
        lm = SimpleNamespace(
            family=family_for("llada"), fingerprint="model", device=SimpleNamespace(type="cpu")
        )
        thresholds = tuple({"threshold": p} for p in (CAREFUL, RECKLESS, GOOD))
        config = ChoiceConfig(**SEARCH | {"candidates": thresholds} | fields)
        total = config.n + config.held_out
        asked = Asked([Request((i,)) for i in range(total)], config.n, lambda _, text: text, "own")
        with Journal(tmp_path / journal) as opened:
            reference = decoding_config(length=8, steps=8)
            return choose(lm, reference, asked, config, opened), decoder.calls

    return run


def answered(calls, threshold):
    return sum(len(numbers) for one, numbers in calls if one == threshold)


def test_the_fastest_that_keeps_the_verdicts_is_chosen_and_judged_on_others(search):
    tried, calls = search({RECKLESS: range(40), GOOD: {3, 55}})
    outcomes = {one.fields["threshold"]: one.outcome for one in tried[:-1]}
    assert outcomes == {RECKLESS: "disagrees", GOOD: "chosen", CAREFUL: "slower"}
    last = tried[-1]
    assert (last.part, last.fields["threshold"], last.same, last.n) == ("held out", GOOD, 39, 40)
    # Bad and slow candidates cost one chunk.
    assert [answered(calls, p) for p in (RECKLESS, GOOD, CAREFUL, None)] == [8, 80, 8, 80]
    record = last.record("m")
    assert (record["reference_seconds"], record["seconds"]) == (1.0, GOOD)
    assert (record["reference_forwards"], record["forwards"]) == (10, 5)


def test_a_candidate_ends_at_the_first_verdict_too_many(search):
    allowed = ChoiceConfig(**SEARCH).allowed(40)
    wrong = {RECKLESS: range(allowed), GOOD: range(9, 9 + allowed + 1)}
    tried, calls = search(wrong)
    assert [one.outcome for one in tried] == ["slower", "chosen", "slower", "chosen"]
    tried, calls = search(wrong | {RECKLESS: range(9, 9 + allowed + 1)}, "other.jsonl")
    # From request 9 on all are wrong: the second chunk decides, and the search goes on.
    assert answered(calls, RECKLESS) == answered(calls, GOOD) == 16
    assert tried[-1].fields["threshold"] == CAREFUL


def test_what_fails_on_held_out_requests_is_not_used(search):
    tried, _ = search({RECKLESS: range(40, 80)})
    assert [one.outcome for one in tried] == [
        "slower", "disagrees on held-out requests", "slower", "disagrees on held-out requests",
    ]  # fmt: skip


def test_where_no_candidate_agrees_none_is_chosen(search):
    tried, _ = search({p: range(80) for p in (RECKLESS, GOOD, CAREFUL)})
    assert [one.outcome for one in tried] == ["disagrees"] * 3


def test_a_finished_search_is_read_from_its_journal(search):
    first, _ = search({RECKLESS: range(40)})
    again, calls = search({RECKLESS: range(40)})
    assert calls == []
    assert [one.record("m") for one in again] == [one.record("m") for one in first]


@pytest.mark.parametrize(("n", "fewest"), [(100, 189), (188, 189)])
def test_too_few_requests_for_the_interval_are_refused(n, fewest):
    with pytest.raises(MidspanError, match=f"choose.*n={n} is too few.*at least {fewest}"):
        ChoiceConfig(n=n)


def test_how_many_verdicts_may_differ():
    config = ChoiceConfig()
    # By hand: Wilson's lower ends at 95 % of 299/300 and 298/300 are 98.1 and 97.6 %.
    assert (config.allowed(189), config.allowed(300), config.allowed(1000)) == (0, 1, 10)


@pytest.mark.parametrize(("family", "fields"), [
    ("llada", {
        "cache", "threshold", "factor", "doubt", "revise", "trim", "refresh_blocks", "steps",
    }),
    ("modernbert", {"threshold", "factor", "doubt", "revise", "steps"}),
    ("sdar", {"threshold", "steps"}),
    ("Dream", {"steps"}),
])  # fmt: skip
def test_candidates_fit_the_sampler(family, fields):
    lm = SimpleNamespace(family=family_for(family), block_length=4)
    tried = candidates(lm, decoding_config(lm))
    assert {name for one in tried for name in one.fields} == fields
    assert len({str(one.config) for one in tried}) == len(tried)


def test_a_sampler_of_its_own_has_no_candidates():
    lm = SimpleNamespace(family=family_for("diffusion_gemma"), block_length=None)
    with pytest.raises(MidspanError, match="no accelerated mode"):
        candidates(lm, decoding_config(lm))
