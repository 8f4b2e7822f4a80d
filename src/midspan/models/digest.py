"""What identifies weights: a hash of every byte, remembered for files that have not changed.

A replayed answer must be this model's, so a changed weight must be noticed wherever it stands. A
whole 8B model takes half a minute of one core to hash, which the second load does not spend again.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch

from midspan.errors import MidspanError
from midspan.files import cache_folder, write_atomic
from midspan.models.checkpoint import TensorFile
from midspan.models.family import Family

_PIECE_BYTES = 64 << 20
_BUFFER_BYTES = 1 << 20
_MAX_THREADS = 8
# Smaller files are hashed each time: that takes a tenth of a second, and leaves nothing behind.
_REMEMBERED_FROM = 64 << 20
# A file system's clock may be this coarse: a change this soon might leave the times as they are.
_SETTLED_NS = 2_000_000_000


def fingerprint(
    stored: list[TensorFile], rope: Mapping[str, Any], dtype: torch.dtype, *others: str
) -> str:
    """Hash what decides a model's logits.

    Args:
        stored: Its weights.
        rope: Its rotary settings.
        dtype: What they are computed with.
        *others: The quantisation or "None", and what else is not as usual.
    """
    parts = [weights_digest(stored), repr(sorted(rope.items())), str(dtype), *others]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def unusual(settings: Mapping[str, Any], family: Family) -> list[str]:
    """What decides logits in a config, shows in no weight's shape, and is not as published.

    Args:
        settings: A config's fields, by native name.
        family: Says which fields these are, and their published values.
    """
    published = family.published_settings
    return [
        f"{name} {settings[name]!r}"
        for name in sorted(published.keys() & settings.keys())
        if settings[name] != published[name]
    ]


def weights_digest(files: Sequence[TensorFile]) -> str:
    """A hash of name, number format, shape and every byte of all tensors.

    It depends neither on where the files lie nor on how the tensors are split into files.
    """
    rows = []
    for file in files:
        digests = _remembered(file.path) or _hashed(file)
        rows += [
            (key, entry["dtype"], entry["shape"], digests[key])
            for key, entry in file.tensors.items()
        ]
    return _hash(json.dumps(sorted(rows)).encode())


class _Piece(NamedTuple):
    """A part of a tensor's bytes, by its place in the file."""

    key: str
    start: int
    size: int


def _hashed(file: TensorFile) -> dict[str, str]:
    """A hash of each tensor's bytes, by key; noted where the file is large."""
    before, now = _state(file.path), time.time_ns()
    places = {key: entry["data_offsets"] for key, entry in file.tensors.items()}
    pieces = [
        _Piece(key, file.data_start + offset, min(_PIECE_BYTES, end - offset))
        for key, (start, end) in places.items()
        for offset in range(start, end, _PIECE_BYTES)
    ]
    # hashlib hashes outside Python's lock.
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
        hashes = list(pool.map(lambda piece: _hash_piece(file.path, piece), pieces))
    parts: dict[str, list[str]] = {key: [] for key in file.tensors}
    for piece, part in zip(pieces, hashes, strict=True):
        parts[piece.key].append(part)
    digests = {key: _hash("".join(part).encode()) for key, part in parts.items()}
    settled = now - max(before.modified, before.changed) > _SETTLED_NS
    if before.size >= _REMEMBERED_FROM and settled and _state(file.path) == before:
        _remember(file.path, before, digests)
    return digests


def _hash_piece(path: Path, piece: _Piece) -> str:
    digest, buffer = hashlib.blake2b(digest_size=32), memoryview(bytearray(_BUFFER_BYTES))
    left = piece.size
    with path.open("rb", buffering=0) as file:
        file.seek(piece.start)
        while left and (count := file.readinto(buffer[:left])):
            digest.update(buffer[:count])
            left -= count
    return digest.hexdigest()


def _hash(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=32).hexdigest()


class _State(NamedTuple):
    """What a file system changes with a file's content; nobody can set `changed` (ctime) back."""

    size: int
    modified: int
    changed: int
    inode: int
    device: int


def _state(path: Path) -> _State:
    stat = path.stat()
    return _State(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)


def _note(path: Path) -> Path:
    return cache_folder() / "weights" / f"{_hash(str(path.resolve()).encode())[:32]}.json"


def _remembered(path: Path) -> dict[str, str] | None:
    """The hashes noted for this file, if it is as it was then."""
    try:
        note = json.loads(_note(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return note.get("tensors") if note.get("state") == list(_state(path)) else None


def _remember(path: Path, state: _State, digests: dict[str, str]) -> None:
    try:
        write_atomic(_note(path), json.dumps({"state": state, "tensors": digests}))
    except MidspanError:
        # A home that cannot be written to costs time at the next load, nothing else.
        return
