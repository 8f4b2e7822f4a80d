"""What reaches the disk and when, who may read it, and what a disk that refuses is answered."""

import errno
import json
import os
import resource
import stat
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from midspan import cli
from midspan.errors import MidspanError
from midspan.files import (
    PUBLISHED_FILE,
    name_beside,
    read_json,
    read_jsonl,
    read_text,
    write_atomic,
    write_jsonl,
)
from midspan.journal.journal import Journal
from midspan.models.border import write_tensors
from midspan.report import Report, Section, Table, write_report
from midspan.runs.folder import FinishedRun, RunFolder

ROWS = [{"model": "m", "text": "one \u2028 line \x85 of text"}]


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def one_line(caught, *words):
    text = str(caught.value)
    assert "\n" not in text and all(word in text for word in words), text


@pytest.fixture
def open_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


@contextmanager
def files_up_to(size):
    """A limit that the operating system itself keeps, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_is_on_disk_before_it_has_its_name_and_the_name_after(tmp_path, monkeypatch):
    path, told = tmp_path / "file", []
    fsync, replace = os.fsync, Path.replace

    def note_sync(descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        told.append("folder" if is_folder else os.fstat(descriptor).st_size)
        fsync(descriptor)

    def note_replace(self, target):
        told.append("named")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_replace)
    write_atomic(path, "seven..")
    assert told == [7, "named", "folder"]
    told.clear()
    write_atomic(path, "a page", durable=False)
    assert told == ["named"]


def test_processes_of_one_number_do_not_share_a_file_that_is_being_written(tmp_path, monkeypatch):
    """As in containers on a shared disk: the second writes while the first is at it."""
    path, replace, seen = tmp_path / "run.json", Path.replace, []

    def interrupted(self, target):
        monkeypatch.setattr(Path, "replace", replace)
        write_atomic(path, "second")
        seen.append(self.read_text())
        return replace(self, target)

    monkeypatch.setattr(os, "getpid", lambda: 7)
    monkeypatch.setattr(Path, "replace", interrupted)
    write_atomic(path, "first, and longer")
    assert seen == ["first, and longer"] == [path.read_text()]
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]
    assert len({name_beside(path) for _ in range(100)}) == 100


def test_what_a_run_leaves_is_its_owners_alone(tmp_path, open_umask):
    run = RunFolder(tmp_path / "runs" / "a", {})
    with run.journal:
        write_jsonl(run.path / "traces" / "rows.jsonl", ROWS)
    table = Table("T", ("a",), (("1",),))
    write_report(Report("T", "S", sections=(Section("A", "", (table,)),)), run.path)
    assert mode(run.path) == 0o700 and mode(run.path.parent) == 0o755
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert len(files) >= 7
    assert {mode(path) for path in files} == {0o600}


def test_an_old_folder_is_closed_when_it_is_continued(tmp_path, open_umask):
    old = tmp_path / "old"
    old.mkdir(0o755)
    for name in ("run.json", "journal.jsonl", "records.jsonl"):
        (old / name).write_text(json.dumps({"config": {}}) if name == "run.json" else "")
        assert mode(old / name) == 0o644
    run = RunFolder(old, {}, "again")
    with run.journal:
        write_jsonl(run.path / "records.jsonl", ROWS)
    assert mode(old) == 0o700
    assert {mode(path) for path in old.iterdir()} == {0o600}


def test_a_folder_of_other_things_stays_open_but_not_the_runs_files(tmp_path, open_umask):
    (tmp_path / "shared").mkdir(0o755)
    (tmp_path / "shared" / "notes.txt").write_text("for all")
    with RunFolder(tmp_path / "shared", {}).journal:
        pass
    assert mode(tmp_path / "shared") == 0o755
    assert mode(tmp_path / "shared" / "notes.txt") == 0o644
    assert mode(tmp_path / "shared" / "journal.jsonl") == 0o600


def test_what_is_published_follows_the_umask(tmp_path, open_umask):
    write_atomic(tmp_path / "README.md", "card", PUBLISHED_FILE)
    write_tensors({"weight": torch.zeros(2)}, tmp_path / "adapter_model.safetensors")
    assert {path.name: mode(path) for path in tmp_path.iterdir()} == {
        "README.md": 0o644,
        "adapter_model.safetensors": 0o644,
    }
    os.umask(0o077)
    write_tensors({"weight": torch.zeros(2)}, tmp_path / "adapter_model.safetensors")
    assert mode(tmp_path / "adapter_model.safetensors") == 0o600


@pytest.mark.parametrize("full", ["limit", "fsync"])
def test_a_full_disk_leaves_the_old_file_and_says_what_to_do(tmp_path, monkeypatch, full):
    path = tmp_path / "records.jsonl"
    write_jsonl(path, ROWS)
    before = path.read_bytes()
    if full == "fsync":

        def refuse(_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", refuse)
    with files_up_to(4096), pytest.raises(MidspanError) as caught:
        write_jsonl(path, ROWS * 1000)
    one_line(caught, str(path), "make room", "nothing that was written is lost", "continues")
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    write_jsonl(path, ROWS * 1000)
    assert len(read_jsonl(path)) == 1000


def test_a_full_disk_leaves_the_journal_whole(tmp_path):
    with Journal(tmp_path / "j") as journal:
        journal.append({"a": 1})
        with files_up_to(64), pytest.raises(MidspanError) as caught:
            journal.append({"b": "x" * 100})
        one_line(caught, "make room", "continues")
        journal.append({"b": 2})
    with Journal(tmp_path / "j") as journal:
        assert {key: journal[key] for key in journal} == {"a": 1, "b": 2}


def test_paths_that_cannot_be_written_are_named_with_a_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    cases = {
        tmp_path / "file" / "run": "give another path",
        tmp_path / ("x" * 300): "give a shorter path",
        tmp_path / "circle" / "run": "circle",
    }
    for path, remedy in cases.items():
        for write in (lambda p: write_atomic(p, ""), lambda p: RunFolder(p, {}), Journal):
            with pytest.raises(MidspanError) as caught:
                write(path)
            one_line(caught, str(path), remedy)
    for write in (lambda p: write_atomic(p, ""), Journal):
        with pytest.raises(MidspanError, match="give a file"):
            write(tmp_path / "folder")
    with pytest.raises(MidspanError, match="a file is where a folder is wanted"):
        RunFolder(tmp_path / "file", {})


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_what_the_disk_forbids_is_said_with_a_remedy(tmp_path, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(MidspanError) as caught:
        write_atomic(tmp_path / "file", "")
    one_line(caught, str(tmp_path / "file"), os.strerror(number), "; ")


DAMAGE = {
    "empty": b"",
    "cut": b'{"config": {"a"',
    "nested": b"[" * 100_000,
    "digits": b"9" * 5000,
    "latin-1": "caf\u00e9".encode("latin-1"),
    "nothing": b"null",
    "list": b"[]",
    "wrong types": b'{"config": [], "versions": 3}',
    "wrong numbers": b'{"config": {}, "processes": ["a"]}',
    "no config": b'{"command": "x"}',
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_json_is_refused_by_all_that_read_it(tmp_path, damage):
    (tmp_path / "run.json").write_bytes(DAMAGE[damage])
    (tmp_path / "records.jsonl").write_text("")
    for read in (FinishedRun.open, lambda path: RunFolder(path, {})):
        with pytest.raises(MidspanError) as caught:
            read(tmp_path)
        one_line(caught, "run.json", "delete it, and the command that began the run goes on")


def test_a_run_goes_on_without_its_damaged_run_json(tmp_path):
    with RunFolder(tmp_path, {"a": 1}).journal as journal:
        journal.append({"k": "paid for"})
    (tmp_path / "run.json").write_text("")
    with pytest.raises(MidspanError, match="is empty: it was cut off"):
        RunFolder(tmp_path, {"a": 1})
    (tmp_path / "run.json").unlink()
    with RunFolder(tmp_path, {"a": 1}).journal as journal:
        assert journal["k"] == "paid for"


def finished(path, records):
    with RunFolder(path, {"probe": "prefill", "models": ["m"]}, "midspan probe", "probe").journal:
        pass
    (path / "records.jsonl").write_bytes(records)
    return path


@pytest.mark.parametrize("command", ["report", "compare"])
@pytest.mark.parametrize(
    "records",
    [
        b"{",
        b"[1]\n",
        b"null\n",
        b"\xff\n",
        b"[" * 9999,
        b'{"a": 1}\n',
        b'{"success": "no"}\n',
        None,
    ],
)
def test_damaged_records_end_a_command_in_one_line(tmp_path, monkeypatch, capsys, command, records):
    run = finished(tmp_path / "run", records or b"")
    if records is None:
        (run / "records.jsonl").unlink()
        (run / "records.jsonl").mkdir()
    arguments = [str(run)] * (2 if command == "compare" else 1)
    monkeypatch.setattr(sys, "argv", ["midspan", command, *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    _, said = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and said.startswith("midspan: ") and str(run) in said


def test_separators_within_texts_end_no_record(tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", ROWS)
    assert read_jsonl(tmp_path / "rows.jsonl") == ROWS
    run = FinishedRun.open(finished(tmp_path / "run", (tmp_path / "rows.jsonl").read_bytes()))
    assert run.rows("records.jsonl") == ROWS


def test_a_path_that_is_no_unicode_loses_no_study(tmp_path):
    write_atomic(tmp_path / "report.md", "Command: midspan \udce9")
    assert read_text(tmp_path / "report.md") == "Command: midspan ?"


def test_reading_names_what_is_wrong(tmp_path):
    (tmp_path / "deep").write_text('{"a":' * 100_000)
    (tmp_path / "latin").write_bytes(b"\xff")
    cases = {"deep": "nested too deeply", "latin": "not UTF-8", ".": "folder|directory", "no": "No"}
    for name, match in cases.items():
        with pytest.raises(MidspanError, match=match) as caught:
            read_json(tmp_path / name)
        one_line(caught)


def test_the_command_line_says_what_a_disk_refuses(monkeypatch, capsys):
    def full():
        raise OSError(errno.ENOSPC, "No space left on device", "metrics.jsonl")

    monkeypatch.setattr("midspan.commands.app_for", lambda _: full)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "metrics.jsonl" in said and "make room" in said

    def broken():
        raise ConnectionError("no disk's fault")

    monkeypatch.setattr("midspan.commands.app_for", lambda _: broken)
    with pytest.raises(ConnectionError):
        cli.main()
