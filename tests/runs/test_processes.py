"""Parts of a run in processes of their own, which are spawned here as they are for users."""

import time
from pathlib import Path

import pytest

from midspan.errors import MidspanError
from midspan.runs.processes import Part, run_together, threads_asked
from midspan.yaml_file import read_fields


def test_a_part_that_fails_says_why_and_stops_the_others(capfd):
    parts = {"sleeps": Part(time.sleep, (600,)), "fails": Part(read_fields, ("[", "a.yaml"))}
    began = time.monotonic()
    with pytest.raises(MidspanError, match="^fails did not finish .* same command continues it"):
        run_together(parts, jobs=2)
    assert time.monotonic() - began < 500
    assert "fails: midspan: a.yaml is not YAML" in capfd.readouterr().err


def write_threads(file):
    import torch

    Path(file).write_text(str(torch.get_num_threads()))


@pytest.mark.parametrize(("asked", "given", "threads"), [("3", 1, "3"), ("", 1, "1")])
def test_the_users_number_of_threads_wins(tmp_path, monkeypatch, asked, given, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    run_together({"one": Part(write_threads, (tmp_path / "n",))}, 1, given)
    assert (tmp_path / "n").read_text() == threads


@pytest.mark.parametrize(("asked", "threads"), [("", None), ("4", 4), ("0", 1), ("4,2", None)])
def test_threads_are_asked_for_by_a_whole_number(monkeypatch, asked, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert threads_asked() == threads
