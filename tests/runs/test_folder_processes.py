"""A run says when it was continued by another number of processes."""

import json

import pytest

from midspan.errors import MidspanError
from midspan.runs.folder import FinishedRun, RunFolder


def open_with(monkeypatch, path, processes, batch_size=4, **fields):
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    monkeypatch.setenv("RANK", "0")
    RunFolder(path, {"batch_size": batch_size, **fields}, command="test").journal.close()


def test_another_number_of_processes_is_noted(tmp_path, monkeypatch):
    (tmp_path / "records.jsonl").touch()
    open_with(monkeypatch, tmp_path, 1)
    open_with(monkeypatch, tmp_path, 1)
    assert json.loads((tmp_path / "run.json").read_text())["processes"] == [1]
    assert "processes" not in FinishedRun.open(tmp_path).origin
    open_with(monkeypatch, tmp_path, 3)
    said = FinishedRun.open(tmp_path).origin["processes"]
    assert said == "1 and 3; in half precision the same study to rounding only"


def test_rows_of_fixed_shapes_are_invariant(tmp_path, monkeypatch):
    (tmp_path / "records.jsonl").touch()
    for processes in (1, 3):
        open_with(monkeypatch, tmp_path, processes, decoding={"shapes": "fixed"})
    said = FinishedRun.open(tmp_path).origin["processes"]
    assert said == "1 and 3; rows are invariant, shapes=fixed"


def test_another_batch_size_is_another_configuration(tmp_path, monkeypatch):
    open_with(monkeypatch, tmp_path, 1)
    (tmp_path / "journal.jsonl").write_text('{"key": "a", "value": 1}\n')
    with pytest.raises(MidspanError, match="another configuration.*batch_size"):
        open_with(monkeypatch, tmp_path, 1, batch_size=8)


def config_of(path):
    return json.loads((path / "run.json").read_text())["config"]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_folder_without_records_takes_another_configuration(tmp_path, monkeypatch, processes):
    """Such as the corrected command behind a typo in a model's name."""
    open_with(monkeypatch, tmp_path, processes)
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "run.json").write_text("{}")
    open_with(monkeypatch, tmp_path, processes, batch_size=8)
    assert config_of(tmp_path) == {"batch_size": 8}
    assert json.loads((tmp_path / "run.json").read_text())["processes"] == [processes]


@pytest.mark.parametrize(
    "name", ["journal.jsonl", "journal.1.jsonl", "records.jsonl", "adapters/a/x.safetensors"]
)
def test_a_folder_with_records_keeps_its_configuration(tmp_path, monkeypatch, name):
    open_with(monkeypatch, tmp_path, 1)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("{}\n")
    with pytest.raises(MidspanError, match="another configuration"):
        open_with(monkeypatch, tmp_path, 1, batch_size=8)
    assert config_of(tmp_path) == {"batch_size": 4}


def test_a_folder_in_use_keeps_its_configuration(tmp_path, monkeypatch):
    """A run may take long until its first record."""
    monkeypatch.setenv("WORLD_SIZE", "1")
    with (
        RunFolder(tmp_path, {"batch_size": 4}, command="test").journal,
        pytest.raises(MidspanError, match="another configuration"),
    ):
        open_with(monkeypatch, tmp_path, 1, batch_size=8)
    assert config_of(tmp_path) == {"batch_size": 4}
    open_with(monkeypatch, tmp_path, 1, batch_size=8)
    assert config_of(tmp_path) == {"batch_size": 8}
