"""docs/from-python.md runs as a notebook, its results show themselves; the reference is whole."""

import ast
import re
import runpy
from pathlib import Path

import pytest

import midspan
from midspan.studies.organism.demo import presets

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "from-python.md"
REFERENCE = ROOT / "docs" / "reference" / "midspan.md"
EXAMPLE = ROOT / "examples" / "everything.py"
HOMES = re.compile(r"^::: (midspan[\w.]*)$", re.M)


@pytest.fixture
def small_demo(monkeypatch):
    """What the pages call demo-smoke, with fewer steps of decoding."""
    config = presets.smoke().model_copy(update={"positions_a_step": 32})
    monkeypatch.setattr(presets, "smoke", lambda: config)


@pytest.fixture(scope="module")
def notebook_folder(tmp_path_factory):
    """Where the page and the script run: their trainings and demos are the same."""
    return tmp_path_factory.mktemp("notebook")


def run_cell(code, names):
    """Run a cell; the value of its last expression, as a notebook shows it."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, str(PAGE), "exec"), names)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), str(PAGE), "eval"), names)


@pytest.mark.slow
@pytest.mark.usefixtures("small_demo")
def test_the_page_runs_as_a_notebook(notebook_folder, monkeypatch):
    monkeypatch.chdir(notebook_folder)
    names = {}
    shown = []
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        value = run_cell(code, names)
        html = value._repr_html_() if hasattr(value, "_repr_html_") else None
        if html is not None:  # matplotlib's figures have none
            assert "<table>" in html or "<iframe" in html
            assert "<script" not in html
            shown.append(type(value).__name__)
    assert shown == [
        "Answer", "TrainedAdapter", "AttackRun", "ProbeRun", "EvaluationRun", "StudyRun",
    ]  # fmt: skip
    assert (notebook_folder / "runs" / "demo" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("small_demo")
def test_one_script_does_everything(notebook_folder, monkeypatch, capsys):
    text = EXAMPLE.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 25
    assert re.findall(r"^(?:import|from) .*", text, re.M) == ["import midspan"]
    monkeypatch.chdir(notebook_folder)
    runpy.run_path(str(EXAMPLE))
    assert "Open runs/demo/report.html" in capsys.readouterr().out


def test_the_reference_names_everything_public():
    text = REFERENCE.read_text(encoding="utf-8")
    missing = [
        name for name in midspan.__all__ if name[0] != "_" and f"`midspan.{name}`" not in text
    ]
    assert not missing


def test_the_reference_points_to_where_each_name_lives():
    homes = set(HOMES.findall(REFERENCE.read_text(encoding="utf-8")))
    for name, home in midspan._HOMES.items():
        if home.startswith(("midspan.api", "midspan.errors")):
            assert f"{home}.{name}" in homes, name
