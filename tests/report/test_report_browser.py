"""The page in a real browser: the player builds itself, and the console stays silent."""

import re
import shutil
import subprocess

import pytest

from midspan.report import Lane, Player, Report, write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",
    "--enable-logging=stderr",
    "--dump-dom",
)
HOSTILE = "<b onclick=alert(1)>"
LANE = Lane(
    "MOSA",
    ("next", HOSTILE, "<|endoftext|>", "late", "never"),
    ((0, -1, 1.0), (1, 0, 0.95), (2, 1, 0.5), (3, 2, 0.1)),
    2,
    "refused",
    f"next {HOSTILE}",
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium to run the page's script")


def load(folder, *, redact):
    player = Player("Anchor", "A prompt", "5 tokens", (LANE,))
    page = write_report(Report("T", "S", players=(player,), redact=redact), folder)
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", page.as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    stage = result.stdout.split('id="player-lanes"')[1].split('id="player-status"')[0]
    return stage, re.findall(r".*CONSOLE.*", result.stderr)


def test_open_player_shows_the_final_canvas_and_logs_nothing(tmp_path):
    stage, console = load(tmp_path, redact=False)
    assert console == []
    assert "4 of 5 filled, first end token at 2" in stage
    assert "anchor 0" in stage
    assert "&lt;b onclick=alert(1)&gt;" in stage
    assert "<b " not in stage
    chips = re.findall(r'<span class="(chip[^"]*)"', stage)
    assert chips == ["chip anchor", "chip c5", "chip c3 stop", "chip c1 new after", "chip"]
    assert "endoftext" not in stage


def test_redacted_player_shows_no_generated_text(tmp_path):
    stage, console = load(tmp_path, redact=True)
    assert console == []
    assert "▒" in stage
    assert "next" not in stage
    assert "onclick" not in stage
