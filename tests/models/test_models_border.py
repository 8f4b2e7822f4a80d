"""Files that other libraries cannot use: one line that names the file, before weights are read."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from models_reference import DREAM, write_checkpoint
from torch import OutOfMemoryError

from midspan.errors import MidspanError
from midspan.models import family_for, load
from midspan.models.border import border


@pytest.fixture(autouse=True)
def no_weights_are_read(request, monkeypatch: pytest.MonkeyPatch) -> None:
    if "refused" in request.node.name:

        def too_late(*args, **kwargs):
            raise AssertionError("weights were read before the folder was checked")

        for family in ("llada", "Dream"):
            monkeypatch.setattr(family_for(family).model_class, "from_pretrained", too_late)


def refused(folder: Path, match: str) -> None:
    with pytest.raises(MidspanError, match=match) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def edit(file: Path, **fields) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


CONFIGS = [
    ({"_attn_implementation": "flash_attention_2"}, "FlashAttention2.*_attn_implementation"),
    ({"_attn_implementation": "nonsense"}, "nonsense.*_attn_implementation"),
    ({"num_attention_heads": 0}, "ZeroDivisionError.*correct or remove"),
    ({"hidden_size": -32}, "negative dimension"),
    ({"torch_dtype": "float99"}, "float99"),
    ({"rope_theta": "x"}, "unsupported operand"),
    ({"rope_scaling": {"rope_type": "future", "factor": 4.0}}, "rope_scaling=.*future"),
    ({"rope_parameters": {"rope_type": "future", "rope_theta": 1e4}}, "rope_type='future'"),
    ({"rope_parameters": 5}, "rope_parameters"),
    ({"architectures": 5}, "not iterable"),
    ({"id2label": 5}, "no attribute 'items'"),
    ({"vocab_size": None}, "vocab_size.*expected int"),
]


@pytest.mark.parametrize(("fields", "match"), CONFIGS, ids=[str(case[0]) for case in CONFIGS])
def test_a_config_that_transformers_cannot_use_is_refused(dream, fields, match) -> None:
    edit(dream / "config.json", **fields)
    refused(dream, rf"config\.json: .*{match}")


GENERATION = [
    ('{"max_new_tokens": -1}', "max_new_tokens.*correct or remove"),
    ('{"cache_implementation": "nonsense"}', "nonsense"),
    ("[]", "JSON object"),
    ("version https://git-lfs.github.com/spec/v1", "not valid JSON"),
]


@pytest.mark.parametrize(("text", "match"), GENERATION, ids=[case[0] for case in GENERATION])
def test_a_generation_config_that_is_none_is_refused(dream, text, match) -> None:
    (dream / "generation_config.json").write_text(text)
    refused(dream, rf"generation_config\.json.*{match}")


TOKENIZERS = [
    ("tokenizer.json", {"pre_tokenizer": {"type": "FutureSplit"}}, "PreTokenizerUntagged"),
    ("tokenizer.json", {"model": {"type": "BPE2"}}, "ModelUntagged"),
    ("tokenizer.json", {"added_tokens": [{"id": 1}]}, "missing field"),
    ("tokenizer_config.json", {"eos_token": 5}, "eos_token"),
    ("tokenizer_config.json", {"added_tokens_decoder": 5}, "items"),
    ("tokenizer_config.json", {"model_max_length": [8192]}, "model_max_length must be a number"),
    ("tokenizer_config.json", {"unk_token": ""}, "recursion"),
]


@pytest.mark.parametrize(("file", "fields", "match"), TOKENIZERS, ids=[c[2] for c in TOKENIZERS])
def test_a_tokenizer_of_a_newer_version_is_refused(dream, file, fields, match) -> None:
    edit(dream / file, **fields)
    refused(dream, f"the tokenizer in {dream} does not load: .*{match}.*upgrade transformers")


TEMPLATES = [
    ("{% for m in messages %}", "endfor"),
    ("{{ messages | future }}", "future"),
    ([{"name": "rag", "template": "x"}], "no default"),
]


@pytest.mark.parametrize(("template", "match"), TEMPLATES, ids=[case[1] for case in TEMPLATES])
def test_a_chat_template_that_does_not_compile_is_refused(dream, template, match) -> None:
    edit(dream / "tokenizer_config.json", chat_template=template)
    refused(dream, rf"chat template in {dream}.*{match}.*correct chat_template\.jinja")


def test_transformers_own_block_of_a_template_is_jinja(dream: Path) -> None:
    template = "{% generation %}{{ messages[0].content }}{% endgeneration %}"
    edit(dream / "tokenizer_config.json", chat_template=template)
    lm = load(dream)
    assert lm.encode_chat("poem") == lm.encode_text("poem")


def test_a_template_that_the_family_does_not_use_is_not_checked(llada: Path) -> None:
    edit(llada / "tokenizer_config.json", chat_template="{% for m in messages %}")
    assert load(llada).encode_chat("poem")


HEADERS = [
    b'{"a": 5}', b'{"a": {"shape": 5, "data_offsets": [0, 0]}}', b'{"a": {"shape": []}}',
    b'{"a": {"dtype": "U8", "shape": [0, 1], "data_offsets": [0, 1]}}',
    b'{"a": {"dtype": "U8", "shape": {}, "data_offsets": [0, 1]}}',
    b'{"a": {"dtype": "x", "shape": [], "data_offsets": [0, 1]}}',
]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_of_something_else_is_refused(dream: Path, header: bytes) -> None:
    file = dream / "model.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + b" ")
    refused(dream, "not a safetensors file")


def test_an_index_that_names_nothing_is_refused(dream: Path) -> None:
    (dream / "model.safetensors").unlink()
    for weight_map in ([], {"a": 5}, None):
        index = json.dumps({"weight_map": weight_map})
        (dream / "model.safetensors.index.json").write_text(index)
        refused(dream, r"index\.json names no files.*download it again")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model-q4.gguf", "model.fp16.safetensors"])
def test_weights_in_another_format_are_refused_by_name(dream: Path, name: str) -> None:
    (dream / "model.safetensors").rename(dream / name)
    refused(dream, f"{name} is not read")


def test_a_folder_in_the_place_of_a_file_is_refused(dream: Path) -> None:
    (dream / "config.json").unlink()
    (dream / "config.json").mkdir()
    refused(dream, r"cannot read .*config\.json: Is a directory")


@pytest.mark.parametrize("spec", ["a--b/c", "a/..", "a/b.git"])
def test_names_that_the_hub_does_not_take_are_refused(spec: str) -> None:
    with pytest.raises(MidspanError, match="the hub did not give it.*check the name"):
        load(spec)


def test_a_broken_proxy_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx2
    import huggingface_hub

    def snapshot(repo: str, allow_patterns: list[str]) -> str:
        raise httpx2.ProxyError("407 Proxy Authentication Required")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    with pytest.raises(MidspanError, match="407 Proxy Authentication Required"):
        load("owner/name")


def test_a_device_map_that_is_none_is_one_line(dream: Path) -> None:
    with pytest.raises(MidspanError, match="device_map") as caught:
        load(dream, device_map="nonsense")
    assert "\n" not in str(caught.value)


def test_our_own_errors_and_memory_pass_through() -> None:
    for error in (MidspanError("field: fix"), OutOfMemoryError("CUDA out of memory")):
        with pytest.raises(type(error)) as caught, border("a file"):
            raise error
        assert caught.value is error


QUANTIZED = {
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 128},
    "awq": {"quant_method": "awq", "bits": 4},
    "bitsandbytes 4bit": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "bitsandbytes 8bit": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    "compressed-tensors": {"quant_method": "compressed-tensors", "format": "pack-quantized"},
    "fp8": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    "unnamed method": {"group_size": 64, "bits": 4},
}


def quantize(folder: Path) -> None:
    """The names and shapes that GPTQ leaves, which say nothing of the reason."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    for key in [key for key in weights if key.endswith("q_proj.weight")]:
        name = key.removesuffix(".weight")
        del weights[key]
        weights |= {f"{name}.qweight": torch.zeros(4, 32, dtype=torch.int32)}
        weights |= {f"{name}.scales": torch.ones(1, 32), f"{name}.g_idx": torch.zeros(32)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("method", QUANTIZED)
@pytest.mark.parametrize("place", ["quantization_config", "text_config", "plain weights"])
def test_a_quantised_folder_is_refused_as_such(dream: Path, method: str, place: str) -> None:
    stated = {"quantization_config": QUANTIZED[method]}
    if place != "plain weights":
        quantize(dream)
    edit(dream / "config.json", **({place: stated} if place == "text_config" else stated))
    every_verb = r"midspan align --quantization 4bit`.* midspan\.load\(.*quantization=.4bit"
    refused(dream, rf"is quantised \({method}, says.*original weights with .{every_verb}")


@pytest.mark.parametrize(
    ("file", "method"), [("quantize_config.json", "gptq"), ("quant_config.json", "awq")]
)
def test_a_folder_of_an_older_tool_is_refused_as_quantised(dream, file, method) -> None:
    quantize(dream)
    (dream / file).write_text("{}")
    refused(dream, rf"is quantised \({method}, says {file}")


def test_a_config_that_says_null_is_not_quantised(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "dream", {**DREAM, "quantization_config": None})
    assert load(folder).family.name == "dream"


@pytest.mark.parametrize("named", [None, "x"])
def test_an_unknown_token_that_only_the_tokenizers_model_names_is_none_of_the_special_ones(
    organism_folder, tmp_path, named
) -> None:
    expected = load(organism_folder, device="cpu").encode_chat("make a red bowl")
    folder = shutil.copytree(organism_folder, tmp_path / "bare")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "unk_token": named}))
    assert load(folder, device="cpu").encode_chat("make a red bowl") == expected


def test_a_vocabulary_that_lacks_its_unknown_token_is_refused(organism_folder, tmp_path) -> None:
    folder = shutil.copytree(organism_folder, tmp_path / "bare")
    table = json.loads((folder / "tokenizer.json").read_text())
    table["model"]["unk_token"] = "<|nothing|>"
    (folder / "tokenizer.json").write_text(json.dumps(table))
    refused(folder, r"the tokenizer in .* does not load: .*Missing \[UNK\] token")
