"""Every command of the documentation runs, or says what it needs and is at least well-formed."""

import re
import shlex
import sys
from itertools import dropwhile
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.main import get_command

from midspan.cli import main
from midspan.commands import app
from midspan.commands.estimates import minutes

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
# A comment before a block says why its commands are not run here.
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.M | re.S
)
MARK = re.compile(r"needs: (gpu|hub|data)|slow: \d+ min|serves until stopped")
SHELL = {"", "bash", "sh", "shell"}


class Command(NamedTuple):
    page: str
    line: str
    is_run: bool
    mark: str = ""

    @property
    def words(self) -> list[str]:
        return shlex.split(self.line, comments=True)

    @property
    def arguments(self) -> list[str] | None:
        """What midspan is given; None for other programs."""
        if self.words[0] == "midspan":
            return self.words[1:]
        if "midspan.cli" in self.words:
            return self.words[self.words.index("midspan.cli") + 1 :]
        return None


def commands_of(path):
    text = path.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        if block["language"] not in SHELL:
            continue
        mark = block["mark"]
        known = bool(mark and MARK.fullmatch(mark))
        for line in block["body"].replace("\\\n", " ").splitlines():
            if shlex.split(line, comments=True):
                words = " ".join(line.split())
                yield Command(str(path.relative_to(ROOT)), words, not known, mark or "")


COMMANDS = [command for path in PAGES for command in commands_of(path)]
OURS = [command for command in COMMANDS if command.arguments is not None]


def test_minutes_of_pages_are_those_that_commands_say():
    """What a command's first line and dry run say of the time, its block says on every page."""
    found = {}
    for command in OURS:
        took = re.fullmatch(r"slow: (\d+) min", command.mark)
        known = minutes(command.arguments) if took and "--dry-run" not in command.words else None
        # A block of several commands says how long they take together.
        together = [one for one in OURS if one.page == command.page and one.mark == command.mark]
        if known is not None and len(together) == 1:
            found.setdefault(known, []).append((command, int(took[1])))
    assert set(found) >= {2, 5, 30, 70}
    assert [one for known, rows in found.items() for one in rows if one[1] != known] == []


def test_minutes_are_of_one_command_at_its_usual_size():
    assert minutes(["demo", "--smoke", "-o", "x"]) == 1 and minutes(["demo"]) == 5
    assert minutes(["align", "organism", "--num-prompts", "16"]) is None
    assert minutes(["audit", "owner/model"]) is minutes(["probe", "order", "organism"]) is None
    assert minutes(["organism", "train", "-o", "x", "--second"]) is None
    helped = ["audit", "./mine", "--behaviors", "mine.csv", "--attacker", "organism"]
    assert minutes(helped) is minutes(["audit", "organism", "--behaviors", "organism:99"]) is None
    assert minutes(["audit", "organism", "-o", "x"]) == 5


def resolve(arguments):
    """The command that arguments call, and those that are left for it."""
    command, left = get_command(app), list(arguments)
    if left[:1] == ["help"]:
        del left[0]
    while left and left[0] in getattr(command, "commands", {}):
        command = command.commands[left.pop(0)]
    return command, left


def parse(arguments):
    """Check a command line as the command itself would, without running it."""
    command, left = resolve(arguments)
    command.make_context(" ".join(["midspan", *arguments]), left)


def test_commands_are_found_on_every_page_that_shows_one():
    pages = {command.page for command in OURS}
    assert {"README.md", "docs/laptop.md", "docs/scaling.md", "docs/probes.md"} <= pages
    assert any(command.is_run for command in OURS) and not all(command.is_run for command in OURS)


@pytest.mark.parametrize("command", OURS, ids=lambda command: f"{command.page}: {command.line}")
def test_every_command_line_is_one_that_midspan_takes(command, monkeypatch):
    # Whether a model or file is there depends on the reader's machine.
    monkeypatch.setattr("midspan.commands.names._check", lambda spec: None)
    monkeypatch.setattr("midspan.commands.names._exists", lambda path: True)
    parse(command.arguments)


@pytest.mark.parametrize("line", ["midspan generate", "midspan align M -o a --objectiv mosa"])
def test_a_wrong_command_line_is_noticed(line):
    with pytest.raises(Exception, match="Missing parameter|No such option"):
        parse(Command("", line, False).arguments)


def test_other_commands_are_of_this_repository():
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    for command in COMMANDS:
        if command.arguments is None:
            # The environment may stand before the program.
            words = dropwhile(lambda word: word.partition("=")[0].isupper(), command.words)
            program, first, *_ = words
            assert (
                (program == "make" and first in targets)
                or (program == "pip" and first == "install")
                # Lines of Ray and Slurm, which run on a cluster alone.
                or command.page == "docs/cluster.md"
                or (program == "python" and (ROOT / first).is_file())
            ), command


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({command.page for command in OURS if command.is_run}))
def test_unmarked_commands_run(page, tmp_path, monkeypatch, capsys):
    """A page's commands run in their order in one empty folder."""
    monkeypatch.chdir(tmp_path)
    # A dry run trains a little of every recipe, to say how long the whole would take.
    monkeypatch.setattr("midspan.studies.paper.rates._TRAINED_STEPS", 2)
    monkeypatch.setattr("midspan.studies.paper.forecast.PILOT", 0)
    for command in OURS:
        if command.page == page and command.is_run:
            monkeypatch.setattr(sys, "argv", ["midspan", *command.arguments])
            with pytest.raises(SystemExit) as ended:
                main()
            assert not ended.value.code, command.line + "\n" + capsys.readouterr().err
