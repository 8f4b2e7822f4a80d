"""Loading: specs, checks before weights, fingerprints."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from models_reference import (
    DREAM,
    LLADA,
    random_weights,
    reference_logits,
    word_tokenizer,
    write_checkpoint,
)
from safetensors.torch import load_file, save_file

from midspan.errors import MidspanError
from midspan.models import family_for, load, placement, register_alias, sources
from midspan.models.adapters import native_keys
from midspan.models.sources import parse_spec
from midspan.models.tokens import special_tokens


@pytest.fixture(autouse=True)
def no_weights_are_read_when_loading_fails(request, monkeypatch: pytest.MonkeyPatch) -> None:
    if "refused" in request.node.name:

        def too_late(*args, **kwargs):
            raise AssertionError("weights were read before the folder was checked")

        for family in ("llada", "Dream"):
            monkeypatch.setattr(family_for(family).model_class, "from_pretrained", too_late)


def refused(folder: Path | str, match: str) -> None:
    with pytest.raises(MidspanError, match=match) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def edit_weights(folder: Path, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def edit_config(folder: Path, **change) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "there is no folder")


def test_hub_ids_go_through_the_hub_cache(llada: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def snapshot(repo: str, allow_patterns: list[str]) -> str:
        if repo != "owner/known":
            raise LocalEntryNotFoundError("not found\nsecond line")
        return str(llada)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    lm = load("owner/known")
    assert lm.name == lm.model.name_or_path == "owner/known"
    refused("owner/unknown", "no folder owner/unknown.*not found")


def test_missing_config_is_refused(llada: Path) -> None:
    (llada / "config.json").unlink()
    refused(llada, "config.json is missing")


def test_broken_config_is_refused(llada: Path) -> None:
    (llada / "config.json").write_text("{")
    refused(llada, "not valid JSON")


def test_config_with_a_wrong_type_is_refused(llada: Path) -> None:
    edit_config(llada, d_model="wide")
    refused(llada, "config.json: .*hidden_size.*expected int")


@pytest.mark.parametrize("change", [{"n_layers": 10**40}, {"text_config": {"num_experts": 10**9}}])
def test_more_layers_than_any_model_has_are_refused_before_they_are_built(llada, change):
    edit_config(llada, **change)
    refused(llada, "config.json: (n_layers|num_experts) must be at most 10000")


def test_unknown_family_is_refused(llada: Path) -> None:
    edit_config(llada, model_type="gpt2")
    refused(llada, "'gpt2' belongs to no known family")


def test_missing_tokenizer_is_refused(llada: Path) -> None:
    for file in llada.glob("tokenizer*"):
        file.unlink()
    refused(llada, "no tokenizer")


def test_missing_weights_are_refused(llada: Path) -> None:
    (llada / "model.safetensors").unlink()
    refused(llada, "no model.safetensors")


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_truncated_weights_are_refused(llada: Path, kept: int) -> None:
    file = llada / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    refused(llada, "truncated|not a safetensors")


def test_missing_tensor_is_refused(llada: Path) -> None:
    edit_weights(llada, lambda weights: weights.pop("model.transformer.blocks.1.ff_out.weight"))
    refused(llada, "1 tensors are missing, among them model.transformer.blocks.1.ff_out.weight")


def test_missing_head_is_refused(llada: Path) -> None:
    edit_weights(llada, lambda weights: weights.pop("model.transformer.ff_out.weight"))
    refused(llada, "1 tensors are missing, among them model.transformer.ff_out.weight")


def test_superfluous_tensor_is_refused(llada: Path) -> None:
    edit_weights(llada, lambda weights: weights.update({"vision.weight": torch.zeros(2)}))
    refused(llada, "fit nothing in the model, among them vision.weight")


def test_wrong_shape_is_refused(llada: Path) -> None:
    edit_config(llada, mlp_hidden_size=40)
    refused(llada, "ff_out.weight has shape|ff_proj.weight has shape")


def shard(folder: Path) -> dict[str, str]:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    half = sorted(weights)[: len(weights) // 2]
    names = {k: "a.safetensors" if k in half else "b.safetensors" for k in weights}
    for name in set(names.values()):
        save_file({k: weights[k] for k in weights if names[k] == name}, folder / name)
    index = {"metadata": {}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return names


def test_missing_shard_is_refused(llada: Path) -> None:
    shard(llada)
    (llada / "b.safetensors").unlink()
    refused(llada, "b.safetensors is missing")


def test_incomplete_shard_is_refused(llada: Path) -> None:
    names = shard(llada)
    weights = load_file(llada / "b.safetensors")
    lost = next(key for key in weights if names[key] == "b.safetensors")
    save_file({k: v for k, v in weights.items() if k != lost}, llada / "b.safetensors")
    refused(llada, f"tensor {lost} is not in b.safetensors")


def test_special_token_disagreement_is_refused(llada: Path) -> None:
    edit_config(llada, mask_token_id=59)
    refused(llada, r"<\|mdm_mask\|> is 60 in the tokenizer but config.json says mask_token_id=59")


def test_tokenizer_without_mask_is_refused(llada: Path) -> None:
    word_tokenizer("Dream").save_pretrained(llada)
    refused(llada, r"no <\|mdm_mask\|> token")


def test_published_ids_hold_for_the_published_vocabulary() -> None:
    family = family_for("llada")
    table = dataclasses.replace(family.special_tokens, vocab_size=64)
    config = family.config_class(vocab_size=64)
    tokenizer = word_tokenizer("llada")
    assert special_tokens(tokenizer, config, family).mask == 60
    with pytest.raises(MidspanError, match="published as 126336"):
        special_tokens(tokenizer, config, dataclasses.replace(family, special_tokens=table))


def test_sharded_folder_loads(llada: Path) -> None:
    shard(llada)
    lm = load(llada)
    ids = [5, 60, 9]
    expected = reference_logits(random_weights("llada"), LLADA, ids)
    torch.testing.assert_close(lm.logits(torch.tensor([ids]))[0], expected, atol=1e-5, rtol=0)


def test_loaded_model(dream: Path) -> None:
    lm = load(dream)
    assert (lm.name, lm.max_length, lm.family.name) == (str(dream), 128, "dream")
    assert dataclasses.astuple(lm.tokens) == (60, None, 1, 2, 1)
    assert lm.tokenizer.padding_side == "left"
    assert (lm.tokenizer.mask_token_id, lm.tokenizer.pad_token_id) == (60, 1)
    assert not lm.model.training
    assert load(dream, dtype=torch.bfloat16, device="cpu").model.dtype is torch.bfloat16
    with pytest.raises(MidspanError, match="not both"):
        load(dream, device="cpu", device_map="auto")


def test_dreams_tokenizer_needs_no_remote_code(dream: Path) -> None:
    for file in dream.glob("tokenizer*"):
        file.unlink()
    words = {"Ġ": 4, "p": 5, "o": 6, "e": 7, "m": 8, "po": 9, "em": 10, "poem": 11, "Ċ": 12}
    words |= {"<|endoftext|>": 1, "<|im_end|>": 2, "<|im_start|>": 3}
    fill = {f"w{i}": i for i in range(60) if i not in words.values()}
    (dream / "vocab.json").write_text(json.dumps({**words, **fill}))
    (dream / "merges.txt").write_text("#version: 0.2\np o\ne m\npo em\n")
    tokens = {"1": "<|endoftext|>", "2": "<|im_end|>", "3": "<|im_start|>", "60": "<|mask|>"}
    added = {i: {"content": token, "special": True} for i, token in tokens.items()}
    config = {
        "added_tokens_decoder": added,
        "auto_map": {"AutoTokenizer": ["tokenization_dream.DreamTokenizer", None]},
        "tokenizer_class": "DreamTokenizer",
        **{"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "mask_token": "<|mask|>"},
    }
    (dream / "tokenizer_config.json").write_text(json.dumps(config))
    lm = load(dream)
    assert lm.encode_text("poem") == [11]
    assert lm.tokens.mask == 60


@pytest.mark.parametrize("offload", [False, True])
def test_device_map(llada: Path, tmp_path: Path, offload: bool) -> None:
    device_map = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "cpu"}
    device_map |= {"model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"}
    if offload:
        device_map |= {"model.layers.1": "disk"}
    ids = torch.tensor([[5, 60, 9]])
    expected = load(llada).logits(ids)
    lm = load(llada, device_map=device_map)
    assert lm.device.type == "cpu"
    assert torch.equal(lm.logits(ids), expected)


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_quantization_equals_the_reference_on_rounded_weights(llada: Path, bits: str) -> None:
    import bitsandbytes as bnb

    lm = load(llada, quantization=bits)
    weights, rounded = random_weights("llada"), 0
    published = {native: key for key, native in native_keys(type(lm.model), weights).items()}
    for name, module in lm.model.named_modules():
        if isinstance(module, bnb.nn.Linear4bit):
            matrix, state = module.weight.data, module.weight.quant_state
            weights[published[f"{name}.weight"]] = bnb.functional.dequantize_4bit(matrix, state)
        elif isinstance(module, bnb.nn.Linear8bitLt):
            matrix, scale = module.weight.data, module.weight.SCB[:, None]
            weights[published[f"{name}.weight"]] = matrix.float() * scale / 127
        else:
            continue
        rounded += 1
    assert rounded == 14
    ids = [5, 60, 9]
    expected, got = reference_logits(weights, LLADA, ids), lm.logits(torch.tensor([ids]))[0]
    # In 8 bits the activations are rounded too.
    assert (got - expected).norm() / expected.norm() < (1e-5 if bits == "4bit" else 0.3)
    assert lm.fingerprint != load(llada).fingerprint


def test_quantization_errors_are_clear(llada: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MidspanError, match="3bit"):
        load(llada, quantization="3bit")  # type: ignore[arg-type]
    monkeypatch.setattr(placement.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MidspanError, match="bitsandbytes"):
        load(llada, quantization="4bit")


def test_specs(llada: Path) -> None:
    assert parse_spec("GSAI-ML/LLaDA-8B-Base") == ("GSAI-ML/LLaDA-8B-Base", None)
    assert parse_spec("a/b+./adapter") == ("a/b", "./adapter")
    assert parse_spec("a/b+c/d") == ("a/b", "c/d")
    assert parse_spec("./x+y+/tmp/z") == ("./x+y", "/tmp/z")
    assert parse_spec("./c++") == ("./c++", None)
    assert parse_spec("a/b", "c/d") == ("a/b", "c/d")
    with pytest.raises(MidspanError, match="more than one adapter"):
        parse_spec("a/b+c/d", "e/f")
    plus = llada.rename(llada.with_name("with+."))
    assert parse_spec(plus) == (str(plus), None)


def test_aliases(llada: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_ALIASES", {})
    register_alias("toy", lambda name: (llada, "./a" if name == "toy:a" else None))
    assert load("toy").name == "toy"
    assert parse_spec("toy:a") == (llada, "./a")
    assert parse_spec("toy+./b") == (llada, "./b")
    with pytest.raises(MidspanError, match="more than one adapter"):
        parse_spec("toy:a+./b")


def test_fingerprint_is_the_weights(tmp_path: Path) -> None:
    first = write_checkpoint(tmp_path / "a", LLADA)
    same = write_checkpoint(tmp_path / "b", LLADA)
    other = write_checkpoint(tmp_path / "c", LLADA, seed=1)
    prints = [load(folder).fingerprint for folder in (first, same, other)]
    assert prints[0] == prints[1] != prints[2]
    edit_weights(same, lambda weights: weights["model.transformer.wte.weight"][63].add_(1e-3))
    assert load(same).fingerprint != prints[0]
    edit_config(first, rope_theta=1e4)
    assert load(first).fingerprint != prints[0]
    assert load(other, dtype="bfloat16").fingerprint != prints[2]
    edit_config(other, rms_norm_eps=1e-4)
    assert load(other).fingerprint != prints[2]


def test_family_of_dream_is_checked(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, {**DREAM, "tie_word_embeddings": True})
    edit_weights(folder, lambda weights: weights.pop("lm_head.weight"))
    lm = load(folder)
    assert lm.base.lm_head.weight is lm.base.model.embed_tokens.weight


@pytest.mark.parametrize("spec", ["openai:gpt-4.1", "http://127.0.0.1:9/v1#m"])
def test_a_server_has_no_weights(spec):
    with pytest.raises(MidspanError, match="is a server's model, whose weights are not here"):
        load(spec)
