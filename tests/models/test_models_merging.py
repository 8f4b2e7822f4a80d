"""Adapters merged or renamed for programs that know nothing of midspan."""

import json
from pathlib import Path

import pytest
import torch
from dllm_folders import write_folder
from models_reference import DREAM, LLADA, reference_logits, write_checkpoint
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from test_models_adapters import IDS, published_adapter

from midspan.errors import MidspanError
from midspan.models import load
from midspan.models.merging import merge, publish_adapter

IDS_T = torch.tensor([IDS])


def native_adapter(llada: Path, tmp_path: Path) -> tuple[str, dict[str, torch.Tensor]]:
    """A spec whose adapter has native names, and the base weights with it merged by hand."""
    weights = published_adapter(tmp_path / "published")
    load(f"{llada}+{tmp_path / 'published'}").model.save_pretrained(tmp_path / "native")
    return f"{llada}+{tmp_path / 'native'}", weights


def test_a_merged_folder_loads_like_its_base(llada: Path, tmp_path: Path) -> None:
    spec, weights = native_adapter(llada, tmp_path)
    folder = merge(spec, tmp_path / "merged")
    stored = load_file(folder / "model.safetensors")
    assert stored.keys() == load_file(llada / "model.safetensors").keys()
    with torch.no_grad():
        logits = load(str(folder)).logits(torch.tensor([IDS]))[0]
    torch.testing.assert_close(logits, reference_logits(weights, LLADA, IDS), atol=3e-5, rtol=0)
    assert (folder / "tokenizer.json").read_bytes() == (llada / "tokenizer.json").read_bytes()
    (tmp_path / "by the umask").touch()
    modes = {path.stat().st_mode for path in (tmp_path / "by the umask", *folder.iterdir())}
    assert len(modes) == 1


# What Dream publishes: fields of its own, the mask id among them.
DREAM_GENERATION = {
    **{"_from_model_config": True, "bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 1},
    **{"alg": "origin", "alg_temp": None, "eps": 0.001, "mask_token_id": 60, "steps": 512},
    **{"output_history": False, "temperature": 0.2, "top_p": 0.95, "do_sample": False},
    **{"max_new_tokens": 20},
}


@pytest.mark.parametrize("generation", [None, DREAM_GENERATION])
def test_a_merged_folder_has_its_bases_files_and_no_others(
    dream: Path, tmp_path: Path, generation: dict | None
) -> None:
    config = json.loads((dream / "config.json").read_text())
    (dream / "config.json").write_text(json.dumps({**config, "a_field_of_its_own": [1, 2]}))
    if generation is not None:
        (dream / "generation_config.json").write_text(json.dumps(generation))
    base = {path.name: path.read_bytes() for path in dream.iterdir()}
    for stale in ("pytorch_model.bin", "consolidated.pth", "model-q4.gguf"):
        (dream / stale).write_bytes(b"weights before the adapter")
    torch.manual_seed(0)
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    lm = load(dream)
    lm.model = get_peft_model(lm.model, lora).eval()
    lm.model.save_pretrained(tmp_path / "adapter")
    folder = merge(f"{dream}+{tmp_path / 'adapter'}", tmp_path / "merged")
    merged = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert merged.pop("model.safetensors") != base.pop("model.safetensors")
    assert merged == base
    with torch.no_grad():
        found, wanted = load(str(folder)).logits(IDS_T), lm.logits(IDS_T)
        assert (wanted - load(dream).logits(IDS_T)).abs().max() > 0.1
    torch.testing.assert_close(found, wanted, atol=3e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:.*taken for block diffusion")
@pytest.mark.parametrize(("name", "stated", "length"), [
    ("tiny-bd3lm", {}, 32), ("tiny-bd3lm", {"block_size": None}, None), ("mdlm", {}, None),
])  # fmt: skip
def test_a_merged_model_has_the_blocks_of_its_base(
    tmp_path: Path, name: str, stated: dict, length: int | None
) -> None:
    base = write_folder(tmp_path / name, "a2d-qwen3", **stated)
    lora = LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False)
    get_peft_model(load(base).model, lora).save_pretrained(tmp_path / "adapter")
    folder = merge(f"{base}+{tmp_path / 'adapter'}", tmp_path / "merged")
    assert load(folder).block_length == load(base).block_length == length
    if length is None:
        assert (folder / "config.json").read_bytes() == (base / "config.json").read_bytes()


def test_an_adapter_on_a_tied_head_is_not_merged_into_the_embeddings(tmp_path: Path) -> None:
    base = write_checkpoint(tmp_path / "base", {**DREAM, "tie_word_embeddings": True})
    weights = load_file(base / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    for layer in ("lm_head", "embed_tokens"):
        lora = LoraConfig(r=4, target_modules=["q_proj", layer], init_lora_weights=False)
        get_peft_model(load(base).model, lora).save_pretrained(tmp_path / layer)
        lm = load(base, adapter=tmp_path / layer)
        with torch.no_grad():
            apart = lm.logits(IDS_T)
            lm.merge_adapter()
            assert torch.equal(lm.logits(IDS_T), apart)
        with pytest.raises(MidspanError, match="tie_word_embeddings"):
            merge(f"{base}+{tmp_path / layer}", tmp_path / "merged")


def test_an_exported_adapter_has_the_published_names(llada: Path, tmp_path: Path) -> None:
    spec, weights = native_adapter(llada, tmp_path)
    folder = publish_adapter(spec, tmp_path / "exported")
    stored = load_file(folder / "adapter_model.safetensors")
    wanted = load_file(tmp_path / "published" / "adapter_model.safetensors")
    assert stored.keys() == wanted.keys()
    assert all(torch.equal(stored[key], wanted[key]) for key in wanted)
    with torch.no_grad():
        logits = load(f"{llada}+{folder}").logits(torch.tensor([IDS]))[0]
    torch.testing.assert_close(logits, reference_logits(weights, LLADA, IDS), atol=3e-5, rtol=0)


@pytest.mark.parametrize("field", ["rank_pattern", "alpha_pattern"])
def test_patterns_of_names_that_change_are_not_exported(
    llada: Path, dream: Path, tmp_path: Path, field: str
) -> None:
    patterns = {field: {"q_proj": 2}}
    lora = LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False, **patterns)
    for base in (llada, dream):
        adapter = tmp_path / f"{base.name} adapter"
        get_peft_model(load(base).model, lora).save_pretrained(adapter)
    with pytest.raises(MidspanError, match=f"{field} with native .* midspan merge takes it"):
        publish_adapter(f"{llada}+{tmp_path / 'llada adapter'}", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    # Dream's published names are the native ones.
    same = publish_adapter(f"{dream}+{tmp_path / 'dream adapter'}", tmp_path / "out")
    assert json.loads((same / "adapter_config.json").read_text())[field] == patterns[field]
    with torch.no_grad():
        wanted = load(dream, adapter=tmp_path / "dream adapter").logits(IDS_T)
        assert torch.equal(load(dream, adapter=same).logits(IDS_T), wanted)


def test_an_export_names_its_layers_in_full(llada: Path, tmp_path: Path) -> None:
    layers: dict = {"layers_to_transform": [1], "layers_pattern": "layers"}
    lora = LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False, **layers)
    get_peft_model(load(llada).model, lora).save_pretrained(tmp_path / "adapter")
    folder = publish_adapter(f"{llada}+{tmp_path / 'adapter'}", tmp_path / "out")
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["target_modules"] == ["model.transformer.blocks.1.q_proj"]
    assert {config[name] for name in ("layers_pattern", "layers_to_transform")} == {None}


@pytest.mark.parametrize("write", [merge, publish_adapter])
def test_nothing_is_overwritten_and_a_base_alone_is_refused(llada, tmp_path, write) -> None:
    with pytest.raises(MidspanError, match="has no adapter; write BASE.ADAPTER"):
        write(str(llada), tmp_path / "out")
    spec, _ = native_adapter(llada, tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(MidspanError, match="out exists; choose another -o folder"):
        write(spec, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_an_interrupted_merge_leaves_nothing(llada, tmp_path, monkeypatch) -> None:
    spec, _ = native_adapter(llada, tmp_path)
    monkeypatch.setattr("midspan.models.merging.load", lambda *_, **__: 1 / 0)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ZeroDivisionError):
        merge(spec, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before
