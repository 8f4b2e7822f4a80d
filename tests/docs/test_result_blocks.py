"""Pages of results: written by a command, with their origin beside them, and edited by nobody."""

import json
import re
import sys
from pathlib import Path

import pytest

from midspan.report import Cell, Claim, Figure, Report, Section, Table
from midspan.runs.kinds import KINDS, Kind

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "docs" / "results").glob("*.md"))
ORIGIN = re.compile(r"\b20\d\d-\d\d-\d\d\b|revision `|<!-- \w+: written by a command -->")
PAGE = """# A page

<!-- results
run: mine
table: Rates
columns: [rate, model]
rows: {model: [second]}
figures: [A curve]
-->
anything
<!-- end of results -->

Words.
"""
INFO = {
    "kind": "made-up", "config": {}, "command": "midspan made up -o runs/mine",
    "git": "0123456789abcdef", "versions": {"midspan": "0.1.0"}, "hardware": {"cpu": "An abacus"},
}  # fmt: skip


def report_of(run):
    claims = (Claim("It holds", "n = 9", "supported", "2.5 % n=9", "a rule"),)
    rows = (("first", Cell("1.0 %", "[0, 5] n=9")), ("second", Cell("2.5 %", "[0, 7] n=9")))
    table = Table("Rates", ("model", "rate"), rows, name="rates")
    figure = Figure("A curve", "<svg>line</svg>\n", "It goes up.", "curve")
    return Report("T", "S", sections=(Section("One", "", (table,), (figure,)),), claims=claims)


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import results

    return results


@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, "made-up", Kind("test_result_blocks:report_of", ""))
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(INFO))
    (folder / "records.jsonl").write_text("")
    (tmp_path / "page.md").write_text(PAGE)
    return tmp_path / "page.md"


def run(script, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["results.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        script.main()
    return ended.value.code


def test_a_block_is_written_from_its_run(script, page, monkeypatch, capsys):
    runs = page.parent / "runs"
    assert not run(script, monkeypatch, page, "--runs", runs)
    text = page.read_text()
    assert "| rate | model |" in text and "| 2.5 % \\[0, 7\\] n=9 | second |" in text
    assert "first" not in text and "anything" not in text and text.endswith("\n\nWords.\n")
    made_by = "`midspan made up -o runs/mine` at revision `0123456789ab` (An abacus, midspan 0.1.0)"
    assert made_by in text
    (shown,) = re.findall(r"\((figures/.*\.svg)\)", text)
    assert (page.parent / shown).read_text() == "<svg>line</svg>\n"
    assert not run(script, monkeypatch, page, "--check")
    # Written again: nothing changes, and without its run the block stays.
    assert not run(script, monkeypatch, page, "--runs", runs)
    assert not run(script, monkeypatch, page, "--runs", page.parent / "none")
    assert page.read_text() == text and "no finished run" in capsys.readouterr().err


def test_an_edited_number_is_noticed(script, page, monkeypatch, capsys):
    run(script, monkeypatch, page, "--runs", page.parent / "runs")
    page.write_text(page.read_text().replace("2.5 %", "0.5 %"))
    assert run(script, monkeypatch, page, "--check") == 1
    assert "the block of mine was edited by hand" in capsys.readouterr().out


def test_claims_are_a_table_too(script, page, monkeypatch):
    own = "table: Claims\ncolumns: [claim, measured]\n"
    lines = [line for line in PAGE.splitlines() if not line.startswith(("table", "col", "rows"))]
    page.write_text("\n".join(lines).replace("run: mine\n", f"run: mine\n{own}"))
    assert not run(script, monkeypatch, page, "--runs", page.parent / "runs")
    assert "| It holds | 2.5 % n=9 |" in page.read_text()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("table: Rates", "table: Rate", "no table Rate; there are Rates, Claims"),
        ("[rate, model]", "[share]", "no column share; there are model, rate"),
        ("[second]", "[third]", "Rates has no such row"),
        ("[A curve]", "[A line]", "no figure A line; there are A curve"),
    ],
)
def test_a_wrong_name_ends_with_what_there_is(script, page, monkeypatch, old, new, said):
    page.write_text(PAGE.replace(old, new))
    assert said in run(script, monkeypatch, page, "--runs", page.parent / "runs")


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_blocks_of_the_pages_are_as_written(script, path):
    assert not script.edited(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_table_stands_beside_its_origin(path):
    """A section with a table of numbers, or the page's first lines, has a date or a revision."""
    text = path.read_text(encoding="utf-8")
    opening, *sections = re.split(r"^(?=## )", text, flags=re.M)
    if path.stem == "index" or ORIGIN.search(opening):
        return
    without = [
        section.partition("\n")[0]
        for section in sections
        if re.search(r"^\|.*\d.*\|$", section, re.M) and not ORIGIN.search(section)
    ]
    assert not without
