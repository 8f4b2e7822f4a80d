"""One append-only JSONL file that is resume, retry and cache in one.

The journal knows keys and JSON values; what a key hashes is the caller's business. A line is
written before its value is used, so whatever was paid for survives ``kill -9``.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

from midspan.errors import MidspanError
from midspan.files import PRIVATE_FILE, disk, make_private, refusal, sync_folder

_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode
Built = TypeVar("Built")

_KEY, _VALUE, _END = b'{"key": "', b'", "value": ', b"}\n"


def key_of(**parts: Any) -> str:
    """A stable hash of JSON-serialisable parts; equal parts give equal keys on every machine."""
    text = _encode(parts)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


class Journal:
    """Key to value, on disk.

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
        try:
            _lock(self._file, path)
            values, self._end = self._read()
            others = {key: value for other in self._also for key, value, _ in read_entries(other)}
            self._values = others | values
        except MidspanError:
            self._file.close()
            raise

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        if isinstance(value, bytes):
            try:
                value = self._values[key] = json.loads(value.decode(errors="surrogatepass"))
            except (ValueError, RecursionError) as error:
                raise self._damaged(key) from error
        return value

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
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

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
        self._values.update(entries)

    def absorb(self, path: Path) -> None:
        """Append what another process's finished journal holds and this one does not."""
        with Journal(path) as other:
            new = {key: other[key] for key in other if key not in self}
        if new:
            self.append(new)

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
            for number, (other, _, _) in enumerate(read_entries(path), start=1)
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

    def _read(self) -> tuple[dict[str, Any], int]:
        """What the file holds, and the size of its whole lines; the rest is cut off."""
        values: dict[str, Any] = {}
        end = 0
        for key, value, size in read_entries(self._path):
            values[key] = value
            end += size
        self._file.truncate(end)
        return values, self._file.seek(end)


def read_entries(path: Path) -> Iterator[tuple[str, Any, int]]:
    """Key, value and size in bytes of every whole line; a torn last line ends the file.

    A value is left as bytes of JSON wherever its line looks sound.

    Raises:
        MidspanError: A line is damaged.
    """
    with disk("cannot read", path), path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                key, value = _unread(line) or _read(line)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise _damage(path, number) from error
            yield key, value, len(line)


def _unread(line: bytes) -> tuple[str, bytes] | None:
    """Key and value of a line as `write` puts it; None where only reading it all makes sure."""
    key, _, value = line[len(_KEY) : -len(_END)].partition(_VALUE)
    is_sound = (
        line.startswith(_KEY)
        and line.endswith(_END)
        and key.isalnum()
        and value[:1] + value[-1:] in (b"{}", b"[]", b'""')
        and _KEY not in value  # Two lines in one.
        and b"\0" not in value  # What a power cut leaves of blocks that were never written.
    )
    return (key.decode(), value) if is_sound else None


def _read(line: bytes) -> tuple[str, Any]:
    entry = json.loads(line)
    hash(entry["key"])
    return entry["key"], entry["value"]


def _damage(path: Path, number: int) -> MidspanError:
    return MidspanError(f"{path}: line {number} is damaged; delete that line to go on")


def is_locked(path: Path) -> bool:
    """Whether a process is writing a journal; False where the system has no such locks."""
    try:
        import fcntl
    except ImportError:
        return False
    with disk("cannot read", path), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _lock(file: IO[bytes], path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows has no fcntl; a single process needs no lock.
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise MidspanError(
            f"{path}: another process is writing this run; wait for it or use another -o folder"
        ) from error
