"""The journal under every kind of cut and damage."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midspan.errors import MidspanError
from midspan.files import write_atomic, write_jsonl
from midspan.journal.journal import Journal, is_locked, key_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
ENTRIES = {"a": 1, "b": {"text": "two\nlines \u2028 ü"}, "c": [0.1, None]}


def refused(path: Path, match: str) -> None:
    with pytest.raises(MidspanError, match=match) as caught:
        Journal(path)
    assert "\n" not in str(caught.value)


@settings(deadline=None)  # A disk takes its time.
@given(st.dictionaries(st.text(st.characters(codec="utf-8")), JSON, max_size=5))
def test_what_is_appended_is_read_again(tmp_path_factory, entries):
    path = tmp_path_factory.mktemp("journal") / "deep" / "journal.jsonl"
    with Journal(path) as journal:
        for key, value in entries.items():
            journal.append({key: value})
        assert len(journal) == len(entries)
    with Journal(path) as journal:
        assert {key: journal[key] for key in entries} == entries
        assert len(journal) == len(entries)
        assert "never appended" not in journal or "never appended" in entries


def test_entries_are_on_disk_before_append_returns(tmp_path, monkeypatch):
    path, synced = tmp_path / "j", []
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(path.read_bytes().count(b"\n")))
    with Journal(path) as journal:
        journal.append(ENTRIES)
        assert synced == [0, len(ENTRIES)]  # the folder, with the new name; then the entries


def test_a_file_cut_at_any_byte_keeps_every_whole_line(tmp_path):
    with Journal(tmp_path / "whole") as journal:
        journal.append(ENTRIES)
    data = (tmp_path / "whole").read_bytes()
    path = tmp_path / "cut"
    for size in range(len(data) + 1):
        path.write_bytes(data[:size])
        whole = data[:size].count(b"\n")
        with Journal(path) as journal:
            assert [key in journal for key in ENTRIES] == [place < whole for place in range(3)]
            journal.append({"after": size})
        with Journal(path) as journal:
            assert (len(journal), journal["after"]) == (whole + 1, size)


@pytest.mark.parametrize(
    "damage", [b"{", b'{"key": 1', b'{"value": 1}', b"[]", b'{"key": [], "value": 1}', b"", b"\xff"]
)
def test_a_damaged_middle_line_is_refused(tmp_path, damage):
    path = tmp_path / "j"
    lines = [b'{"key": "a", "value": 1}', damage, b'{"key": "b", "value": 2}', b""]
    path.write_bytes(b"\n".join(lines))
    refused(path, "j: line 2 is damaged; delete that line to go on")
    assert path.read_bytes() == b"\n".join(lines)
    path.write_bytes(b"\n".join([lines[0], *lines[2:]]))  # the file is free, and mended
    with Journal(path) as journal:
        assert (journal["a"], journal["b"]) == (1, 2)


KEY = b"0123456789abcdef" * 2
SOUND = b'{"key": "' + KEY + b'", "value": {"raw": "some words", "tokens": 2}}'


@pytest.mark.parametrize(
    "damage",
    [
        SOUND[:-1], SOUND[:40], SOUND[1:], SOUND[9:], SOUND[:60] + SOUND, SOUND + SOUND,
        SOUND.replace(b"some", b"\0\0\0\0"), SOUND.replace(b'"value"', b'"valu"'), b"\0" * 40,
    ],
)  # fmt: skip
def test_a_cut_joined_or_holed_line_is_refused_on_opening(tmp_path, damage):
    (tmp_path / "j").write_bytes(b"\n".join([SOUND, damage, SOUND, b""]))
    refused(tmp_path / "j", "j: line 2 is damaged")


def test_lines_that_another_tool_wrote_are_read(tmp_path):
    entries = {"a b": 1, "": {"key": "value"}, KEY.decode(): [{"key": "c", "value": 2}]}
    lines = [json.dumps({"value": v, "key": k}, indent=None) for k, v in entries.items()]
    (tmp_path / "j").write_text("\n".join([*lines, ""]))
    with Journal(tmp_path / "j") as journal:
        assert {key: journal[key] for key in journal} == entries


def test_damage_within_a_value_is_refused_when_it_is_asked_for(tmp_path):
    """Any byte of a value replaced: it is read as JSON still, or its line is named."""
    path, refusals = tmp_path / "j", 0
    for place in range(SOUND.index(b"{", 1) + 1, len(SOUND) - 2):
        damaged = SOUND[:place] + b"{" + SOUND[place + 1 :]
        path.write_bytes(b"\n".join([SOUND.replace(KEY, b"f" * 32), damaged, b""]))
        with Journal(path) as journal:
            assert (len(journal), journal["f" * 32]["tokens"]) == (2, 2)
            try:
                value = json.loads(damaged)["value"]
            except ValueError:
                refusals += 1
                with pytest.raises(MidspanError, match="j: line 2 is damaged; delete that line"):
                    journal[KEY.decode()]
            else:
                assert journal[KEY.decode()] == value
    assert refusals > 10


def test_damage_in_another_processs_journal_is_named_there(tmp_path):
    (tmp_path / "other").write_bytes(SOUND.replace(b"2}}", b"?}}") + b"\n")
    with Journal(tmp_path / "own", [tmp_path / "other"]) as journal:
        journal.append({"a": 1})
        with pytest.raises(MidspanError, match="other: line 1 is damaged"):
            journal[KEY.decode()]


def test_values_stay_unread_until_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.append({f"{n:032x}": {"raw": "x", "tokens": n} for n in range(5)})
    read = []
    monkeypatch.setattr(
        json, "loads", lambda text, loads=json.loads: read.append(text) or loads(text)
    )
    with Journal(path) as journal:
        assert (list(journal), read) == ([f"{n:032x}" for n in range(5)], [])
        assert [journal[f"{3:032x}"]["tokens"] for _ in range(2)] == [3, 3]
    assert len(read) == 2  # No value stays in memory.


def test_only_one_writer_at_a_time(tmp_path):
    path = tmp_path / "j"
    with Journal(path):
        refused(path, "another process is writing this run; wait for it or use another -o folder")
    Journal(path).close()


def test_another_process_is_refused_and_a_killed_one_frees_the_file(tmp_path):
    path = tmp_path / "j"
    code = (
        "import sys, time; from pathlib import Path; from midspan.journal.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1])); journal.append({'a': 1})\n"
        "print('open', flush=True); time.sleep(60)"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE)
    try:
        assert writer.stdout.readline() == b"open\n"
        refused(path, "another process is writing")
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    with Journal(path) as journal:
        assert journal["a"] == 1


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_a_disk_without_locks_holds_a_journal(tmp_path, monkeypatch, caplog, code):
    fcntl = pytest.importorskip("fcntl")

    def flock(file, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    with Journal(tmp_path / "j") as journal:
        journal.append({"a": 1})
        assert not is_locked(tmp_path / "j")
    assert caplog.messages == [
        f"{tmp_path / 'j'}: its disk has no locks; let one command at a time write here"
    ]
    with Journal(tmp_path / "j") as journal:
        assert journal["a"] == 1


def test_an_unwritable_path_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file" / "j", "cannot write to .*file/j")


def test_keys_depend_on_content_alone():
    assert key_of(a=1, b=[2, "ü"]) == key_of(b=[2, "ü"], a=1)
    # Pinned: another formula would forget every journal on disk.
    assert key_of(a=1, b=[2, "ü"]) == "987340c884d22298ecab5969d5ec510c"
    assert len({key_of(a=1), key_of(a=2), key_of(b=1), key_of(a="1"), key_of(a=[1])}) == 5


def test_a_writer_that_dies_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    write_atomic(path, "old")

    def die(*_):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(MidspanError, match="cannot write to .*file.json: disk full"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_rows_are_written_one_a_line(tmp_path):
    rows = [{"text": "a\nb"}, {"text": "ü"}]
    write_jsonl(tmp_path / "deep" / "rows.jsonl", rows)
    lines = (tmp_path / "deep" / "rows.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines[:-1]] == rows


class FullDisk:
    """A file that takes so many bytes more, and no other."""

    def __init__(self, file, room):
        self._file, self._room = file, room

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, data):
        if not self._room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._file.write(bytes(data[: self._room]))
        self._room -= written
        return written


@pytest.mark.parametrize("room", [0, 1, 20, 40])
def test_a_full_disk_is_named_and_leaves_the_journal_whole(tmp_path, room):
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.append({"a": 1})
        before = path.read_bytes()
        journal._file = FullDisk(journal._file, room)
        with pytest.raises(MidspanError, match="j: No space left on device; make room") as caught:
            journal.append({"b": "x" * 50})
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == before
        assert "b" not in journal
        journal._file._room = 1000
        journal.append({"b": 2})
    with Journal(path) as journal:
        assert (journal["a"], journal["b"]) == (1, 2)


def test_text_that_is_no_unicode_survives(tmp_path):
    with Journal(tmp_path / "j") as journal:
        journal.append({key_of(text="\ud800"): "half \ud83d pair"})
    with Journal(tmp_path / "j") as journal:
        assert journal[key_of(text="\ud800")] == "half \ud83d pair"


def test_other_journals_are_read_and_not_written(tmp_path):
    with Journal(tmp_path / "other") as other:
        other.append({"a": 1, "b": 2})
    before = (tmp_path / "other").read_bytes()
    with Journal(tmp_path / "own", [tmp_path / "other"]) as journal:
        journal.append({"b": 3})
        assert (journal["a"], journal["b"]) == (1, 3)
    assert (tmp_path / "other").read_bytes() == before
    with Journal(tmp_path / "own") as journal:
        assert list(journal) == ["b"]
