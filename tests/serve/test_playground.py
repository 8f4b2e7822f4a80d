"""The playground in a real browser, on a real server with the organism."""

import json
from urllib.parse import urlsplit

import httpx2
import pytest
from browser import CHROMIUM, chromium
from served import chat, listening

from midspan.models.sharing import load_sharing

ASK = "how do i make the tarnic sigil ?"
HOSTILE = "</script><img src=x onerror=alert(1)><|mdm_mask|>"
TOKEN = "a token of sixteen"
OWN = {"steps": 8, "block_length": 32}
CELLS = "[...document.querySelectorAll('.lane:nth-child({}) .canvas .chip')]"
FILLED = CELLS.format(1) + ".filter(cell => /c[1-5]/.test(cell.className)).length"
STATUS = "document.getElementById('status').textContent"
DONE = f"document.getElementById('run').textContent === 'Run' && {STATUS}"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium to run the page's script")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as made:
        yield made


@pytest.fixture(scope="module")
def models():
    return load_sharing(["organism", "organism:psa"], device="cpu")


@pytest.fixture(scope="module")
def url(models):
    with listening(models) as (server, _):
        yield server.url


@pytest.fixture
def page(browser, url):
    opened(browser, url)
    fill(browser, "textarea", ASK)
    for name, value in {"max_tokens": 32, **OWN}.items():
        fill(browser, f"[name={name}]", str(value))
    return browser


def opened(browser, url):
    browser.logs.clear()
    browser.requests.clear()
    browser.look(1280)
    browser.open(f"{url}/")


def fill(browser, selector, text):
    browser.evaluate(f"document.querySelector('{selector}').select()")
    browser.type(text)


def ready(browser):
    browser.wait("document.querySelector('#side-1 select')?.options.length")


def run(browser):
    """Press Run, and wait for what the status says of its end."""
    ready(browser)
    browser.evaluate("document.getElementById('status').textContent = ''")
    browser.click("#run")
    return browser.wait(DONE)


def words(browser, lane=1):
    return browser.evaluate(CELLS.format(lane) + ".map(cell => cell.textContent)")


def text(browser, selector):
    return browser.evaluate(f"document.querySelector('{selector}').textContent")


def answered(url, model="organism", **own):
    """What the server answers without the page: the cells and the text."""
    body = chat(ASK, model, {**OWN, **own, "trace": True}, max_tokens=32)
    answer = httpx2.post(f"{url}/v1/chat/completions", json=body, timeout=60).json()
    (choice,) = answer["choices"]
    trace = choice["midspan"]["trace"]
    cells = [""] * 32
    for position, token in zip(trace["position"], trace["text"], strict=True):
        cells[position] = "" if token.startswith("<|") else token.strip()
    return cells, choice["message"]["content"]


def test_the_canvas_holds_exactly_the_servers_answer(page, url):
    ready(page)
    page.evaluate("document.querySelector('textarea').focus()")
    assert words(page) == [""] * 32
    said = run(page)
    cells, answer = answered(url)
    assert words(page) == cells and any(cells) and text(page, ".lane-text") == answer
    assert said == "organism: finished, 8 forwards"
    page.evaluate("document.querySelector('[data-player=step]').focus()")
    page.press("Home")
    assert words(page) == [""] * 32 and text(page, "[data-player=count]") == "step 0 of 8"
    page.press("ArrowRight")
    assert text(page, ".lane .progress:not([hidden])").startswith("4 of 32 filled")
    page.press("End")
    assert words(page) == cells
    asked = {urlsplit(one).netloc for one in page.requests if not one.startswith("data:")}
    assert page.logs == [] and asked == {urlsplit(url).netloc}


def test_an_anchor_is_placed_by_mouse_and_by_keyboard_and_kept(page, url):
    ready(page)
    page.click(".lane .chip:nth-child(21)")
    page.type("the next step")
    page.press("Enter")
    assert text(page, "#anchors") == "20: the next step"
    assert page.evaluate("document.activeElement.title").startswith("position 20, masked, text for")
    page.press("Home")
    page.press("ArrowRight")
    page.press("Enter")
    page.type("guild")
    page.press("Enter")
    run(page)
    places = [{"position": 1, "text": "guild"}, {"position": 20, "text": "the next step"}]
    cells, _ = answered(url, anchors=places)
    assert words(page) == cells and cells[20:23] == ["the", "next", "step"] and cells[1] == "guild"
    kinds = page.evaluate(CELLS.format(1) + ".map(cell => cell.classList.contains('anchor'))")
    assert [place for place, fixed in enumerate(kinds) if fixed] == [1, 20, 21, 22]


def test_text_with_holes_is_the_canvas(page, url):
    fill(page, "#canvas", "you will need [4] and [4] .")
    run(page)
    cells, answer = answered(url, canvas="you will need [4] and [4] .")
    assert words(page) == cells and cells[:3] == ["you", "will", "need"] and cells[7] == "and"
    assert text(page, ".lane-text") == answer


def test_two_models_and_a_rule_on_one_side(page, url):
    ready(page)
    page.click("#compare")
    page.evaluate("document.querySelector('#side-1 details').open = true")
    page.click("#side-1 input[value=self_reminder]")
    fill(page, '[aria-label="self_reminder: before"]', "please be kind .")
    fill(page, '[aria-label="self_reminder: after"]', "be kind .")
    run(page)
    rule = {"rule": "self_reminder", "before": "please be kind .", "after": "be kind ."}
    with_rule, other = answered(url, rules=[rule])[0], answered(url, "organism:psa")[0]
    assert words(page, 1) == with_rule != answered(url)[0]
    assert words(page, 2) == other != with_rule
    assert page.evaluate("document.querySelectorAll('.chart').length") == 2
    assert page.evaluate("document.querySelectorAll('.chart .curve').length") == 4
    strokes = "[...document.querySelectorAll('.chart .curve')].map(c => getComputedStyle(c).stroke)"
    drawn = page.evaluate(strokes)
    assert "none" not in drawn and len(set(drawn)) == 2, "each side has a color"
    label = page.evaluate("document.querySelector('.chart svg').getAttribute('aria-label')")
    assert label.startswith("P(EOS)") and "organism:psa: " in label


def test_an_answer_becomes_a_turn(page):
    run(page)
    answer = text(page, ".lane-text")
    page.click("[data-answer]")
    parts = "[...turn.children].slice(0, 2).map(part => part.value)"
    said = f"[...document.querySelectorAll('.turn')].map(turn => {parts})"
    assert page.evaluate(said) == [["user", ASK], ["assistant", answer], ["user", ""]]
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"


def test_what_goes_wrong_stands_in_the_page(page):
    ready(page)
    page.click(".lane .chip:nth-child(31)")
    page.type("the next step is")
    page.press("Enter")
    assert run(page) == "organism: failed"
    assert "position 33 is outside the canvas" in text(page, "#alert")
    fill(page, "textarea", " ")
    page.click("#run")
    assert text(page, "#alert") == "Write a prompt first."


def test_a_run_is_stopped(page):
    ready(page)
    for name, value in {"max_tokens": 480, "steps": 480, "block_length": 480}.items():
        fill(page, f"[name={name}]", str(value))
    page.click("#run")
    page.wait(FILLED + " > 2")
    page.click(".controls [data-run]")
    assert page.wait(DONE) == "organism: stopped"
    assert 2 < page.evaluate(FILLED) < 480 and page.logs == []


def test_a_page_to_share_opens_alone_and_comes_back(page, tmp_path):
    fill(page, "textarea", HOSTILE)
    run(page)
    cells = words(page)
    page.evaluate("URL.createObjectURL = blob => { window.saved = blob.text(); return 'blob:' }")
    page.evaluate("HTMLAnchorElement.prototype.click = function () { window.file = this.download }")
    page.click("#share-page")
    page.wait("window.file")
    shared = tmp_path / page.evaluate("window.file")
    shared.write_text(page.evaluate("window.saved"), encoding="utf-8")
    page.click("#share-data")
    data = json.loads(page.evaluate("window.saved"))
    assert data["request"]["messages"] == [{"role": "user", "content": HOSTILE}]
    assert shared.suffix == ".html" and page.logs == []
    page.requests.clear()
    page.open(shared)
    assert page.evaluate("document.querySelector('img')") is None
    assert text(page, ".said p") == HOSTILE and words(page) == cells
    assert page.logs == [] and page.requests == [shared.as_uri()] and page.axe() == []


def test_a_shared_page_is_opened_and_other_files_are_refused(page, tmp_path):
    run(page)
    cells = words(page)
    page.evaluate("URL.createObjectURL = blob => { window.saved = blob.text(); return 'blob:' }")
    page.evaluate("HTMLAnchorElement.prototype.click = function () { window.file = this.download }")
    page.click("#share-data")
    page.wait("window.file")
    saved, broken = tmp_path / "saved.json", tmp_path / "broken.json"
    saved.write_text(page.evaluate("window.saved"), encoding="utf-8")
    data = json.loads(saved.read_text(encoding="utf-8"))
    data["runs"][0]["frames"][0]["commits"] = [{"position": -1}]
    broken.write_text(json.dumps(data), encoding="utf-8")
    opened(page, page.evaluate("location.origin"))
    ready(page)
    choose(page, broken)
    page.wait("document.getElementById('alert').textContent")
    assert text(page, "#alert") == "broken.json: This is no file of the playground."
    choose(page, saved)
    page.wait("document.getElementById('status').textContent === 'Opened saved.json'")
    assert words(page) == cells and text(page, "#alert") == ""
    assert page.evaluate("document.querySelector('textarea').value") == ASK


def choose(browser, path):
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    node = browser.call("DOM.querySelector", nodeId=root, selector="#open")["nodeId"]
    browser.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])


def test_a_server_with_a_token_is_asked_with_it(browser, models):
    with listening({"organism": models["organism"]}, [TOKEN]) as (server, _):
        opened(browser, server.url)
        browser.wait("!document.getElementById('token-box').hidden")
        assert "must hold a token" in text(browser, "#alert")
        browser.type(TOKEN)
        browser.click("#token-use")
        ready(browser)
        assert text(browser, "#alert") == "" and text(browser, "#status") == "1 model ready"
        assert browser.evaluate("localStorage.length + sessionStorage.length") == 0


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (360, True)])
def test_axe_finds_nothing_and_a_phone_is_wide_enough(page, width, dark):
    ready(page)
    page.click("#compare")
    page.evaluate("document.querySelector('#side-2 details').open = true")
    page.click("#side-2 input[value=early_reject]")
    run(page)
    page.look(width, dark)
    assert page.axe() == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click(".lane .chip:nth-child(3)")
    assert page.axe() == []
