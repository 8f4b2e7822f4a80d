import json

import pytest
from fixture_folders import harmful_benchmark

from midspan.errors import MidspanError
from midspan.tasks import overrefusal
from midspan.tasks.compare import rows

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
