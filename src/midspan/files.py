"""Files that are whole or absent and outlive a power cut, and one line for what a disk refuses."""

import errno
import json
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

from midspan.errors import MidspanError

# A line of a JSONL file, as it is written or was read back.
Record: TypeAlias = Mapping[str, Any]

# What a run leaves behind is its owner's alone: it holds what models wrote, unredacted.
PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
# What is made to be passed on: the user's umask decides.
PUBLISHED_FILE = 0o666

_NO_ROOM = "make room (disk full): nothing that was written is lost, and the same command continues"
_NO_RIGHT = "give a path that you may use, or change its permissions"
_REMEDIES = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: f"raise the limit (ulimit -f), or {_NO_ROOM}",
    errno.EIO: "the disk fails; copy what it holds, and go on from there",
    errno.EACCES: _NO_RIGHT,
    errno.EPERM: _NO_RIGHT,
    errno.EROFS: "give a path on another disk",
    errno.EISDIR: "give a file",
    errno.ENOTDIR: "a part of the path is a file; give another path",
    errno.EEXIST: "a file is where a folder is wanted; give another path",
    errno.ENOENT: "check the path",
    errno.ENAMETOOLONG: "give a shorter path",
    errno.ELOOP: "its links lead in a circle; give another path",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


@contextmanager
def disk(what: str, path: object) -> Iterator[None]:
    """Within the context, what the disk refuses becomes a `MidspanError`.

    Args:
        what: What is tried, such as "cannot write".
        path: What it is tried on.
    """
    try:
        yield
    except OSError as error:
        raise MidspanError(refusal(what, path, error)) from error


def refusal(what: str, path: object, error: OSError) -> str:
    """One line for what a disk refused: what was tried on which path, the reason and the remedy."""
    reason = " ".join((error.strerror or str(error)).split())
    remedy = _REMEDIES.get(error.errno or 0, "")
    return f"{what} {path}: {reason}" + (f"; {remedy}" if remedy else "")


def is_refused_by_disk(error: OSError) -> bool:
    """Whether an error is one of those that disks and permissions cause, not one of a program."""
    return error.errno in _REMEDIES


def name_beside(path: Path) -> Path:
    """A name in the same folder for what is to take the path's, another one each time.

    A process number is no such name: those of two containers may be equal, and the disk one.
    """
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def write_atomic(path: Path, text: str, mode: int = PRIVATE_FILE, *, durable: bool = True) -> None:
    """Replace a file in one step: a reader sees the old text or the new one, never a part.

    Args:
        path: The file; folders that are missing are made.
        text: What it is to hold.
        mode: Permissions of the file, before the umask.
        durable: Whether a power cut must leave one of the two texts as well; False for what can be
            made anew.

    Raises:
        MidspanError: The disk does not take it; the old file stands.
    """
    temporary = name_beside(path)
    with disk("cannot write to", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            # A path may hold what UTF-8 does not; it is no reason to lose a study.
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
                file.flush()
                if durable:
                    os.fsync(descriptor)
            temporary.replace(path)
            if durable:
                sync_folder(path.parent)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def write_jsonl(path: Path, rows: Iterable[Record], mode: int = PRIVATE_FILE) -> None:
    """Write rows as JSON lines, atomically."""
    write_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), mode)


def make_private(path: Path) -> None:
    """Take a file or folder of an earlier run from everyone but its owner.

    What belongs to somebody else stays as it is.
    """
    mode = path.stat().st_mode
    if mode & 0o077:
        with suppress(PermissionError):
            path.chmod(mode & 0o700)


def user_path(spec: str | Path) -> Path:
    """A path in which ~ is the user's home; the home of an unknown user is a name like others."""
    try:
        return Path(spec).expanduser()
    except RuntimeError:
        return Path(spec)


def cache_folder() -> Path:
    """Where midspan keeps what it can make or fetch again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "midspan"


def is_file(path: Path) -> bool:
    """Whether there is such a file.

    Raises:
        MidspanError: The disk does not say, such as of a name that is too long.
    """
    with disk("cannot read", path):
        return path.is_file()


def sync_folder(folder: Path) -> None:
    """Return once the folder's names are on disk: a file without its name is lost in a power cut.

    File systems that cannot do this (some network ones), and Windows, are left alone.
    """
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Return once a file that another library wrote is on disk, name and all."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    sync_folder(path.parent)


def publish(path: Path) -> None:
    """Return once a file that another library wrote is on disk, readable as the umask decides.

    safetensors makes files private. The umask is that of a file made beside it: a process cannot
    ask for its own without changing it.
    """
    beside = name_beside(path)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PUBLISHED_FILE)
    try:
        path.chmod(stat.S_IMODE(os.fstat(descriptor).st_mode))
    finally:
        os.close(descriptor)
        beside.unlink()
    sync_file(path)


def read_text(path: Path) -> str:
    """The text of a UTF-8 file.

    Raises:
        MidspanError: It is missing, cannot be read, or is no UTF-8.
    """
    try:
        with disk("cannot read", path):
            return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise MidspanError(f"{path} is not UTF-8 text: it is damaged, or another file") from error


def read_json(path: Path) -> Any:
    """The value of a JSON file.

    Raises:
        MidspanError: It is missing, cut, damaged, or nested too deeply.
    """
    return parse_json(read_text(path), path)


def read_object(path: Path, remedy: str) -> dict[str, Any]:
    """The object of a JSON file.

    Args:
        path: The file.
        remedy: What to do where it is damaged.

    Raises:
        MidspanError: It is missing, damaged, or holds something else.
    """
    with advised(remedy):
        value = read_json(path)
        if not isinstance(value, dict):
            raise MidspanError(f"{path} holds no JSON object: it is damaged, or another file")
        return value


@contextmanager
def advised(remedy: str) -> Iterator[None]:
    """Within the context, a `MidspanError` ends in a remedy."""
    try:
        yield
    except MidspanError as error:
        raise MidspanError(f"{error}; {remedy}") from error


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines; only line feeds end a line.

    Raises:
        MidspanError: It is missing, or a line is no JSON object.
    """
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        row = parse_json(line, f"{path} line {number}")
        if not isinstance(row, dict):
            raise MidspanError(f"{path} line {number} is no JSON object: the file is damaged")
        rows.append(row)
    return rows


def parse_json(text: str, place: object) -> Any:
    """A JSON value.

    Raises:
        MidspanError: It is none, or is nested too deeply.
    """
    if not text.strip():
        raise MidspanError(f"{place} is empty: it was cut off while it was written, or damaged")
    try:
        return json.loads(text)
    except ValueError as error:
        raise MidspanError(f"{place} is not valid JSON: {error}") from error
    except RecursionError as error:
        raise MidspanError(f"{place} is nested too deeply to be read") from error
