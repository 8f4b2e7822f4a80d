"""A judge against labels: counted right, nothing defaulted, figures that correct a rate."""

import json
from collections import Counter

import numpy as np
import pytest

from midspan.data.behaviors import Behavior
from midspan.engine.roles import Scripted
from midspan.errors import MidspanError
from midspan.journal.journal import Journal
from midspan.judges import HARM, ChatJudge, ExactJudge, Verdict, keyword_judge
from midspan.judges.calibration import (
    Calibration,
    LabelledItem,
    calibrate,
    kappa_interval,
    read_items,
)
from midspan.statistics import wilson


def run(tmp_path, judge, items):
    with Journal(tmp_path / "journal.jsonl") as journal:
        return calibrate(judge, items, journal)


def test_the_shipped_items_hold_every_kind_and_no_text_twice():
    items = read_items()
    kinds = Counter(item.kind for item in items)
    assert set(kinds) == {"compliant", "refusing", "incoherent", "truncated", "off-topic"}
    assert len(items) >= 100 and min(kinds.values()) >= 20
    assert len({(item.behavior.text, item.response) for item in items}) == len(items)
    assert {item.kind for item in items if item.success} == {"compliant", "truncated"}


def test_counts_figures_and_correction(tmp_path):
    labels = {f"item {n}": n < 40 for n in range(100)}
    items = [LabelledItem(Behavior(k, k), k, v, "a" if v else "b") for k, v in labels.items()]

    def judge(behavior, response):  # 36 of 40 seen, 6 of 60 false alarms
        number = int(response.split()[1])
        return Verdict(answer=number < 36 or number >= 94)

    found = run(tmp_path, ExactJudge(judge, "test"), items)
    assert (found.hits, found.misses, found.false_alarms, found.rejections) == (36, 4, 6, 54)
    assert found.agreement == wilson(90, 100)
    assert found.confusion.sensitivity == wilson(36, 40)
    assert found.confusion.specificity == wilson(54, 60)
    assert found.kinds == {"a": (36, 40), "b": (6, 60)}
    # Rogan and Gladen give the true 40 % back.
    corrected = found.correct(wilson(42, 100))
    assert corrected.rate == pytest.approx(0.4)
    assert corrected.low < 0.4 < corrected.high
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps(found.to_dict()))
    assert Calibration.read(file).rows() == found.rows()


def test_what_is_not_answered_as_asked_is_counted_apart(tmp_path):
    asked = []

    def model(call, rng):
        asked.append(call)
        response = json.loads(call.messages[-1]["content"])["response"]
        if response == "silent":
            return None
        return "well ..." if response == "vague" else '{"reason": "", "score": 5}'

    items = [
        LabelledItem(Behavior(r, "ask"), r, r == "good", "") for r in ("good", "vague", "silent")
    ]
    found = run(tmp_path, ChatJudge(Scripted(model, "m1"), HARM), items)
    assert found.unanswered == {"unparseable": 1, "failed": 1}
    assert (found.hits, found.misses, found.false_alarms, found.rejections) == (1, 0, 0, 0)
    assert sum(c.fields["response"] == "vague" for c in asked) == 3  # retried twice
    before = len(asked)
    run(tmp_path, ChatJudge(Scripted(model, "m1"), HARM), items)
    assert [c.fields["response"] for c in asked[before:]] == ["silent"]  # the rest is journalled


def test_the_keyword_baseline_takes_salad_for_success(tmp_path):
    found = run(tmp_path, keyword_judge(), read_items())
    assert found.kinds["incoherent"][0] == found.kinds["incoherent"][1]
    assert found.confusion.specificity.rate < 0.5


def test_kappas_interval_against_a_bootstrap_of_the_items(tmp_path):
    found = Calibration("j", 30, 10, 5, 55, {}, {})
    interval = kappa_interval(found.confusion)
    # Each item twice, and one more in each cell: half of one.
    items = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], [61, 21, 11, 111], axis=0)
    rng = np.random.default_rng(1)
    values = []
    for _ in range(2000):
        a, b = items[rng.integers(204, size=100)].T
        chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
        values.append(((a == b).mean() - chance) / (1 - chance))
    low, high = np.quantile(values, [0.025, 0.975])
    assert interval.mean == pytest.approx(0.681, abs=0.001)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.02)
    # A judge that was never wrong on few items may err all the same.
    assert kappa_interval(Calibration("j", 10, 0, 0, 10, {}, {}).confusion).low < 0.95


ROW = '{"request": "a", "response": "b", "success": true%s}\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"not json\n", "line 1 .*JSON"),
        (b"[1]\n", "line 1 is not a JSON object"),
        (b'{"request": "a", "response": "b"}\n', "row 1 has no success; an item has request, resp"),
        (b'{"ask": "a", "response": "b", "success": true}\n', "has no request; .* --column"),
        (b'{"request": "a", "response": "b", "success": 1}\n', "true or false"),
        (b'{"request": 1, "response": "b", "success": true}\n', "row 1: request and response"),
        ((ROW % "" + "\n" + ROW % ', "kind": 1').encode(), "row 2: kind must be a text"),
        ((ROW % ', "success": false').encode(), "success"),
        ((ROW % "").encode(), "needs both"),
        (b"", "items"),
        (b"\xff\n", "items"),
        (b"[" * 100_000, "items"),
    ],
)
def test_bad_items_are_named(tmp_path, text, message):
    file = tmp_path / "items.jsonl"
    file.write_bytes(text)
    with pytest.raises(MidspanError, match=message) as caught:
        read_items(file)
    assert "\n" not in str(caught.value)
    with pytest.raises(MidspanError, match="none.jsonl"):
        read_items(tmp_path / "none.jsonl")


def test_a_judge_that_raises_loses_its_item_and_says_so(tmp_path):
    def judge(behavior, response):
        return {"good": Verdict(answer=True), "bad": Verdict(answer=False)}[response]

    labels = {"good": True, "bad": False, "odd": True}
    items = [LabelledItem(Behavior(k, k), k, v, "") for k, v in labels.items()]
    found = run(tmp_path, ExactJudge(judge, "t"), items)
    assert found.unanswered == {"error": 1} and found.reasons == {"KeyError: 'odd'": 1}
    assert found.agreement == wilson(2, 2)
    assert ("1 of them", "KeyError: 'odd'") in found.rows()
    (line,) = found.problems
    assert "1 items met an error" in line and "KeyError: 'odd'" in line
    assert "in judge" in found.traceback
    with Journal(tmp_path / "other") as journal, pytest.raises(KeyError):
        calibrate(ExactJudge(judge, "t"), items, journal, fail_fast=True)


def test_reasons_are_counted_and_a_silent_judge_is_named(tmp_path):
    answers = {"a": None, "b": "well", "c": None}

    def model(call, rng):
        return answers[json.loads(call.messages[-1]["content"])["response"]]

    items = [LabelledItem(Behavior(k, "ask"), k, k == "a", "") for k in answers]
    judge = ChatJudge(Scripted(model, "m1"), HARM)
    found = run(tmp_path, judge, items)
    assert found.reasons == {"m1 did not answer": 2, "wanted one JSON object, got 0": 1}
    assert found.problems == [
        f"{judge.fingerprint}: not one answer came (m1 did not answer); mend it and give the same "
        "command again"
    ]
    file = tmp_path / "calibration.json"
    old = {name: value for name, value in found.to_dict().items() if name != "reasons"}
    file.write_text(json.dumps(old))
    assert Calibration.read(file).unanswered == found.unanswered  # an older file reads, too


def test_items_may_have_kinds_and_halves_of_characters_are_replaced(tmp_path):
    file = tmp_path / "items.jsonl"
    rows = [ROW % ', "kind": "odd"', '{"request": "\\ud800", "response": "b", "success": false}']
    file.write_text("".join(rows))
    first, second = read_items(file)
    assert (first.kind, second.kind, second.behavior.text) == (
        "odd",
        "",
        "\N{REPLACEMENT CHARACTER}",
    )


def test_items_have_their_requests_in_a_column_of_any_name(tmp_path):
    file = tmp_path / "items.jsonl"
    rows = ({"ask": "a \ud83d", "response": "b", "success": won} for won in (True, False))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [item.behavior.text for item in read_items(file, "ask")] == ["a \ufffd"] * 2


GOOD = Calibration("j", 30, 10, 5, 55, {"failed": 1}, {"a": (3, 4)}).to_dict()


@pytest.mark.parametrize(
    "change",
    [{"hits": "30"}, {"hits": -1}, {"hits": 1.5}, {"hits": None}, {"judge": 1},
     {"unanswered": {"failed": -1}}, {"kinds": {"a": [1]}}, {"kinds": []},
     {"hits": True}, {"kinds": {"a": [2, 1]}}, {"unanswered": None}],
)  # fmt: skip
def test_a_calibration_that_was_edited_wrongly_is_none(tmp_path, change):
    file = tmp_path / "c.json"
    file.write_text(json.dumps(GOOD))
    assert Calibration.read(file) == Calibration(**GOOD)
    file.write_text(json.dumps(GOOD | change))
    with pytest.raises(MidspanError, match=r"c\.json is none; make one with"):
        Calibration.read(file)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"judge": "j"}'])
def test_other_files_are_no_calibration(tmp_path, text):
    file = tmp_path / "c.json"
    file.write_bytes(text)
    with pytest.raises(MidspanError, match="make one with"):
        Calibration.read(file)
