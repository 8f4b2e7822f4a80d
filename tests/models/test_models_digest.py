"""The digest of weights: changes in place are noticed, copies are the same, the second is quick."""

import json
import os
import random
import shutil
import time
from pathlib import Path

import pytest
import torch
from models_reference import DREAM, write_checkpoint
from safetensors.torch import load_file, save_file

from midspan.models import digest, load
from midspan.models.checkpoint import read_header, read_weights
from midspan.models.digest import weights_digest


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """One tensor of 4,096 rows, as wide as a model's, and a small one."""
    file = tmp_path / "model.safetensors"
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(4096, 512, generator=generator)
    save_file({"wide": wide, "small": torch.ones(3)}, file)
    return file


@pytest.fixture
def remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A cache of this test's own that notes files of any size at once; what was hashed."""
    hashed, hash_piece = [], digest._hash_piece
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digest, "_REMEMBERED_FROM", 0)
    monkeypatch.setattr(digest, "_SETTLED_NS", -(10**12))

    def count(path: Path, piece):
        hashed.append(piece.key)
        return hash_piece(path, piece)

    monkeypatch.setattr(digest, "_hash_piece", count)
    return hashed


def of(file: Path) -> str:
    return weights_digest([read_header(file)])


def zero_rows(file: Path, first: int, count: int) -> None:
    """In place, as a memory map or an editor of weights does it."""
    header = read_header(file)
    start, end = header.tensors["wide"]["data_offsets"]
    row = (end - start) // 4096
    with file.open("r+b") as stream:
        stream.seek(header.data_start + start + first * row)
        stream.write(bytes(count * row))


def test_eleven_rows_of_4096_are_noticed(weights: Path) -> None:
    before = of(weights)
    zero_rows(weights, 100, 11)
    assert of(weights) != before


def test_any_single_bit_is_noticed(weights: Path) -> None:
    header = read_header(weights)
    size, before = weights.stat().st_size, of(weights)
    places = [header.data_start, size - 1]
    places += random.Random(0).sample(range(header.data_start, size), 10)
    for place in places:
        with weights.open("r+b") as stream:
            stream.seek(place)
            (byte,) = stream.read(1)
            stream.seek(place)
            stream.write(bytes([byte ^ 1]))
            stream.flush()
            assert of(weights) != before
            stream.seek(place)
            stream.write(bytes([byte]))
    assert of(weights) == before


def test_pieces_of_tensors_are_all_hashed(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "_PIECE_BYTES", 1_000_003)
    monkeypatch.setattr(digest, "_BUFFER_BYTES", 300_001)
    test_any_single_bit_is_noticed(weights)


def test_a_copy_elsewhere_and_other_shards_are_the_same_weights(weights: Path) -> None:
    copy = weights.parent / "elsewhere" / "model.safetensors"
    copy.parent.mkdir()
    shutil.copy(weights, copy)
    os.utime(copy, (1, 1))
    assert of(copy) == of(weights)
    tensors, shards = load_file(weights), []
    for key, tensor in tensors.items():
        save_file({key: tensor}, copy.parent / f"{key}.safetensors")
        shards.append(read_header(copy.parent / f"{key}.safetensors"))
    assert weights_digest(shards) == weights_digest(shards[::-1]) == of(weights)


def test_names_formats_and_shapes_count(weights: Path) -> None:
    tensors = load_file(weights)
    variants = [
        {"wide": tensors["wide"], "other": tensors["small"]},
        {"wide": tensors["wide"].view(512, 4096), "small": tensors["small"]},
        {"wide": tensors["wide"].view(torch.int32), "small": tensors["small"]},
        {"wide": tensors["wide"]},
    ]
    found = {of(weights)}
    for variant in variants:
        save_file(variant, weights)
        found.add(of(weights))
    assert len(found) == 1 + len(variants)


def test_the_second_time_nothing_is_hashed(weights: Path, remembered: list[str]) -> None:
    first = of(weights)
    assert sorted(remembered) == ["small", "wide"]
    assert of(weights) == first and len(remembered) == 2


@pytest.mark.parametrize("times_restored", [False, True])
def test_what_is_remembered_of_a_changed_file_is_not_used(
    weights: Path, remembered: list[str], times_restored: bool
) -> None:
    stat, first = weights.stat(), of(weights)
    time.sleep(0.02)  # the clock of a file system may tick no faster
    zero_rows(weights, 4000, 1)
    if times_restored:
        os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert of(weights) != first
    assert len(remembered) == 4


def test_a_file_that_was_just_written_is_not_remembered(
    weights: Path, remembered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change within a tick of the file system's clock would leave no trace in its times."""
    monkeypatch.setattr(digest, "_SETTLED_NS", 10**12)
    assert of(weights) == of(weights)
    assert len(remembered) == 4


def test_another_file_in_its_place_is_not_it(weights: Path, remembered: list[str]) -> None:
    first, stat = of(weights), weights.stat()
    other = weights.with_name("other.safetensors")
    shutil.copy(weights, other)
    zero_rows(other, 0, 1)
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(weights)
    assert of(weights) != first


def test_a_cache_that_cannot_be_read_or_written_costs_time_alone(
    weights: Path, remembered: list[str], tmp_path: Path
) -> None:
    first = of(weights)
    (note,) = (tmp_path / "cache" / "midspan" / "weights").iterdir()
    note.write_text("{")
    assert of(weights) == first and len(remembered) == 4
    note.write_text(json.dumps({"another": "version"}))
    assert of(weights) == first and len(remembered) == 6
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("a file in its place")
    assert of(weights) == first and len(remembered) == 8


def test_small_files_leave_nothing_behind(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    of(weights)
    assert not (tmp_path / "cache").exists()


def test_a_loaded_models_fingerprint_follows_its_weights_in_place(tmp_path: Path) -> None:
    config = {**DREAM, "vocab_size": 4096}
    folder = write_checkpoint(tmp_path / "dream", config)
    tensors = load_file(folder / "model.safetensors")
    for key in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[key] = torch.randn(4096, 32, generator=torch.Generator().manual_seed(1))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    before = load(folder).fingerprint
    assert load(shutil.copytree(folder, tmp_path / "copy")).fingerprint == before
    (file,) = read_weights(folder)
    start, _ = file.tensors["lm_head.weight"]["data_offsets"]
    with file.path.open("r+b") as stream:
        # Between two of the places that a sample of the tensor would read.
        stream.seek(file.data_start + start + 300 * 128)
        stream.write(bytes(11 * 128))
    assert load(folder).fingerprint != before
