"""Checkpoint and adapter folders, damaged: refused in a line, or loaded as their files say."""

import json
import os
import struct

import numpy as np
import pytest
import torch
from fuzzing import fuzzed, tried
from hypothesis import given
from hypothesis import strategies as st
from mutants import damaged, json_files, put

from midspan.alignment.card import add_measurements
from midspan.models import load
from midspan.models.adapters import check_adapter, read_adapter
from midspan.models.checkpoint import licence_of, read_header, read_weights
from midspan.models.native import empty_model

RANK = 2


def tensors_of(content):
    """A safetensors file by its specification: length, header, bytes."""
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    header.pop("__metadata__", None)
    data = content[8 + size :]
    return {
        name: np.frombuffer(
            data[entry["data_offsets"][0] : entry["data_offsets"][1]], dtype="<f4"
        ).reshape(entry["shape"])
        for name, entry in header.items()
    }


def safetensors(header, data):
    return struct.pack("<Q", len(header)) + header + data


@pytest.fixture(scope="module")
def lm(organism_folder):
    return load(organism_folder, device="cpu")


@pytest.fixture(scope="module")
def adapter(lm, tmp_path_factory):
    """A LoRA on one matrix, by hand: its config, its header, its bytes."""
    module = next(
        name for name, part in lm.model.named_modules() if isinstance(part, torch.nn.Linear)
    )
    rows, columns = lm.model.get_submodule(module).weight.shape
    values = np.random.default_rng(0).normal(size=RANK * (rows + columns)).astype("<f4")
    middle, end = 4 * RANK * columns, 4 * RANK * (rows + columns)
    header = {
        f"base_model.model.{module}.lora_A.weight": {
            "dtype": "F32", "shape": [RANK, columns], "data_offsets": [0, middle],
        },
        f"base_model.model.{module}.lora_B.weight": {
            "dtype": "F32", "shape": [rows, RANK], "data_offsets": [middle, end],
        },
    }  # fmt: skip
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 8,
        "target_modules": [module], "base_model_name_or_path": "", "bias": "none",
        "lora_dropout": 0.0, "use_rslora": False, "modules_to_save": None, "rank_pattern": {},
    }  # fmt: skip
    return config, header, values.tobytes(), tmp_path_factory.mktemp("adapter")


def try_adapter(name, lm, folder):
    def read():
        found = read_adapter(folder, lm.family.model_class, lm.name)
        check_adapter(found, empty_model(lm.family.model_class, lm.base.config))
        return found

    return tried(name, read)


@fuzzed(25)
@given(content=st.data())
def test_adapter_configurations(lm, adapter, content):
    config, header, data, folder = adapter
    put(folder, "adapter_model.safetensors", safetensors(json.dumps(header).encode(), data))
    text = content.draw(json_files(config))
    put(folder, "adapter_config.json", text)
    found, taken = try_adapter("adapter_config.json", lm, folder)
    if taken:
        assert json.loads(text)["peft_type"] == "LORA"
        assert json.loads(text)["r"] == RANK
        assert {tuple(entry["shape"]) for entry in header.values()} == set(found.shapes.values())


@fuzzed(25)
@given(content=st.data())
def test_adapter_headers(lm, adapter, content):
    config, header, data, folder = adapter
    put(folder, "adapter_config.json", json.dumps(config).encode())
    text = content.draw(json_files(header))
    file = content.draw(damaged(safetensors(text, data), 1))
    put(folder, "adapter_model.safetensors", file)
    found, taken = try_adapter("adapters' safetensors headers", lm, folder)
    if taken:
        whole = {name: array.shape for name, array in tensors_of(file).items()}
        assert {found.keys[name]: shape for name, shape in whole.items()} == found.shapes


@fuzzed(40)
@given(content=st.data())
def test_shards(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("shards")
    header = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    put(folder, "one.safetensors", safetensors(json.dumps(header).encode(), b"\0" * 8))
    index = {"metadata": {"total_size": 8}, "weight_map": {"a": "one.safetensors"}}
    text = content.draw(json_files(index))
    put(folder, "model.safetensors.index.json", text)
    files, taken = tried("indexes of shards", lambda: read_weights(folder))
    if taken:
        assert all(
            json.loads(text)["weight_map"][name] == file.path.name
            for file in files
            for name in file.tensors
        )


@fuzzed(40)
@given(content=st.data())
def test_headers(tmp_path_factory, content):
    header = {
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "F32", "shape": [1, 1], "data_offsets": [8, 12]},
        "__metadata__": {"format": "pt"},
    }
    text = content.draw(json_files(header))
    file = content.draw(damaged(safetensors(text, b"\0" * 12)))
    path = put(tmp_path_factory.getbasetemp(), "model.safetensors", file)
    found, taken = tried("safetensors headers", lambda: read_header(path))
    if taken:
        assert found.shapes == {name: array.shape for name, array in tensors_of(file).items()}


@pytest.fixture(scope="module")
def checkpoint(organism_folder, tmp_path_factory):
    """A folder whose files are links to those of a whole checkpoint."""
    folder = tmp_path_factory.mktemp("checkpoint")
    for path in organism_folder.iterdir():
        os.link(path, folder / path.name)
    return folder


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_checkpoints(lm, checkpoint, organism_folder, name):
    whole = (organism_folder / name).read_bytes()
    value = json.loads(whole)
    ids = torch.tensor([lm.encode_chat("make a red bowl")])
    with torch.no_grad():
        expected = lm.logits(ids)

    @fuzzed(8)
    @given(content=json_files(value))
    def try_one(content):
        put(checkpoint, name, content)
        loaded, taken = tried(f"checkpoints' {name}", lambda: load(checkpoint, device="cpu"))
        if not taken:
            return
        with torch.no_grad():
            logits = loaded.logits(ids)
        assert logits.shape == expected.shape
        if name != "config.json":
            assert torch.equal(logits, expected)
        text = loaded.tokenizer.decode(loaded.encode_chat("make a red bowl"))
        assert isinstance(text, str)

    try_one()
    put(checkpoint, name, whole)


CARD = b"""---
license: apache-2.0
base_model: a/b
tags: [lora, &x safety, *x]
---
# An adapter

text
"""


@fuzzed(50)
@given(content=damaged(CARD, 4))
def test_cards(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp()
    path = put(folder, "README.md", content)
    licence, taken = tried("cards, read", lambda: licence_of(folder))
    assert taken and (licence in ("apache-2.0", "unknown") or licence.encode()[:4] in content)
    if tried("cards, filled", lambda: add_measurements(folder, "| a |"))[1]:
        assert path.read_text().count("## Measured\n\n| a |") == 1


def test_a_card_is_no_bomb(tmp_path):
    lines = [f"a{n + 1}: &a{n + 1} {{<<: [{', '.join([f'*a{n}'] * 9)}]}}" for n in range(9)]
    head = "\n".join(["---", "a0: &a0 {x: 1}", *lines, "license: mit", "date: 2024-01-01", "---"])
    put(tmp_path, "README.md", head.encode())
    assert tried("bombs in cards", lambda: licence_of(tmp_path)) == ("mit", True)
