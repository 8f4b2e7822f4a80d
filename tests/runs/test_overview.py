"""An index of runs, and a comparison as a page, from folders made by hand."""

import json
import sys
import webbrowser

import pytest

from midspan.cli import main
from midspan.runs.folder import RunFolder
from midspan.runs.overview import find_runs, overview


def folder(path, successes, records=True):
    fields = {"probe": "prefill", "judged_by": "keywords", "models": ["m"]}
    fields |= {"positions": [0], "phrase_kinds": ["affirmative"], "seed": 0}
    with RunFolder(path, fields, f"midspan probe prefill -o {path.name}", "probe").journal:
        pass
    common = {"model": "m", "decoding": "one block", "request_kind": "plain", "group": "g"}
    common |= {"settings": {"steps": 8}, "refusal": False, "score": None, "response": "r"}
    kinds = [("no phrase", None), ("affirmative", 0)]
    rows = [
        common
        | {"phrase_kind": kind, "position": place, "phrase": None, "prompt": f"{i}", "id": f"{i}"}
        | {"success": bool(place == 0 and success)}
        for i, success in enumerate(successes)
        for kind, place in kinds
    ]
    if records:
        (path / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["midspan", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)


@pytest.fixture
def runs(tmp_path):
    folder(tmp_path / "before", [True] * 8)
    folder(tmp_path / "sub" / "after", [False] * 8)
    folder(tmp_path / "half", [], records=False)
    folder(tmp_path / "before" / "part", [True])
    (folder(tmp_path / "broken", [True]) / "records.jsonl").write_text("[]\n")
    return tmp_path


def test_every_run_is_listed_with_what_it_found(runs):
    assert [path.name for path in find_runs(runs)] == ["before", "broken", "half", "after"]
    page = overview(runs)
    rows = {row[0].text: row for row in page.sections[0].tables[0].rows}
    assert page.headline.sentence == "4 runs: 2 finished, 1 not finished, 1 not readable."
    assert "8 of 8 (100.0 %)" in rows["before"][3]
    assert (
        rows["half"][2].text == "not finished"
        and "midspan probe prefill -o half" in (rows["half"][3])
    )
    assert rows["broken"][2].text == "not readable" and rows["broken"][0].link == ""


def test_the_index_links_to_pages_and_opens(runs, monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(webbrowser, "open", lambda url: not shown.append(url))
    run(monkeypatch, "report", str(runs / "sub" / "after"))
    run(monkeypatch, "report", str(runs), "--open")
    index = runs / "index.html"
    assert shown == [index.as_uri()] and str(index) in capsys.readouterr().out
    text = index.read_text()
    assert 'href="./sub/after/report.html"' in text and text.count("report.html") == 1


def test_a_comparison_is_a_page(runs, monkeypatch, capsys):
    monkeypatch.chdir(runs)
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    run(monkeypatch, "compare", "before", "sub/after", "--open")
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "compare.html" and "open compare.html" in said.err
    text = (runs / "compare.html").read_text()
    assert "Of 2 cells of after, 0 are higher and 1 lower than in before." in text
    assert "plain, affirmative, 0" in text and "<svg" in text and "1 of 2 cells changed" in text
