"""The copy that a world of one's own begins with."""

import ast
import importlib
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"


def test_a_copy_names_no_other_world_and_holds_no_weights(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    package = importlib.import_module("new_world").copy("harbor", tmp_path)
    files = list(package.rglob("*.py"))
    assert len(files) > 30 and not list(package.rglob("*.safetensors"))
    for file in files:
        text = file.read_text()
        ast.parse(text)
        assert "organism.second" not in text and "SECOND\n" not in text
        assert '"organism2' not in text and "`organism2" not in text
    assert 'NAME = "harbor"' in (package / "weights.py").read_text()
    assert "import HARBOR" in (package / "behaviors.py").read_text()
