"""The README's first screen is short and true; files of the community can be read."""

import runpy
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import yaml

from midspan.version import __version__

ROOT = Path(__file__).parents[2]


def test_the_readme_is_one_screen_first():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 120
    assert "docs/canvases.svg" in "\n".join(lines[:10])


def test_the_moving_picture_shows_what_its_script_makes(tmp_path, monkeypatch, capsys):
    made, shown = tmp_path / "made.svg", ROOT / "docs" / "canvases.svg"
    monkeypatch.setattr(sys, "argv", ["canvases.py", str(made)])
    runpy.run_path(str(ROOT / "examples" / "canvases.py"))
    assert "cannot help with that" in capsys.readouterr().out
    # Colours follow confidences, whose last digits differ between processors.
    words = [list(ET.parse(path).getroot().itertext()) for path in (made, shown)]
    assert words[0] == words[1]
    assert shown.stat().st_size < 2_000_000


def test_forms_and_the_citation_can_be_read():
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    read = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in forms}
    assert all(form["body"] for name, form in read.items() if name != "config")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert citation["license"] == "Apache-2.0"
