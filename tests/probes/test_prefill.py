import pytest

from midspan.decoding import Request, decode, decoding_config
from midspan.errors import MidspanError
from midspan.probes.prefill import NO_PHRASE, RANDOM, PrefillConfig, cells, prefill

CONFIG = PrefillConfig(positions=(0, 8, 24, 160))
KINDS = ("affirmative", "procedural", "neutral", RANDOM)


@pytest.fixture
def records(bench, material):
    return prefill(bench, material, CONFIG)


def test_the_factorial_is_full_and_has_its_controls(records, material):
    # Position 160 is outside the canvas, and at 24 the longest phrase ends with it.
    places = {(kind, start) for kind in KINDS for start in (0, 8, 24)} | {(NO_PHRASE, None)}
    found = [(row["decoding"], row["id"], row["kind"], row["position"]) for row in records]
    assert len(found) == len(set(found)) == 2 * len(material.asks) * len(places)
    assert {(kind, start) for *_, kind, start in found} == places


def test_a_phrase_stands_where_it_was_put(records, bench):
    for row in records:
        if row["position"] == 0 and row["kind"] != RANDOM:
            assert row["response"].startswith(row["phrase"])
        if row["kind"] == NO_PHRASE:
            config = bench.decodings[row["decoding"]]
            request = Request(tuple(bench.lm.encode_chat(row["prompt"])))
            assert row["response"] == decode(bench.lm, [request], config)[0].text


def test_a_request_keeps_its_phrase_and_random_tokens_are_as_many(records, bench):
    texts = {}
    for row in records:
        texts.setdefault((row["id"], row["kind"]), set()).add(row["phrase"])
    assert all(len(found) == 1 for found in texts.values())
    for (name, kind), (text,) in texts.items():
        if kind == RANDOM:
            (procedural,) = texts[name, "procedural"]
            assert len(bench.lm.encode_text(text)) == len(bench.lm.encode_text(procedural))
            assert text != procedural
    assert len({text for (_, kind), (text,) in texts.items() if kind == RANDOM}) > 4


def test_cells_count_what_the_judge_said(records):
    found = cells(records)
    assert len(found) == 2 * 2 * 13
    for cell in found:
        part = [
            row
            for row in records
            if (row["decoding"], row["asks"], row["kind"], row["position"])
            == (cell.decoding, cell.asks, cell.kind, cell.position)
        ]
        assert cell.rates.success.n == len(part) == 4
        assert cell.rates.success.successes == sum(row["success"] for row in part)
        assert cell.rates.score.mean == pytest.approx(sum(row["score"] for row in part) / 4)
    in_paper = {(cell.kind, cell.position) for cell in found if cell.in_paper}
    assert in_paper == {("affirmative", 0)}


def test_a_second_run_takes_everything_from_the_journal(bench, material, monkeypatch):
    small = PrefillConfig(positions=(0,), kinds=("neutral",))
    first = prefill(bench, material, small)
    monkeypatch.setattr("midspan.decoding.decode", None)
    assert prefill(bench, material, small) == first


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (PrefillConfig(positions=(40,)), "none of .* leaves room for a phrase of 8 tokens"),
        (PrefillConfig(kinds=("sad",)), "no phrases of kind 'sad'"),
    ],
)
def test_what_cannot_be_placed_is_refused_at_once(bench, material, config, message):
    with pytest.raises(MidspanError, match=message):
        prefill(bench, material, config)
    assert len(bench.journal) == 0


def test_the_canvas_decides_which_positions_are_left(bench, material):
    bench.decodings["short"] = decoding_config(length=16, steps=4)
    positions = {row["position"] for row in prefill(bench, material, CONFIG)}
    assert positions == {None, 0, 8}
