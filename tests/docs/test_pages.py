"""Links, lengths and lists of the pages: nothing is named that is not there."""

import re
from pathlib import Path

import pytest

from midspan.attacks import list_attacks
from midspan.studies.probes.registry import PROBES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ROOT_PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md")
PAGES = (*(ROOT / name for name in ROOT_PAGES), *sorted(DOCS.rglob("*.md")))
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.M | re.S)
LONGEST = 150
# Pages that list what there is, or keep what was written; they are read by looking things up.
LISTS = {"log.md", "adding-a-family.md"}


def anchors(page):
    """The anchors of a page, as the site's table of contents makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    found = set(re.findall(r'<a id="([\w-]+)">', text))
    for title in re.findall(r"^#+ (.*)$", text, re.M):
        words = re.sub(r"[^\w\s-]", "", title.replace("`", "")).strip().lower()
        found.add(re.sub(r"[-\s]+", "-", words))
    return found


def dead(page):
    """Local links of a page that lead nowhere."""
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
    for link in LINK.finditer(text):
        path, _, anchor = link["target"].partition("#")
        if "://" in path or path.startswith("mailto:"):
            continue
        target = page.parent / path if path else page
        if not target.exists():
            yield f"{page.relative_to(ROOT)}: {link['target']}"
        # Pages of the reference have the anchors of what they document.
        elif anchor and target.suffix == ".md" and "reference" not in target.parts:
            missing = {anchor} - anchors(target)
            yield from (f"{page.relative_to(ROOT)}: no heading {path}#{name}" for name in missing)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_local_links_lead_somewhere(page):
    assert not list(dead(page))


def test_a_dead_link_is_noticed(monkeypatch, tmp_path):
    monkeypatch.setattr("test_pages.ROOT", tmp_path)
    page = tmp_path / "a.md"
    page.write_text("# A b: `c`\n[x](#a-b-c) [y](#nothing) [z](gone.md) `[q](code.md)`\n")
    assert list(dead(page)) == ["a.md: no heading #nothing", "a.md: gone.md"]


def test_source_and_tests_name_pages_that_are_there():
    folders = ("src", "tests", "benchmarks", "examples")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    texts = {
        path: path.read_text(encoding="utf-8")
        for path in paths
        if path.suffix in {".py", ".yaml", ".html", ".md"} and "expected" not in path.parts
    }
    named = re.compile(r"(?<![\w/])docs/[\w/-]+\.(?:md|svg|png|json)")
    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, text in texts.items()
        for name in named.findall(text)
        if not (ROOT / name).exists()
    ]
    assert len(texts) > 300 and not missing


@pytest.mark.parametrize(
    "page", [page for page in sorted(DOCS.glob("*.md")) if page.name not in LISTS],
    ids=lambda page: page.name,
)  # fmt: skip
def test_a_page_of_instructions_is_short(page):
    assert len(page.read_text(encoding="utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize(
    "name",
    ["align", "audit", "data", "decoding", "hooks", "judges", "probes", "protocol", "redteam"]
    + ["rules", "serve", "servers", "study", "tasks"],
)
def test_a_page_of_instructions_begins_with_an_example(name):
    lines = (DOCS / f"{name}.md").read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("```"))
    assert first < 20 and not any(line.startswith(("|", "## ")) for line in lines[:first])


def named_in_table(page):
    """Names in code that begin the rows of a page's tables."""
    rows = re.findall(r"^\| ((?:`[\w-]+`(?:, )?)+)", page.read_text(encoding="utf-8"), re.M)
    return {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}


def test_the_protocol_lists_every_attack():
    assert named_in_table(DOCS / "protocol.md") == set(list_attacks())


def test_the_probes_page_runs_every_probe_of_the_paper():
    text = (DOCS / "methods" / "probes.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| \[([\w-]+)\]\(#", text, re.M)) == set(PROBES) - {"samples"}
