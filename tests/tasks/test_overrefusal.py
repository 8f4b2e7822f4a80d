import json

import pytest
from fixture_folders import harmful_benchmark

from midspan.bounds import RateBounds
from midspan.data import find_overlap, load_behaviors, read_prompts
from midspan.engine.calls import Reply
from midspan.engine.roles import Scripted
from midspan.errors import MidspanError
from midspan.judges import STRONGREJECT, XSTEST, ChatJudge, Verdict
from midspan.tasks import overrefusal
from midspan.tasks.compare import compare, rows

REFUSAL = "I'm sorry, but I can't help with that."
HELP = "First open the terminal, then type kill."


def records(task, response_of):
    return [
        {"id": item.id, "group": item.group, "verdict": task.score(item, response_of(item))}
        for item in task.items
    ]


@pytest.fixture
def xstest(tmp_path):
    """XSTest's columns and counts, with requests about paper."""
    rows = ["id,prompt,type,label"]
    for number in range(450):
        label, kind = ("safe", "homonyms") if number < 250 else ("unsafe", "contrast_homonyms")
        rows.append(f'{number},"How do I fold sheet {number}, twice?",{kind},{label}')
    path = tmp_path / "xstest_prompts.csv"
    path.write_text("\n".join(rows))
    return path


def test_the_published_xstest_is_recognized():
    file = harmful_benchmark("xstest") / "xstest_prompts.csv"
    assert overrefusal.load({"xstest": file}).source.endswith("as published")


def test_xstest_counts_both_sides(xstest):
    task = overrefusal.load({"xstest": xstest})
    assert not task.source.endswith("as published")
    found = records(task, lambda _: REFUSAL)
    figures = {row.name: str(row.figure) for row in rows(task.measures, found)}
    assert figures["false refusals, safe"].startswith("100.0 % [98.5, 100.0] n=250")
    assert figures["missed refusals, unsafe"].startswith("0.0 % [0.0, 1.9] n=200")
    found = records(task, lambda _: HELP)
    figures = {row.name: row.figure.rate for row in rows(task.measures, found)}
    assert figures == {
        "false refusals, safe": 0, "missed refusals, unsafe": 1, "safe requests helped": 1,
    }  # fmt: skip


def test_other_files_and_a_judge(tmp_path):
    bench, alpaca = tmp_path / "or.csv", tmp_path / "alpaca.jsonl"
    bench.write_text("prompt,category\nhow to cut fruit,violence\nsomething bad,toxic\n")
    rows_of_alpaca = [{"instruction": "Sum up.", "input": "A text."}, {"instruction": "Hi"}]
    alpaca.write_text("\n".join(map(json.dumps, rows_of_alpaca)))
    asked = []

    def judge(request, response):
        asked.append(request)
        return response == "no"

    task = overrefusal.load({"alpaca": alpaca, "or_bench": bench}, refuses=judge, costly=True)
    assert [(item.id, item.group) for item in task.items] == [
        ("or_bench/0", "safe"), ("or_bench/1", "unsafe"),
        ("alpaca/0", "plain"), ("alpaca/1", "plain"),
    ]  # fmt: skip
    verdict = task.score(task.items[2], "no")
    assert asked == ["Sum up.\n\nA text."] and task.costly
    assert (verdict["refused"], verdict["complied"], verdict["helped"]) == (True, False, False)
    assert not task.score(task.items[2], "too short")["helped"]
    assert len(task.measures) == 4


def test_bad_files_are_refused(tmp_path):
    wrong = tmp_path / "x.csv"
    wrong.write_text("prompt,type,label\nhow,homonyms,unclear\n")
    with pytest.raises(MidspanError, match="label must be safe or unsafe, not 'unclear'"):
        overrefusal.load({"xstest": wrong})
    wrong.write_text("text\nhow\n")
    with pytest.raises(MidspanError, match="has no prompt, type, label; it needs the columns"):
        overrefusal.load({"xstest": wrong})


def test_xstest_is_fetched_where_nothing_is_given(xstest, monkeypatch):
    asked = []

    def download(origin, file):
        asked.append((origin.page, file))
        return xstest

    monkeypatch.setattr("midspan.tasks.rows.download", download)
    assert len(overrefusal.load().items) == 450
    assert asked == [
        ("https://github.com/paul-rottger/exaggerated-safety", "xstest_prompts.csv"),
    ]


def test_words_that_refuse_are_the_projects_own(xstest):
    task = overrefusal.load({"xstest": xstest})
    assert task.judged_by == "refusal-keywords" and task.judged is None
    for text, refused in (
        ("I'm unable to assist with that request.", True),
        ("I\u00a0can't help with that.", True),
        ("As an AI engineer, I suggest the kill command.", False),
    ):
        verdict = task.score(task.items[0], text)
        assert verdict == {
            "success": not refused, "refused": refused, "complied": not refused,
            "helped": not refused,
        }  # fmt: skip


def test_a_function_answers_yes_or_no_alone(xstest):
    task = overrefusal.load({"xstest": xstest}, refuses=lambda request, response: "full_refusal")
    with pytest.raises(MidspanError, match="refuses: must return True or False, not 'full_ref"):
        task.score(task.items[0], HELP)


def chat_judge(rubric):
    return ChatJudge(Scripted(lambda call, rng: "", "scripted"), rubric)


def judged(task, said):
    """Records of a judged task, where `said` gives each item's verdict, or None for none."""
    missing = Reply(failure="unparseable", reason="wanted one JSON object, got 0")
    return [
        {
            "id": item.id,
            "group": item.group,
            "verdict": task.judged.score(
                item, HELP, missing if said(item) is None else Reply(value=said(item))
            ),
        }
        for item in task.items
    ]


def class_of(name):
    return Verdict(refusal=name != "full_compliance", refusal_class=name)


def test_a_judge_tells_partial_refusals_apart(xstest):
    task = overrefusal.load({"xstest": xstest}, refuses=chat_judge(XSTEST))
    assert task.judged_by == task.judged.name == "scripted/xstest-v1"
    request = task.judged.request(task.items[3])
    assert (request.id, request.text) == ("xstest/3", "How do I fold sheet 3, twice?")
    names = ["full_compliance", "full_refusal", "partial_refusal", "partial_refusal"]
    order = {item.id: names[n % 4] for n, item in enumerate(task.items)}
    found = {
        row.name: (row.figure.successes, row.figure.n)
        for row in rows(task.measures, judged(task, lambda item: class_of(order[item.id])))
    }
    safe = [order[item.id] for item in task.items if item.group == "safe"]
    unsafe = [order[item.id] for item in task.items if item.group == "unsafe"]
    assert found == {
        "false refusals, safe": (safe.count("full_refusal"), 250),
        "missed refusals, unsafe": (unsafe.count("full_compliance"), 200),
        "safe requests helped": (safe.count("full_compliance"), 250),
        "partial refusals, safe": (safe.count("partial_refusal"), 250),
        "partial refusals, unsafe": (unsafe.count("partial_refusal"), 200),
    }
    short = task.judged.score(task.items[0], "Two words", Reply(value=class_of("full_compliance")))
    assert short["complied"] and not short["helped"]


def test_a_judge_without_classes_has_no_partial_refusals(xstest):
    task = overrefusal.load({"xstest": xstest}, refuses=chat_judge(STRONGREJECT))
    found = {
        row.name: row.figure.rate
        for row in rows(task.measures, judged(task, lambda item: Verdict(refusal=True)))
    }
    assert found == {
        "false refusals, safe": 1, "missed refusals, unsafe": 0, "safe requests helped": 0,
    }  # fmt: skip
    with pytest.raises(MidspanError, match="scripted/.*: says nothing of refusals; name a judge"):
        judged(task, lambda item: Verdict(score=4))


def test_items_without_a_verdict_give_two_bounds_and_no_point(xstest):
    task = overrefusal.load({"xstest": xstest}, refuses=chat_judge(XSTEST))

    def said(item):
        number = int(item.id.partition("/")[2])
        return None if number < 25 else class_of("full_refusal" if number < 75 else CLASS)

    CLASS = "full_compliance"
    found = judged(task, said)
    assert found[0]["verdict"] == {
        "failure": "unparseable",
        "reason": "wanted one JSON object, got 0",
    }
    safe, missed, *_ = rows(task.measures, found)
    assert isinstance(safe.figure, RateBounds) and safe.figure.unknown == 25
    assert safe.figure.percent == "20.0 to 30.0 %"
    assert safe.figure.note == "[15.5, 35.9] n=250, 25 without outcome"  # Wilson of 50 and of 75
    assert missed.figure.n == missed.figure.successes == 200  # nothing is missing there
    helped, *_ = (row for row in rows(task.measures, found) if row.name == "safe requests helped")
    assert helped.figure.percent == "70.0 to 80.0 %"


def test_models_are_compared_with_missing_verdicts_either_way(xstest):
    task = overrefusal.load({"xstest": xstest}, refuses=chat_judge(XSTEST))

    def rows_of(missing, refused):
        def said(item):
            number = int(item.id.partition("/")[2])
            name = "full_refusal" if number in refused else "full_compliance"
            return None if number in missing else class_of(name)

        return rows(task.measures, judged(task, said))[0]

    first = rows_of(range(10), range(10, 20))
    second = rows_of(range(5, 15), range(250))
    found = compare(first, second)
    # The first lacks 0 to 9, refuses 10 to 19; the second lacks 5 to 14, refuses all others.
    assert (found.pairs.unknown, found.pairs.n) == (15, 250)
    assert found.pairs.least.difference.mean == pytest.approx((230 - 5 - 5) / 250)
    assert found.pairs.most.difference.mean == pytest.approx((230 + 5 + 5) / 250)
    other = rows(task.measures, judged(task, lambda item: class_of("full_refusal")))[1]
    with pytest.raises(MidspanError, match="on the same items alone"):
        compare(first, other)


def test_our_own_set_is_shipped_and_whole():
    task = overrefusal.load({"mentioned": None})
    assert task.source.endswith("as published") and len(task.items) == 200
    assert {item.group for item in task.items} == {"mentioned"}
    found = {
        row.name: row.figure.rate for row in rows(task.measures, records(task, lambda _: HELP))
    }
    assert found == {"false refusals, mentioned": 0, "mentioned requests helped": 1}


def test_our_own_set_repeats_nothing_of_xstest():
    ours = load_behaviors("mentioned", keep="benign")
    categories = [behavior.category for behavior in ours]
    assert {categories.count(name) for name in categories} == {25}
    published = harmful_benchmark("xstest") / "xstest_prompts.csv"
    assert not find_overlap(ours.prompts(), read_prompts(published))
