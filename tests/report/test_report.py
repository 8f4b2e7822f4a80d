import base64
import csv
import dataclasses
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midspan.report import (
    Cell,
    Claim,
    Commit,
    Figure,
    Headline,
    Lane,
    Number,
    Player,
    Report,
    Section,
    Table,
    Transcript,
    Turn,
    Verdict,
    figures,
    write_report,
)
from midspan.report.svg import standalone
from midspan.report.tables import csv_text, is_number, numeric_columns, slug, table_csv
from midspan.statistics import wilson

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&<!--{{ 7*7 }}"
ESTIMATE = wilson(6, 97)
TABLE = Table(
    "Attack success",
    ("Model", "TAP"),
    (("Original", "n/a"), ("MOSA", Cell(ESTIMATE.percent, ESTIMATE.note, "good"))),
    name="asr",
)
FIGURE = Figure(
    "Success",
    figures.bars("Success", ["TAP"], [("MOSA", [ESTIMATE])], "%"),
    "",
    "asr",
    "a,b\n1,2\n",
)
LANE = Lane(
    "MOSA",
    3,
    (Commit(0, -1, 1.0, "the"), Commit(1, 0, 0.9, "secret"), Commit(2, 1, 0.4, "<eos>", True)),
    "refused",
    "the secret",
)
REPORT = Report(
    "Title",
    "Subtitle",
    claims=(
        Claim("First claim", "above 10 %", "supported", "12.5 % n=96"),
        Claim("Second claim", "below 5 %", "refuted", "9 % n=96"),
    ),
    sections=(Section("Attacks", "One.\n\nTwo.", (TABLE,), (FIGURE,)),),
    players=(Player("Anchor at 40", "A prompt", "64 tokens", (LANE,)),),
    settings={"command": "midspan study --preset organism", "seed": "0"},
    limits=("A limit.",),
)


class Page(HTMLParser):
    """Tags with attributes, and the text of each element by tag."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.stack = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.stack.append(tag)

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.stack[-1] if self.stack else "", data.strip()))

    def attributes(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def write(report, folder):
    return write_report(report, folder).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return write(REPORT, tmp_path_factory.mktemp("run"))


def test_files_are_written_and_nothing_is_left_over(tmp_path):
    path = write_report(REPORT, tmp_path)
    assert path == tmp_path / "report.html"
    names = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert names == {
        "report.html", "report.md", "tables/asr.csv", "tables/asr.tex", "tables/claims.csv",
        "tables/claims.tex", "figures/asr.svg", "figures/asr.csv",
    }  # fmt: skip


def test_writing_twice_gives_equal_bytes(tmp_path):
    assert write(REPORT, tmp_path) == write(REPORT, tmp_path)


def test_order_on_the_page(text):
    marks = ["<h1>", "First claim", "Attacks</h2>", 'id="player"', 'id="settings"', 'id="limits"']
    places = [text.index(mark) for mark in [*marks, "<code>midspan study"]]
    assert places == sorted(places)


def test_claims_show_outcome_expectation_and_evidence(text):
    page = Page(text)
    assert ("span", "Supported") in page.texts
    assert ("span", "Refuted") in page.texts
    assert ("summary", "First claim") in page.texts and "details" in dict(page.tags)
    assert ("dd", "above 10 %") in page.texts
    assert ("dd", "12.5 % n=96") in page.texts
    assert ("span", "1 refuted") in page.texts


def test_the_command_is_printed_once_and_not_as_a_setting(text):
    assert text.count("midspan study --preset organism") == 1


def test_nothing_is_fetched(text):
    page = Page(text)
    allowed = re.compile(r"data:|#")
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            assert name not in attributes or allowed.match(attributes[name])
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert len(text.encode()) < 5_000_000


def test_policy_admits_only_our_script(text):
    policy = next(a["content"] for a in Page(text).attributes("meta") if "http-equiv" in a)
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}';" in policy


def test_hostile_strings_stay_text(tmp_path):
    hostile = Lane(HOSTILE, 1, (Commit(0, 0, 1.0, HOSTILE),), "", HOSTILE)
    report = Report(
        HOSTILE,
        HOSTILE,
        (Claim(HOSTILE, HOSTILE, "undecided", HOSTILE),),
        (
            Section(
                HOSTILE,
                HOSTILE,
                (Table(HOSTILE, (HOSTILE,), ((Cell(HOSTILE, HOSTILE),),), HOSTILE, HOSTILE),),
                (Figure(HOSTILE, FIGURE.svg, HOSTILE, HOSTILE, HOSTILE),),
            ),
        ),
        (
            Player(
                HOSTILE,
                HOSTILE,
                HOSTILE,
                (hostile,),
            ),
        ),
        {HOSTILE: HOSTILE, "command": HOSTILE},
        (HOSTILE,),
    )
    page = Page(write(report, tmp_path))
    assert not page.attributes("img")
    assert len(page.attributes("script")) == 2
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert ("dd", HOSTILE) in page.texts
    for path in tmp_path.rglob("*"):
        assert path.resolve().is_relative_to(tmp_path.resolve())
        assert re.fullmatch(r"[a-z0-9.-]+", path.name)


def test_player_data_survives_the_page(tmp_path):
    text = write(dataclasses.replace(REPORT, redact=False), tmp_path)
    raw = re.search(r'id="player-data">(.*?)</script>', text, re.DOTALL)[1]
    lane = json.loads(raw)[0]["lanes"][0]
    assert lane["length"] == 3
    assert lane["commits"][0] == [0, -1, 1.0, "the", False]
    assert lane["commits"][2] == [2, 1, 0.4, "<eos>", True]
    assert lane["colour"].startswith("var(--series-mosa,")


SECRET = Table("Answers", ("id", "response"), (("1", Cell("the secret", generated=True)),))


def with_answers(**changes):
    return dataclasses.replace(REPORT, sections=(Section("A", "", (SECRET,)),), **changes)


def test_redacted_text_is_in_no_file(tmp_path):
    write_report(with_answers(), tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".html", ".md", ".csv", ".tex"}
    for path in files:
        assert "secret" not in path.read_text(encoding="utf-8"), path
    assert "withheld, 10 characters" in (tmp_path / "tables" / "answers.csv").read_text()


def test_text_that_was_asked_for_is_folded(tmp_path):
    page = write(with_answers(redact=False, fold=True), tmp_path)
    visible = re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.DOTALL)
    visible = re.sub(r'href="data:[^"]*"', "", visible)
    visible = re.sub(r"<details>.*?</details>", "", visible, flags=re.DOTALL)
    assert "secret" not in visible and 'id="player-reveal"' in page
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "<details><summary>Generated text</summary>\n\n```text\nthe secret" in markdown


def test_hostile_text_stays_text_in_markdown_and_latex(tmp_path):
    table = Table("50 % of $x_1$", ("a & b",), (("<b>|[x](y)",), ("[1] \\^~",)), name="t")
    write_report(Report("# T", "S", sections=(Section("A", "", (table,)),)), tmp_path)
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert r"| \<b\>\|\[x\](y) |" in markdown and "<b>" not in markdown
    latex = (tmp_path / "tables" / "t.tex").read_text(encoding="utf-8")
    assert r"\caption{50 \% of \$x\_1\$.}" in latex and r"{a \& b} \\" in latex
    assert r"{[1] \textbackslash{}\textasciicircum{}\textasciitilde{}} \\" in latex


def test_a_table_in_latex_has_rules_notes_and_numbers_flush_right(tmp_path):
    rows = (("a_b", Cell("-12 %", "[-20, 3] n=9")), ("[c]", "7 %"))
    table = Table("Rates", ("model", "rate"), rows, "On the\nheld-out set.")
    write_report(Report("T", "S", sections=(Section("A", "", (table,)),)), tmp_path)
    assert (tmp_path / "tables" / "rates.tex").read_text(encoding="utf-8").splitlines() == [
        r"\begin{table}",
        r"\centering",
        r"\caption{Rates. On the held-out set.}\label{tab:rates}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"{model} & {rate} \\",
        r"\midrule",
        r"{a\_b} & {$-$12 \%} {\scriptsize [$-$20, 3] n=9} \\",
        r"{[c]} & {7 \%} \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def test_tables_of_any_text_are_set(tmp_path, set_in_latex):
    signs = " ".join(
        map(chr, [*range(32, 127), *range(0xA1, 0x100), *range(0x2010, 0x2070), 0xE01])
    )
    words = Table("Signs", ("a", "b"), ((signs, "--judge ``x'' \x00\U0001f600"),), signs)
    number = Cell("-12.3 %", "[-100.0, +100.0] n=1200")
    numbers = Table("Numbers", ("m", *"abc"), (("[1]", *[number] * 3),) * 9)
    write_report(Report("T", "S", sections=(Section("A", "", (words, numbers, TABLE)),)), tmp_path)
    set_in_latex(tmp_path)


def test_without_redaction_there_is_no_fold(tmp_path):
    page = write(dataclasses.replace(REPORT, redact=False), tmp_path)
    assert 'id="player-reveal"' not in page


def test_a_bare_report_has_no_empty_rooms(tmp_path):
    page = write(Report("T", "S"), tmp_path)
    for absent in ('id="claims"', 'id="player"', 'id="limits"', "player-data", "<pre"):
        assert absent not in page


def test_a_headline_stands_before_all_else_and_is_in_every_file(tmp_path):
    numbers = (Number("chat", "6.2 %", "[2.9, 12.8] n=96", "bad"), Number(HOSTILE, "0 %", HOSTILE))
    headline = Headline(numbers, dataclasses.replace(FIGURE, name="first"), HOSTILE)
    text = write_report(dataclasses.replace(REPORT, headline=headline), tmp_path).read_text()
    page = Page(text)
    assert ("dd", {"class": "bad"}) in page.tags and "<img src=x" not in text
    assert text.index("6.2 %") < text.index('aria-label="Contents"') < text.index("First claim")
    assert (tmp_path / "figures" / "first.svg").read_text() == standalone(headline.figure.svg)
    markdown = (tmp_path / "report.md").read_text()
    assert "- **chat**: 6.2 % \\[2.9, 12.8\\] n=96" in markdown
    assert markdown.index("figures/first.svg") < markdown.index("figures/asr.svg")


def test_csv_link_equals_the_file(tmp_path):
    page = Page(write(REPORT, tmp_path))
    links = [a for a in page.attributes("a") if "download" in a]
    decoded = {unquote(a["href"].split(",", 1)[1]) for a in links}
    assert (tmp_path / "tables" / "asr.csv").read_text() in decoded
    assert FIGURE.csv in decoded


def test_table_csv_has_every_number_in_a_cell_of_its_own():
    cells = (
        Cell("6.2 %", "[2.9, 12.8] n=97"),
        Cell("1,234 to 1,300 %", "[-5, +9.1] n=8, 3 without outcome, p=0.03"),
        "n/a",
    )
    mixed = (Cell("−0.5", "any of 8"), "12 s", "-")
    words = ("a", "3 of 4", "1")
    table = Table("t", ("Rate", "Mixed", "Word"), tuple(zip(cells, mixed, words, strict=True)))
    rows = list(csv.DictReader(io.StringIO(table_csv(table))))
    assert rows[0] == {
        "Rate least": "6.2", "Rate most": "6.2", "Rate unit": "%", "Rate low": "2.9",
        "Rate high": "12.8", "Rate n": "97", "Rate p": "", "Rate note": "",
        "Mixed": "-0.5", "Mixed unit": "", "Mixed note": "any of 8", "Word": "a",
    }  # fmt: skip
    assert [rows[1][f"Rate {part}"] for part in ("least", "most", "low", "high", "n", "p")] == [
        "1234", "1300", "-5", "9.1", "8", "0.03",
    ]  # fmt: skip
    assert rows[1]["Rate note"] == "3 without outcome" and rows[1]["Mixed unit"] == "s"
    assert rows[2]["Rate least"] == rows[2]["Rate low"] == rows[2]["Mixed"] == ""
    assert rows[1]["Word"] == "3 of 4"


def with_transcripts(folder, **changes):
    made = [
        Transcript(
            "tap", model, f"b{number}", outcome, "Attempt 1.",
            (Turn("user", "the request"), Turn("response", "the secret", generated=True)), tone,
        )
        for number, (model, outcome, tone) in enumerate(
            [("Original", "won", "bad"), ("MOSA", "lost", "good"), (HOSTILE, "lost", "good")]
        )
    ]  # fmt: skip
    report = dataclasses.replace(REPORT, transcripts=tuple(made), **changes)
    return write_report(report, folder)


def test_transcripts_are_folded_and_redacted_in_every_file(tmp_path):
    text = with_transcripts(tmp_path).read_text(encoding="utf-8")
    page = Page(text)
    folds = [a for a in page.attributes("details") if "data-outcome" in a]
    assert [a["data-outcome"] for a in folds] == ["won", "lost", "lost"]
    assert not any("open" in a for a in folds)
    assert ("option", "tap") not in page.texts  # one attack leaves no choice
    assert ("option", "MOSA") in page.texts and ("dd", "the request") in page.texts
    assert not page.attributes("img")
    rows = list(csv.DictReader((tmp_path / "tables" / "transcripts.csv").open()))
    assert rows[1]["text"] == "[generated text withheld, 10 characters]" and len(rows) == 6
    for path in tmp_path.rglob("*.*"):
        assert "the secret" not in path.read_text(encoding="utf-8"), path
    shown = with_transcripts(tmp_path, redact=False, fold=True).read_text(encoding="utf-8")
    assert ("dd", "the secret") in Page(shown).texts


def test_the_answer_stands_first_and_a_smoke_run_passes_no_verdict(tmp_path):
    claims = (Claim("c", "e", "no verdict", "m", short="100 %", cases="1 of 9"),)
    headline = Headline((), None, "", "Of 1 behavior, 1 fell.", Verdict("No verdict"))
    report = Report("T", "S", claims=claims, headline=headline, preliminary="A smoke run.")
    text = write(report, tmp_path)
    assert text.index("A smoke run.") < text.index("Of 1 behavior") < text.index("<nav")
    assert "Refuted" not in text and ("td", "1 of 9") in Page(text).texts
    assert "**No verdict.** Of 1 behavior" in (tmp_path / "report.md").read_text()


NUMBERS = st.one_of(
    st.integers(), st.floats(allow_nan=False, allow_infinity=False),
    st.from_regex(r"[-+][0-9]{1,9}(\.[0-9]{1,4})?( ?%| s| ms|e-?[0-9]{1,3})?", fullmatch=True),
)  # fmt: skip


@given(
    texts=st.lists(st.text(st.sampled_from("=+-@\t\r\n＝＋－＠ab1,\";' %")), min_size=1),
    numbers=st.lists(NUMBERS, min_size=1),
)
def test_a_spreadsheet_runs_nothing_and_reads_all_numbers(texts, numbers):
    written = csv_text(["=HYPERLINK(1)", *texts], [texts + [""], [*numbers]])
    header, first, second = csv.reader(io.StringIO(written, newline=""))
    starts = tuple("=+-@\t\r\n＝＋－＠")
    for text, cell in zip(["=HYPERLINK(1)", *texts, *texts], header + first[:-1], strict=True):
        wanted = text.replace("\r\n", "\n").replace("\r", "\n")
        assert cell == wanted or cell == f"'{wanted}" and wanted.startswith(starts)
        if cell.startswith(starts):
            # What is left as it was is a number, or the sign for "nothing" alone.
            assert cell == "-" or re.fullmatch(r"[-+][0-9., ]+ ?%?", cell) and cell[1] != " ", cell
    assert second == [str(number) for number in numbers]


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1+1)", "\t=1", "\r=1", "\n=1", "＝1+1"]
)
def test_what_owasp_names_is_neutralised(cell):
    assert next(csv.reader(io.StringIO(csv_text([cell], []), newline=""))) == [
        f"'{cell}".replace("\r", "\n")
    ]


def test_equal_names_get_separate_files(tmp_path):
    write_report(Report("T", "S", sections=(Section("A", "", (TABLE, TABLE)),)), tmp_path)
    assert {p.name for p in (tmp_path / "tables").glob("*.csv")} == {"asr.csv", "asr-2.csv"}


def test_names_come_from_the_title_and_stay_in_the_folder(tmp_path):
    table = Table("../../Étude 1: x/y", ("a",), ())
    write_report(Report("T", "S", sections=(Section("A", "", (table,)),)), tmp_path)
    assert [p.name for p in (tmp_path / "tables").glob("*.csv")] == ["tude-1-x-y.csv"]
    assert slug("…") == "untitled"


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("6.2 %", True), ("−1.0", True), ("1,024", True), ("3e-5", True), ("12 GB", True)]
    + [("MOSA", False), ("n/a", False), ("", False), ("3 of 4", False), ("[1, 2]", False)],
)
def test_what_counts_as_a_number(cell, expected):
    assert is_number(cell) is expected


def test_columns_of_numbers_are_aligned():
    assert numeric_columns(TABLE) == (False, True)
    assert numeric_columns(Table("t", ("a",), (("–",),))) == (False,)


def test_rows_must_fit_the_header():
    with pytest.raises(ValueError, match="row 2 has 1 cells"):
        Table("t", ("a", "b"), (("1", "2"), ("1",)))


def test_commits_must_lie_on_the_canvas():
    with pytest.raises(ValueError, match="outside the canvas"):
        Lane("m", 1, (Commit(1, 0, 0.5, "a"),), "", "")
