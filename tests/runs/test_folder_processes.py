"""A run says when it was continued by another number of processes."""

import json

import pytest

from midspan.errors import MidspanError
from midspan.runs.folder import FinishedRun, RunFolder


def open_with(monkeypatch, path, processes, batch_size=4):
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    monkeypatch.setenv("RANK", "0")
    RunFolder(path, {"batch_size": batch_size}, command="test").journal.close()


def test_another_number_of_processes_is_noted(tmp_path, monkeypatch):
    (tmp_path / "records.jsonl").touch()
    open_with(monkeypatch, tmp_path, 1)
    open_with(monkeypatch, tmp_path, 1)
    assert json.loads((tmp_path / "run.json").read_text())["processes"] == [1]
    assert "processes" not in FinishedRun.open(tmp_path).origin
    open_with(monkeypatch, tmp_path, 3)
    said = FinishedRun.open(tmp_path).origin["processes"]
    assert said == "1 and 3; in half precision the same study to rounding only"


def test_another_batch_size_is_another_configuration(tmp_path, monkeypatch):
    open_with(monkeypatch, tmp_path, 1)
    with pytest.raises(MidspanError, match="another configuration.*batch_size"):
        open_with(monkeypatch, tmp_path, 1, batch_size=8)
