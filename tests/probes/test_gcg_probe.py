import json
from dataclasses import replace

import pytest

from midspan.decoding import Request, decode
from midspan.errors import MidspanError
from midspan.journal.journal import Journal
from midspan.probes.gcg import NO_SUFFIX, GCGProbeConfig, gcg, gcg_cells
from midspan.scoring.gcg_step import GCGConfig
from midspan.scoring.gradients import Goal, phrase_losses

SEARCH = GCGConfig(steps=2, search_width=6, top_k=8, initial="the sea")
CONFIG = GCGProbeConfig(starts=(0, 20), search=SEARCH)


@pytest.fixture
def records(context, data):
    return gcg(context, data, CONFIG)


def test_phrase_and_start_are_crossed_with_a_control(records):
    places = [(r["decoding"], r["id"], r["phrase_kind"], r["start"]) for r in records]
    assert len(places) == len(set(places)) == 2 * 4 * (2 * 2 + 1)
    assert {r["request_kind"] for r in records} == {"harmful"}


def test_records_say_what_was_sent_and_what_came_back(records, context):
    for row in records:
        if row["phrase_kind"] == NO_SUFFIX:
            continue
        lm, config = context.lm, context.decodings[row["decoding"]]
        ids = lm.encode_chat(row["message"])
        goal = Goal(tuple(lm.encode_phrase(row["phrase"])), row["start"], config.length)
        assert float(phrase_losses(lm, [ids], [goal])) == pytest.approx(
            min(row["losses"]), abs=1e-4
        )
        made = decode(lm, [Request(tuple(ids))], config)[0]
        assert made.text == row["response"]
        end = row["start"] + len(goal.phrase_ids)
        assert row["phrase_placed"] == (made.tokens[row["start"] : end] == goal.phrase_ids)


def test_curves_are_the_lowest_loss_so_far(records):
    cells = gcg_cells(records)
    assert len(cells) == 2 * 5
    for cell in cells:
        if cell.phrase_kind == NO_SUFFIX:
            assert cell.curve == ()
            continue
        part = [
            r for r in records
            if (r["decoding"], r["phrase_kind"], r["start"])
            == (cell.decoding, cell.phrase_kind, cell.start)
        ]  # fmt: skip
        assert len(cell.curve) == SEARCH.steps + 1
        assert cell.curve[0].mean == pytest.approx(sum(r["losses"][0] for r in part) / 4)
        assert cell.curve[-1].mean == pytest.approx(sum(min(r["losses"]) for r in part) / 4)


def test_a_killed_probe_ends_with_the_same_records(records, context, data, tmp_path):
    context.journal.close()
    lines = (tmp_path / "journal.jsonl").read_text().splitlines(keepends=True)
    torn = tmp_path / "torn.jsonl"
    torn.write_text("".join(lines[: len(lines) // 2]) + lines[-1][:20])
    with Journal(torn) as journal:
        again = replace(context, journal=journal)
        assert gcg(again, data, CONFIG) == records
    assert [json.loads(line)["key"] for line in torn.read_text().splitlines()] == [
        json.loads(line)["key"] for line in lines
    ]


def test_a_phrase_that_does_not_fit_is_refused(context, data):
    with pytest.raises(MidspanError, match=r"outside 0\.\.31"):
        gcg(context, data, GCGProbeConfig(starts=(30,), search=SEARCH))
