"""The page in a real browser: silent, offline, worked by keyboard, accessible."""

import pytest
from browser import CHROMIUM, chromium

from midspan.report import (
    Cell,
    Claim,
    Commit,
    Figure,
    Lane,
    Player,
    Report,
    Section,
    Table,
    figures,
    write_report,
)

HOSTILE = "<b onclick=alert(1)>"
LANE = Lane(
    "MOSA",
    5,
    (
        Commit(0, -1, 1.0, "next"),
        Commit(1, 0, 0.95, "draft"),
        Commit(1, 1, 0.95, HOSTILE),
        Commit(2, 1, 0.5, "<|endoftext|>", True),
        Commit(3, 2, 0.1, "late"),
    ),
    "refused",
    f"next {HOSTILE}",
)
CURVE = figures.Curve("MOSA", [0, 1], [2, 3])
REPORT = Report(
    "T",
    "S",
    claims=(Claim("c", "e", "supported", "m", "r"), Claim("d", "e", "undecided", "m")),
    sections=(
        Section(
            "A",
            "Text.",
            (Table("t", ("a", "b"), (("x", Cell("1", "n=2", "good")), ("y", Cell("2"))), "c"),),
            (Figure("f", figures.lines("f", [CURVE], "x", "y"), "c", "f", "a\n1\n"),),
        ),
    ),
    players=(Player("A request of many words " * 3, "A prompt", "5 tokens", (LANE,)),),
    settings={"command": "midspan demo", "seed": "0"},
    limits=("One.",),
    redact=False,
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium to run the page's script")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as made:
        yield made


def opened(browser, folder, **changes):
    from dataclasses import replace

    page = write_report(replace(REPORT, **changes), folder)
    browser.logs.clear()
    browser.requests.clear()
    browser.look(1280)
    browser.open(page)
    return page


def chips(browser):
    return browser.evaluate("[...document.querySelectorAll('.canvas .chip')].map(c => c.className)")


def text(browser, selector):
    return browser.evaluate(f"document.querySelector('{selector}').textContent")


def test_the_player_shows_the_final_canvas_silently_and_offline(browser, tmp_path):
    page = opened(browser, tmp_path)
    assert chips(browser) == [
        "chip anchor", "chip c5", "chip c3 stop", "chip c1 new after", "chip",
    ]  # fmt: skip
    lane = text(browser, ".lane")
    assert "4 of 5 filled, first end token at 2" in lane and "anchor 0" in lane
    assert HOSTILE in lane and browser.evaluate("document.querySelector('.lane b')") is None
    assert browser.logs == [] and browser.requests == [page.as_uri()]


def test_the_keyboard_works_the_player(browser, tmp_path):
    opened(browser, tmp_path)
    browser.evaluate("document.getElementById('player-lanes').focus()")
    browser.press("Home")
    assert text(browser, "#player-count") == "step 0 of 3"
    browser.press("ArrowRight")
    assert "new: draft at 1 (0.95); mean confidence 0.95" in text(browser, ".told")
    browser.press("ArrowRight")
    assert HOSTILE in text(browser, ".canvas")
    browser.press("ArrowLeft")
    assert text(browser, "#player-count") == "step 1 of 3"
    browser.press(" ")
    assert text(browser, "#player-play") == "Pause"
    browser.press("End")
    assert text(browser, "#player-count") == "step 3 of 3"
    assert text(browser, "#player-play") == "Play" and browser.logs == []


def test_folded_text_opens_on_request(browser, tmp_path):
    opened(browser, tmp_path, fold=True)
    assert "next" not in text(browser, ".lane")
    browser.evaluate("document.getElementById('player-reveal').click()")
    assert "next" in text(browser, ".lane")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_axe_finds_no_serious_fault(browser, tmp_path, width, dark):
    opened(browser, tmp_path)
    browser.look(width, dark)
    assert [fault for fault in browser.axe() if fault[1] in ("serious", "critical")] == []
    # innerWidth would grow with a page that is too wide for a phone.
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_on_paper_it_is_light_and_nothing_is_cut_off(browser, tmp_path):
    number = Cell("-12.3 %", "[-100.0, 100.0] n=1200")
    table = Table("w", ("model", *"abcdef"), (("organism:mosa", *[number] * 6),))
    opened(browser, tmp_path, sections=(*REPORT.sections, Section("W", "", (table,))))
    paper = 718  # A4 minus Chromium's margins, at 96 dots an inch
    browser.look(paper, dark=True, media="print")
    assert browser.evaluate("document.documentElement.scrollWidth") <= paper
    assert (
        browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    )
    for hidden in ("nav", ".controls", ".download", "#theme"):
        style = f"getComputedStyle(document.querySelector('{hidden}')).display"
        assert browser.evaluate(style) == "none", hidden
