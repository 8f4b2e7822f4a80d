"""Ctrl-C ends a command in one line, with the command that continues it.

Each is a program of its own, to which the signal goes as a terminal sends it: to its whole group.
"""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

SECONDS = 240

# A command, and what it has said once its work has begun.
BEGUN = {
    ("align", "organism", "-o", "an adapter"): r"training mosa-stable: \d+/",
    ("attack", "organism", "--method", "tap", "--behaviors", "organism:18", "--judge", "exact"):
        r"attacks on organism: \d+/",
    ("audit", "organism", "--jobs", "2"): r"attacks \d of 2: .* loading organism",
    ("study", "--part", "order", "--part", "samples", "--jobs", "2"): r"(order|samples): ",
    ("demo", "--full"): r"training mosa-stable: \d+/",
    ("organism", "train", "-o", "model"): r"training the organism: \d+/",
    ("serve", "organism", "--port", "0"): r"Loads organism",
}  # fmt: skip


def interrupted(call, begun, folder):
    """What a command says after Ctrl-C, and its exit status."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from midspan.cli import main; main()", *call],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
        start_new_session=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if re.search(begun, line):
                break
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    return rest, process.returncode, "".join(said)


@pytest.mark.interrupts
@pytest.mark.skipif("MIDSPAN_INTERRUPTS" not in os.environ, reason="runs by: make check-interrupts")
@pytest.mark.parametrize("call", BEGUN, ids=" ".join)
def test_ctrl_c_leaves_one_line_and_the_command_that_continues(call, tmp_path):
    rest, status, before = interrupted(call, BEGUN[call], tmp_path)
    # That is how a server ends.
    if call[0] == "serve":
        assert status == 0 and "Traceback" not in rest and "ending" in rest, before + rest
        return
    assert status == 130, before + rest
    # What a stage had to say on its way may come before it.
    *others, last = rest.splitlines()
    assert "Traceback" not in rest and not any("Error" in line for line in others), rest
    assert last.startswith("midspan: ")
    command = last.partition("this continues it: ")[2]
    assert command.split()[:2] == ["midspan", call[0]]
    if call[0] == "align":
        assert "no checkpoint yet" in last and command.endswith("-o 'an adapter'")
