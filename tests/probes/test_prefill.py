import pytest

from midspan.decoding import Request, decode, decoding_config
from midspan.errors import MidspanError
from midspan.probes.prefill import NO_PHRASE, RANDOM, PrefillConfig, prefill, prefill_cells

CONFIG = PrefillConfig(positions=(0, 8, 24, 160))
KINDS = ("affirmative", "procedural", "neutral", RANDOM)


@pytest.fixture
def records(context, data):
    return prefill(context, data, CONFIG)


def test_the_factorial_is_full_and_has_its_controls(records, data):
    # Position 160 is outside the canvas, and at 24 the longest phrase ends with it.
    places = {(kind, start) for kind in KINDS for start in (0, 8, 24)} | {(NO_PHRASE, None)}
    found = [(row["decoding"], row["id"], row["phrase_kind"], row["position"]) for row in records]
    assert len(found) == len(set(found)) == 2 * len(data.requests) * len(places)
    assert {(kind, start) for *_, kind, start in found} == places


def test_a_phrase_stands_where_it_was_put(records, context):
    for row in records:
        if row["position"] == 0 and row["phrase_kind"] != RANDOM:
            assert row["response"].startswith(row["phrase"])
        if row["phrase_kind"] == NO_PHRASE:
            config = context.decodings[row["decoding"]]
            request = Request(tuple(context.lm.encode_chat(row["prompt"])))
            assert row["response"] == decode(context.lm, [request], config)[0].text


def test_a_request_keeps_its_phrase_and_random_tokens_are_as_many(records, context):
    texts = {}
    for row in records:
        texts.setdefault((row["id"], row["phrase_kind"]), set()).add(row["phrase"])
    assert all(len(found) == 1 for found in texts.values())
    for (name, kind), (text,) in texts.items():
        if kind == RANDOM:
            (procedural,) = texts[name, "procedural"]
            assert len(context.lm.encode_text(text)) == len(context.lm.encode_text(procedural))
            assert text != procedural
    assert len({text for (_, kind), (text,) in texts.items() if kind == RANDOM}) > 4


def test_cells_count_what_the_judge_said(records):
    found = prefill_cells(records)
    assert len(found) == 2 * 2 * 13
    for cell in found:
        part = [
            row
            for row in records
            if (row["decoding"], row["request_kind"], row["phrase_kind"], row["position"])
            == (cell.decoding, cell.request_kind, cell.phrase_kind, cell.position)
        ]
        assert cell.rates.success.n == len(part) == 4
        assert cell.rates.success.successes == sum(row["success"] for row in part)
        assert cell.rates.score.mean == pytest.approx(sum(row["score"] for row in part) / 4)
    in_paper = {(cell.phrase_kind, cell.position) for cell in found if cell.in_paper}
    assert in_paper == {("affirmative", 0)}


def test_a_second_run_takes_everything_from_the_journal(context, data, monkeypatch):
    small = PrefillConfig(positions=(0,), phrase_kinds=("neutral",))
    first = prefill(context, data, small)
    monkeypatch.setattr("midspan.decoding.decode", None)
    assert prefill(context, data, small) == first


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (PrefillConfig(positions=(40,)), "none of .* leaves room for a phrase of 8 tokens"),
        (PrefillConfig(phrase_kinds=("sad",)), "no phrases of kind 'sad'"),
    ],
)
def test_what_cannot_be_placed_is_refused_at_once(context, data, config, message):
    with pytest.raises(MidspanError, match=message):
        prefill(context, data, config)
    assert len(context.journal) == 0


def test_the_canvas_decides_which_positions_are_left(context, data):
    context.decodings["short"] = decoding_config(length=16, steps=4)
    positions = {row["position"] for row in prefill(context, data, CONFIG)}
    assert positions == {None, 0, 8}
