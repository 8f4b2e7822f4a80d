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
    items = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], [30, 10, 5, 55], axis=0)
    rng = np.random.default_rng(1)
    values = []
    for _ in range(2000):
        a, b = items[rng.integers(100, size=100)].T
        chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
        values.append(((a == b).mean() - chance) / (1 - chance))
    low, high = np.quantile(values, [0.025, 0.975])
    assert interval.mean == pytest.approx(0.681, abs=0.001)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.02)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json\n", "line 1 is not JSON"),
        ("[]\n", "line 1 is not a JSON object"),
        ('{"request": "a", "response": "b"}\n', "row 1 has no success; an item has request, resp"),
        ('{"ask": "a", "response": "b", "success": true}\n', "has no request; .* --column"),
        ('{"request": "a", "response": "b", "success": 1}\n', "true or false"),
        ('{"request": "a", "response": "b", "success": true}\n', "needs both"),
    ],
)
def test_bad_items_are_named(tmp_path, text, message):
    file = tmp_path / "items.jsonl"
    file.write_text(text)
    with pytest.raises(MidspanError, match=message):
        read_items(file)
    with pytest.raises(MidspanError, match="no file at"):
        read_items(tmp_path / "none.jsonl")


def test_items_have_their_requests_in_a_column_of_any_name(tmp_path):
    file = tmp_path / "items.jsonl"
    rows = ({"ask": "a \ud83d", "response": "b", "success": won} for won in (True, False))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [item.behavior.text for item in read_items(file, "ask")] == ["a \ufffd"] * 2


@pytest.mark.parametrize(
    "change",
    [{"hits": "5"}, {"hits": True}, {"misses": -1}, {"kinds": {"a": [2, 1]}}, {"unanswered": None}],
)
def test_counts_that_are_none_are_no_calibration(tmp_path, change):
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps({**Calibration("j", 30, 10, 5, 55, {}, {}).to_dict(), **change}))
    with pytest.raises(MidspanError, match="is none; make one with midspan judge calibrate"):
        Calibration.read(file)
