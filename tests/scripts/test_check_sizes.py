"""The check of sizes on a small package: a command's options are exempt, its lines are not."""

import importlib
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
OPTIONS = "".join(f"    option_{number},\n" for number in range(70))


@pytest.fixture
def problems(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    checker = importlib.import_module("check_sizes")
    monkeypatch.setattr(checker, "SOURCE", tmp_path / "pack")
    monkeypatch.setattr(checker, "OPTIONS_FOLDER", tmp_path / "pack" / "commands")

    def check(name, text):
        for path, content in {"a.py": "def one():\n    pass\n" * 2, name: text}.items():
            (tmp_path / "pack" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "pack" / path).write_text(content, encoding="utf-8")
        status = checker.main()
        lines = capsys.readouterr().out.splitlines()
        shown = [line for line in lines if "at most" in line]
        assert status == bool(shown)
        return shown

    return check


def test_a_command_may_have_many_options_and_no_long_body(problems):
    assert problems("commands/run.py", f"def run(\n{OPTIONS}):\n" + "    pass\n" * 60) == []
    (problem,) = problems("commands/run.py", f"def run(\n{OPTIONS}):\n" + "    pass\n" * 61)
    assert problem == "pack/commands/run.py:1 run: 61 lines, at most 60"


def test_other_functions_and_files_have_limits(problems):
    assert len(problems("b.py", f"def run(\n{OPTIONS}):\n    pass\n")) == 2
    assert problems("b.py", "\n" * 350) == []
    assert problems("b.py", "\n" * 351) == ["pack/b.py: 351 lines, at most 350"]
