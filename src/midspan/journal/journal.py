"""One append-only JSONL file that is resume, retry and cache in one.

The journal knows keys and JSON values; what a key hashes is the caller's business. A line is
written before its value is used, so whatever was paid for survives ``kill -9``.
"""

import errno
import hashlib
import json
import logging
import os
import re
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import IO, Any, TypeVar

from midspan.errors import MidspanError
from midspan.files import PRIVATE_FILE, disk, make_private, refusal, sync_folder

_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode
Built = TypeVar("Built")

_KEY = b'{"key": "'
# How `write` begins a line, and how one ends whose value begins so.
_begin = re.compile(rb'\{"key": "([0-9A-Za-z]+)", "value": ([{["])').match
_ENDS = {b"{": b"}}\n", b"[": b"]}\n", b'"': b'"}\n'}
# A place is one small number: which file, and the line's first byte in it.
_OFFSET_BITS = 44
# Bytes that are read and looked through at once.
_BLOCK = 1 << 22
# Entries that are taken from another journal in one piece.
_PIECE = 10_000
# What disks without locks say, such as Lustre mounted without flock, or NFS without lockd.
_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK})
# Between two tries of a lock.
_POLL_SECONDS = 5.0
_patience: ContextVar[float] = ContextVar("seconds that a lock is waited for", default=0.0)
_log = logging.getLogger("midspan")


def key_of(**parts: Any) -> str:
    """A stable hash of JSON-serialisable parts; equal parts give equal keys on every machine."""
    text = _encode(parts)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


class Journal:
    """Key to value, on disk.

    Of what was on disk when the journal was opened, memory holds keys and places alone: 4 million
    lines of any size take half a GB. What this process writes stays in memory too.

    A torn last line (power cut, ``kill -9``) is cut off when the file is opened; a broken line
    anywhere else is damage and is refused: when the file is opened where the line is cut, joined
    with another, holed or has no key, else when its value, which is not read before, is asked for.
    One process writes at a time (advisory lock).

    Args:
        path: The file.
        also: Journals of other processes, read once and never written.
    """

    def __init__(self, path: Path, also: Iterable[Path] = ()) -> None:
        self._path, self._also = path, tuple(also)
        self._is_synced = True
        with disk("cannot write to", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(PRIVATE_FILE)
            make_private(path)
            self._file = path.open("a+b", buffering=0)
            sync_folder(path.parent)
        self._written: dict[str, Any] = {}
        self._places: dict[str, int] = {}
        self._readers: list[IO[bytes]] = []
        self._reading = Lock()
        weakref.finalize(self, _close_all, self._readers)
        try:
            lock(self._file, path)
            for other in self._also:
                self._take_places(other)
            self._end = self._take_places(path)
            self._file.truncate(self._end)
            self._file.seek(self._end)
        except MidspanError:
            self._file.close()
            raise

    def __contains__(self, key: str) -> bool:
        return key in self._written or key in self._places

    def __getitem__(self, key: str) -> Any:
        if key in self._written:
            return self._written[key]
        place = self._places[key]
        file = self._readers[place >> _OFFSET_BITS]
        with self._reading:
            file.seek(place & ((1 << _OFFSET_BITS) - 1))
            line = file.readline()
        try:
            return json.loads(line.decode(errors="surrogatepass"))["value"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._damaged(key) from error

    def read(self, key: str, build: Callable[[Any], Built]) -> Built:
        """What `build` makes of a value.

        Raises:
            MidspanError: The value is not of the kind that it takes.
        """
        value = self[key]
        try:
            return build(value)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise self._damaged(key) from error

    def __iter__(self) -> Iterator[str]:
        yield from self._places
        yield from (key for key in self._written if key not in self._places)

    def __len__(self) -> int:
        return len(self._places) + sum(key not in self._places for key in self._written)

    def append(self, entries: Mapping[str, Any]) -> None:
        """Write entries and return once they are on disk."""
        self.write(entries)
        self.sync()

    def write(self, entries: Mapping[str, Any]) -> None:
        """Write entries in one piece; they outlive the process, and after `sync` a power cut.

        Raises:
            MidspanError: The disk does not take them; the file is as it was before.
        """
        lines = (json.dumps({"key": k, "value": v}, ensure_ascii=False) for k, v in entries.items())
        data = memoryview("".join(f"{line}\n" for line in lines).encode(errors="surrogatepass"))
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            self._file.truncate(self._end)
            raise self._unwritable(error) from error
        self._end = self._file.tell()
        self._is_synced = not entries and self._is_synced
        self._written.update(entries)

    def absorb(self, path: Path) -> None:
        """Append what another process's finished journal holds and this one does not."""
        with Journal(path) as other:
            missing = (key for key in list(other) if key not in self)
            while piece := list(islice(missing, _PIECE)):
                self.write({key: other[key] for key in piece})
        self.sync()

    def sync(self) -> None:
        """Return once everything written is on disk.

        Raises:
            MidspanError: It cannot be brought there.
        """
        if self._is_synced:
            return
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._unwritable(error) from error
        self._is_synced = True

    def _unwritable(self, error: OSError) -> MidspanError:
        return MidspanError(refusal("cannot write to", self._path, error))

    def _damaged(self, key: str) -> MidspanError:
        positions = [
            (path, number)
            for path in (*self._also, self._path)
            for number, (other, _) in enumerate(_lines(path), start=1)
            if other == key
        ]
        return _damage(*positions[-1])

    def close(self) -> None:
        """Release the file and its lock."""
        self._file.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _take_places(self, path: Path) -> int:
        """Note where the lines of a file begin; the size of its whole lines."""
        with disk("cannot read", path):
            self._readers.append(path.open("rb"))
        place = first = len(self._readers) - 1 << _OFFSET_BITS
        places = self._places
        for key, size in _lines(path):
            places[key] = place
            place += size
        return place - first


def _close_all(files: list[IO[bytes]]) -> None:
    for file in files:
        file.close()


def _lines(path: Path) -> Iterator[tuple[str, int]]:
    """Key and size in bytes of every whole line; a torn last line ends the file.

    Raises:
        MidspanError: A line is damaged; a value that looks sound is not read.
    """
    number = 0
    with disk("cannot read", path), path.open("rb") as file:
        while lines := file.readlines(_BLOCK):
            is_plain = _is_plain(lines)
            for line in lines:
                number += 1
                begun = _begin(line)
                if begun and line.endswith(_ENDS[begun[2]]) and (is_plain or _is_plain([line])):
                    yield begun[1].decode(), len(line)
                elif line.endswith(b"\n"):
                    yield _read(line, path, number), len(line)


def _is_plain(lines: list[bytes]) -> bool:
    """Whether none of the lines is two in one, or has what a power cut leaves of unwritten blocks.

    Asked of thousands at once, since for each line it takes half the time of opening a journal.
    """
    block = b"".join(lines)
    return block.count(_KEY) == len(lines) and b"\0" not in block


def _read(line: bytes, path: Path, number: int) -> str:
    """The key of a line that is read whole.

    Raises:
        MidspanError: The line is damaged.
    """
    try:
        entry = json.loads(line)
        hash(entry["key"])
        entry["value"]
        return entry["key"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damage(path, number) from error


def _damage(path: Path, number: int) -> MidspanError:
    return MidspanError(f"{path}: line {number} is damaged; delete that line to go on")


def is_locked(path: Path) -> bool:
    """Whether a process is writing a journal; False where the system or disk has no such locks."""
    with disk("cannot read", path), path.open("rb") as file:
        return not _try_lock(file, path, is_shared=True)


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Within the context, a lock of another process is waited for, so long at most.

    A disk keeps the lock of a machine that died until it has noticed, which takes NFS minutes.
    """
    before = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(before)


def lock(file: IO[bytes], path: Path) -> None:
    """Let no other process lock this file until it is closed, where the system and disk can.

    Args:
        file: Open for writing.
        path: What it stands for, in the message.

    Raises:
        MidspanError: Another process has locked it, for longer than `patience` has.
    """
    seconds = _patience.get()
    until = time.monotonic() + seconds
    while not _try_lock(file, path, is_shared=False):
        if time.monotonic() >= until:
            raise MidspanError(
                f"{path}: another process is writing this run; wait for it or use another -o folder"
            )
        time.sleep(min(_POLL_SECONDS, seconds))


def _try_lock(file: IO[bytes], path: Path, is_shared: bool) -> bool:
    """Lock a file; whether nobody else has. A single process needs no lock where there are none."""
    try:
        import fcntl
    except ImportError:  # Windows has no fcntl.
        return True
    kind = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        if not is_shared:
            _log.warning("%s: its disk has no locks; let one command at a time write here", path)
    return True
