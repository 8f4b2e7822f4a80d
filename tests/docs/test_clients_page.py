"""The page on other tools names the versions that are tested, and files that are there."""

import re

from test_commands import ROOT

PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")


def test_versions_are_those_of_make_check_clients():
    pins = dict(
        re.findall(r"(garak|pyrit|promptfoo)(?:==|@)([\d.]+)", (ROOT / "Makefile").read_text())
    )
    rows = dict(re.findall(r"^\| (\w+) \| ([\d.]+)", PAGE, re.M))
    rows = {name.lower(): version for name, version in rows.items()}
    assert pins == {name: rows[name] for name in pins} and len(pins) == 3
    for name, version in re.findall(r"(garak|pyrit|promptfoo)(?:==|@)([\d.]+)", PAGE):
        assert pins[name] == version


def test_files_of_the_commands_are_shipped():
    named = re.findall(r"examples/[\w./-]+", PAGE)
    assert len(named) >= 4
    assert all((ROOT / name.rstrip(".")).exists() for name in named)
