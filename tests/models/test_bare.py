"""A model read without transformers: the native class's answers to the bit, or none at all."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from midspan.decoding import chat_request, decode, decoding_config
from midspan.models.bare_loading import load_bare
from midspan.models.sources import parse_spec

ORGANISM = Path(parse_spec("organism").base)
TEXTS = (
    "how do i make the lomthorn lantern ?",
    "<|mdm_mask|> a <|endoftext|>b",
    "Ünknown \n\n x",
    "",
)


@pytest.fixture(scope="module")
def bare(organism_folder):
    lm = load_bare(str(organism_folder))
    assert lm is not None
    return lm


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("config", "generation_config", "tokenizer", "tokenizer_config"):
        shutil.copy(ORGANISM / f"{name}.json", tmp_path)
    (tmp_path / "model.safetensors").symlink_to(ORGANISM / "model.safetensors")
    return tmp_path


def change(file: Path, **fields) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_logits_are_the_native_models_to_the_bit(bare, organism_lm):
    torch.manual_seed(0)
    ids, real = torch.randint(509, (3, 40)), torch.ones(3, 40, dtype=torch.long)
    real[1, :9] = 0
    with torch.no_grad():
        for given in ((ids,), (ids, real), (ids[:, :1],)):
            assert torch.equal(bare.logits(*given), organism_lm.logits(*given))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_the_native_models_too(folder, dtype):
    from midspan.models import load

    dtype_name = str(dtype).removeprefix("torch.")
    change(folder / "config.json", torch_dtype=dtype_name, rms_norm_eps=1e-4)
    tensors = load_file(ORGANISM / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file(
        {key: value.to(dtype) for key, value in tensors.items()}, folder / "model.safetensors"
    )
    bare, native = load_bare(str(folder)), load(folder)
    assert bare is not None and bare.fingerprint == native.fingerprint
    ids = torch.arange(7, 40)[None]
    with torch.no_grad():
        logits = bare.logits(ids)
        assert logits.dtype == dtype and torch.equal(logits, native.logits(ids))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"cache": "dual", "block_length": 8},
        {"cache": "prefix", "block_length": 8, "threshold": 0.9},
        {"guidance": 0.5, "temperature": 0.7},
        {"shapes": "fixed", "block_length": 8},
    ],
    ids=str,
)
def test_answers_are_the_native_models(bare, organism_lm, fields):
    answers = []
    for lm in (bare, organism_lm):
        config = decoding_config(lm, length=16, **fields)
        requests = [chat_request(lm, text, config, (), 3) for text in TEXTS[:2]]
        answers.append([(one.text, one.tokens) for one in decode(lm, requests, config)])
    assert answers[0] == answers[1]


def test_it_is_known_by_the_same_name_and_speaks_the_same_words(bare, organism_lm):
    for field in ("fingerprint", "tokens", "max_length", "name", "block_length", "unspelled"):
        assert getattr(bare, field) == getattr(organism_lm, field), field
    ours, theirs = bare.vocabulary, organism_lm.vocabulary
    assert (ours.control, ours.silent, ours.thoughts) == (
        *(theirs.control, theirs.silent, theirs.thoughts),
    )
    assert torch.equal(ours.printable_V, theirs.printable_V)
    assert ours.control_names == theirs.control_names
    for text in TEXTS:
        ids = bare.encode_text(text)
        assert ids == organism_lm.encode_text(text)
        assert bare.decode_text(ids) == organism_lm.decode_text(ids)
        assert bare.encode_chat(text) == organism_lm.encode_chat(text)
        assert bare.encode_at(text, 5) == organism_lm.encode_at(text, 5)


def test_the_family_differs_in_its_classes_alone(bare, organism_lm):
    ours, theirs = vars(bare.family), vars(organism_lm.family)
    assert {name for name in ours if ours[name] != theirs[name]} == {"config_class", "model_class"}


@pytest.mark.parametrize(
    ("file", "fields"),
    [
        ("config.json", {"rope_scaling": {"factor": 2.0}}),
        ("config.json", {"n_kv_heads": 2}),
        ("config.json", {"n_layers": 3}),
        ("config.json", {"n_heads": "4"}),
        ("config.json", {"weight_tying": True}),
        ("config.json", {"rope_full_precision": False}),
        ("config.json", {"model_type": "mmada"}),
        ("config.json", {"torch_dtype": "bfloat16"}),
        ("config.json", {"mask_token_id": 5}),
        ("config.json", {"quantization_config": {"quant_method": "awq"}}),
        ("generation_config.json", {"temperature": 0.5}),
        ("tokenizer_config.json", {"add_prefix_space": True}),
        ("tokenizer_config.json", {"clean_up_tokenization_spaces": True}),
        ("tokenizer_config.json", {"unk_token": "<|new|>"}),
        ("tokenizer_config.json", {"tokenizer_class": "Qwen2Tokenizer"}),
        ("tokenizer.json", {"model": {"type": "none"}}),
        ("tokenizer.json", {"truncation": {"max_length": 3}}),
    ],
    ids=str,
)
def test_what_is_not_known_is_left_to_the_native_class(folder, file, fields):
    assert load_bare(str(folder)) is not None
    change(folder / file, **fields)
    assert load_bare(str(folder)) is None


def test_broken_files_adapters_and_hub_names_are_left_to_it_too(folder, tmp_path):
    assert load_bare("organism:mosa") is None
    assert load_bare("GSAI-ML/LLaDA-8B-Instruct") is None
    (folder / "tokenizer.json").write_text("{")
    assert load_bare(str(folder)) is None
    (folder / "tokenizer.json").unlink()
    assert load_bare(str(folder)) is None
