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
    Transcript,
    Turn,
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
    opens = (
        "dispatchEvent(new Event('beforeprint')), document.querySelector('.claims details').open"
    )
    assert browser.evaluate(opens)
    for hidden in ("nav", ".controls", ".download", "#theme"):
        style = f"getComputedStyle(document.querySelector('{hidden}')).display"
        assert browser.evaluate(style) == "none", hidden


def test_the_keys_work_the_player_on_the_screen_without_a_click(browser, tmp_path):
    opened(browser, tmp_path)
    browser.press("Home")
    assert text(browser, "#player-count") == "step 3 of 3"  # out of sight the keys are the page's
    browser.evaluate("document.getElementById('player-lanes').scrollIntoView({block: 'center'})")
    browser.evaluate("new Promise(done => setTimeout(done, 80))")
    browser.press("Home")
    assert text(browser, "#player-count") == "step 0 of 3"
    assert text(browser, ".verdict") == "…"
    browser.press("End")
    assert text(browser, ".verdict") == "refused"
    shown = "[...document.querySelectorAll('.tag:not([hidden])')].map(t => t.textContent)"
    assert browser.evaluate(f"{shown}.slice(-2)") == ["anchor 0", "end 2"]


def test_the_player_starts_by_itself_where_motion_is_wanted(browser, tmp_path):
    page = opened(browser, tmp_path)
    motion = {"name": "prefers-reduced-motion", "value": "no-preference"}
    browser.call("Emulation.setEmulatedMedia", media="screen", features=[motion])
    browser.open(page)
    assert text(browser, "#player-play") == "Play"
    browser.evaluate("document.getElementById('player-lanes').scrollIntoView({block: 'center'})")
    browser.wait("document.getElementById('player-play').textContent === 'Pause'", 3)
    browser.press(" ")
    assert text(browser, "#player-play") == "Play" and browser.logs == []


def test_transcripts_are_filtered_and_opened(browser, tmp_path):
    made = tuple(
        Transcript(attack, "MOSA", f"b{number}", outcome, "", (Turn("response", f"word{number}"),))
        for number, (attack, outcome) in enumerate(
            [("tap", "won"), ("tap", "lost"), ("dia", "won")]
        )
    )
    opened(browser, tmp_path, transcripts=made)
    shown = "[...document.querySelectorAll('.transcripts details:not([hidden]) b')]"
    names = f"{shown}.map(b => b.textContent).join()"
    choose = (
        "(([field, value]) => {{ const f = document.querySelector(`[data-field=${{field}}]`);"
        " f.value = value; f.dispatchEvent(new Event('input', {{bubbles: true}})); }})({})"
    )
    assert browser.evaluate(names) == "b0,b1,b2"
    browser.evaluate(choose.format(["outcome", "won"]))
    assert browser.evaluate(names) == "b0,b2" and text(browser, "#transcript-count") == "2 of 3"
    browser.evaluate(choose.format(["text", "WORD2"]))
    assert browser.evaluate(names) == "b2"
    browser.evaluate("document.getElementById('transcript-open').click()")
    is_open = "[...document.querySelectorAll('.transcripts details')].map(d => d.open).join()"
    assert browser.evaluate(is_open) == "false,false,true"
    assert [fault for fault in browser.axe() if fault[1] in ("serious", "critical")] == []


def test_on_a_phone_the_menu_and_the_first_column_stay(browser, tmp_path):
    number = Cell("-12.3 %", "[-100.0, 100.0] n=1200")
    rows = tuple((f"model {row}", *[number] * 6) for row in range(30))
    table = Table("w", ("model", *"abcdef"), rows)
    opened(browser, tmp_path, sections=(Section("W", "", (table,)),))
    browser.look(390)
    browser.evaluate(
        "document.querySelector('table:not(.claims)').scrollIntoView(),"
        " document.querySelector('.scroll:has(table:not(.claims))').scrollLeft = 200"
    )
    left = "document.querySelector('table:not(.claims) tbody th').getBoundingClientRect().left"
    assert 0 <= browser.evaluate(left) <= 20
    assert browser.evaluate("document.querySelector('nav').getBoundingClientRect().top") == 0
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390
