"""The check of imports on small packages: what it lets through, and each fault that it names."""

import importlib
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
ROOMS = ("`cli`", "`study/redteam/`", "`runs/`", "`left/`, `right/`", "`study/`", "`errors`")


@pytest.fixture
def check(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    checker = importlib.import_module("check_imports")

    def problems(files, rooms=ROOMS):
        for room in ("study/redteam", "runs", "left", "right", "study"):
            (tmp_path / "pack" / room).mkdir(parents=True, exist_ok=True)
        for name in ("cli", "errors"):
            (tmp_path / "pack" / f"{name}.py").touch()
        for name, text in files.items():
            (tmp_path / "pack" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "pack" / name).write_text(text, encoding="utf-8")
        rows = "\n".join(f"| {room} | of `other/` things |" for room in rooms)
        page = f"# Rooms\n\n| room | knows |\n|---|---|\n{rows}\n\nBelow: `no/` room.\n"
        return list(checker.problems(tmp_path / "pack", checker.read_levels(page)))

    return problems


def test_imports_downwards_and_within_a_room_pass(check):
    files = {
        "__init__.py": '"""A package file that imports nothing needs no row."""',
        "cli.py": "from pack.study.redteam.run import run",
        "study/redteam/run.py": "import pack.runs.folder\nfrom pack.study import cases\n",
        "study/redteam/page.py": "from .run import run\nfrom ..cases import CASES\n",
        "study/cases.py": "import os\nfrom pack.errors import Problem\nimport package.cli\n",
        "runs/__init__.py": "from pack.runs.folder import Folder",
        "runs/folder.py": "from pack import errors",
    }
    assert check(files) == []


@pytest.mark.parametrize(
    "text",
    [
        "from pack.runs.folder import Folder",
        "import pack.runs.folder",
        "from pack.runs import folder",
        "from ..runs import folder",
        "def later():\n    import os; from pack.runs import folder",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING: from pack.runs import folder",
    ],
)
def test_an_import_upwards_is_named_however_it_is_written(check, text):
    (problem,) = check({"study/cases.py": text, "runs/folder.py": ""})
    line = text.count("\n") + 1
    assert problem == (f"study/cases.py:{line}: imports runs/folder, but runs stands above study")


def test_a_name_of_a_package_leads_to_its_own_file(check):
    problems = check({"study/cases.py": "from pack.runs import Folder", "runs/__init__.py": ""})
    assert problems == ["study/cases.py:1: imports runs/__init__, but runs stands above study"]


def test_the_longest_name_of_a_room_wins(check):
    files = {"study/redteam/run.py": "", "study/cases.py": "import pack.study.redteam.run"}
    (problem,) = check(files)
    assert problem.endswith("study/redteam stands above study")
    assert check(files, ("`cli`", "`study/`", "`runs/`, `left/`, `right/`", "`errors`")) == []


def test_rooms_of_one_row_do_not_know_each_other(check):
    files = {"left/a.py": "from pack.right import b", "right/b.py": ""}
    assert check(files) == ["left/a.py:1: imports right/b, but right stands beside left"]


def test_circles_of_files_are_shown_through_functions_too(check):
    files = {
        "study/a.py": "from pack.study import b",
        "study/b.py": "def later():\n    from pack.study.c import c",
        "study/c.py": "from pack.study import a",
        "runs/__init__.py": "from pack.runs import folder",
        "runs/folder.py": "from pack.runs import Other",
    }
    problems = check(files)
    assert len(problems) == 2 and all(problem.startswith("circle: ") for problem in problems)
    shown = {frozenset(problem.removeprefix("circle: ").split(" -> ")) for problem in problems}
    assert shown == {
        frozenset({"study/a", "study/b", "study/c"}), frozenset({"runs/__init__", "runs/folder"})
    }  # fmt: skip


def test_files_without_a_row_and_rows_without_a_room_are_named(check):
    files = {"extra.py": "", "more/x.py": "", "__init__.py": "import pack.errors"}
    assert check(files, (*ROOMS, "`gone/`, `away`")) == [
        "gone: the table has a row for it, but it does not exist",
        "away: the table has a row for it, but it does not exist",
        "__init__: the table has no row for it",
        "extra: the table has no row for it",
        "more/x: the table has no row for it",
    ]


def test_a_page_without_the_table_is_an_error(check):
    checker = importlib.import_module("check_imports")
    with pytest.raises(SystemExit, match="no table"):
        checker.read_levels("| name | room |\n|---|---|\n")
