"""Adapters on embeddings and head, as PEFT saves them: the base's own layers stand in the file."""

import json
from pathlib import Path

import pytest
import torch
from models_reference import DREAM, LLADA, LLADA_NAMES, write_checkpoint
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from midspan.errors import MidspanError
from midspan.models import attach_adapter, load
from midspan.models.merging import merge, publish_adapter

IDS = torch.tensor([[5, 60, 9, 33, 60, 12]])
LAYERS = {
    "head": {"target_modules": ["q_proj", "lm_head"]},
    "embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "both": {"target_modules": ["embed_tokens", "lm_head"]},
    "modules_to_save": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "single tokens": {"target_modules": ["q_proj"], "trainable_token_indices": [5, 6]},
}


def peft_saves(base: Path, adapter: Path, rows: int | None = None, **lora) -> None:
    """A random LoRA on the loaded base, saved by PEFT; `rows` resizes the vocabulary first."""
    model = load(base).model
    torch.manual_seed(0)
    if rows is not None:
        model.resize_token_embeddings(rows)
    save = lora.pop("save_embedding_layers", "auto")
    lora = {"target_modules": ["q_proj"], "init_lora_weights": False, **lora}
    get_peft_model(model, LoraConfig(r=4, lora_alpha=8, **lora)).save_pretrained(
        adapter, save_embedding_layers=save
    )


def stored_layers(adapter: Path) -> set[str]:
    keys = load_file(adapter / "adapter_model.safetensors")
    return {key for key in keys if ".lora_" not in key}


def change(adapter: Path, key: str, edit) -> None:
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({**tensors, key: edit(tensors[key])}, file)


def with_peft(base: Path, adapter: Path) -> torch.Tensor:
    """What PEFT's own loading computes."""
    with torch.no_grad():
        return PeftModel.from_pretrained(load(base).model, adapter).eval()(input_ids=IDS).logits


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`")
@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("config", [LLADA, DREAM], ids=["llada", "dream"])
def test_what_peft_saves_loads_as_peft_loads_it(config: dict, layers: str, tmp_path: Path) -> None:
    base = write_checkpoint(tmp_path / "base", config)
    peft_saves(base, tmp_path / "adapter", **LAYERS[layers])
    assert stored_layers(tmp_path / "adapter"), "PEFT saves more than low-rank factors here"
    expected = with_peft(base, tmp_path / "adapter")
    lm = load(base, adapter=tmp_path / "adapter")
    with torch.no_grad():
        assert torch.equal(lm.model(input_ids=IDS).logits, expected)
        with lm.adapter_disabled():
            assert torch.equal(lm.logits(IDS), load(base).logits(IDS))
        attached = attach_adapter(load(base), tmp_path / "adapter")
        assert torch.equal(attached.model(input_ids=IDS).logits, expected)
        merged = load(str(merge(f"{base}+{tmp_path / 'adapter'}", tmp_path / "merged")))
        torch.testing.assert_close(merged.model(input_ids=IDS).logits, expected, atol=3e-5, rtol=0)


@pytest.mark.parametrize("trained_whole", [[], ["lm_head"]])
def test_embeddings_saved_because_the_trainer_said_so(
    llada: Path, tmp_path: Path, trained_whole: list[str]
) -> None:
    save = {"save_embedding_layers": True, "modules_to_save": trained_whole}
    peft_saves(llada, tmp_path / "adapter", **save)
    assert len(stored_layers(tmp_path / "adapter")) == 2 + 2 * len(trained_whole)
    expected = with_peft(llada, tmp_path / "adapter")
    lm = load(llada, adapter=tmp_path / "adapter")
    assert torch.equal(lm.model(input_ids=IDS).logits, expected)


def test_layers_of_the_base_are_compared_where_they_are_offloaded(
    llada: Path, tmp_path: Path
) -> None:
    peft_saves(llada, tmp_path / "adapter", save_embedding_layers=True)
    places = ("model.embed_tokens", "model.layers", "model.norm", "model.rotary_emb")
    device_map = {**dict.fromkeys(places, "cpu"), "lm_head": "disk"}
    lm = load(llada, adapter=tmp_path / "adapter", device_map=device_map)
    assert lm.base.lm_head.weight.is_meta
    assert torch.equal(lm.logits(IDS), load(llada, adapter=tmp_path / "adapter").logits(IDS))
    change(tmp_path / "adapter", "base_model.model.lm_head.weight", lambda weight: weight + 1)
    with pytest.raises(MidspanError, match="lm_head.*other values"):
        load(llada, adapter=tmp_path / "adapter", device_map=device_map)


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`")
def test_a_base_layer_rounded_to_the_trainings_dtype_is_the_bases(
    llada: Path, tmp_path: Path
) -> None:
    """Trained on the base in bfloat16: the file holds the rounded layer, the base the exact one."""
    peft_saves(llada, tmp_path / "adapter", **LAYERS["head"])
    (layer,) = stored_layers(tmp_path / "adapter")
    change(tmp_path / "adapter", layer, lambda weight: weight.bfloat16())
    base_head = load(llada).base.lm_head.weight
    lm = load(llada, adapter=tmp_path / "adapter")
    assert torch.equal(lm.base.lm_head.base_layer.weight, base_head)


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`")
def test_a_trained_base_layer_is_refused_by_name(llada: Path, tmp_path: Path) -> None:
    peft_saves(llada, tmp_path / "adapter", **LAYERS["head"])
    (layer,) = stored_layers(tmp_path / "adapter")

    def one_weight_up(weight: torch.Tensor) -> torch.Tensor:
        weight[63, 31] += 1e-3
        return weight

    change(tmp_path / "adapter", layer, one_weight_up)
    with pytest.raises(MidspanError, match="lm_head.*other values.*modules_to_save") as caught:
        load(llada, adapter=tmp_path / "adapter")
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`")
@pytest.mark.parametrize("rows", [72, 62])
@pytest.mark.parametrize("layers", ["plain", "head", "modules_to_save"])
def test_resized_embeddings_are_refused_as_such(
    llada: Path, tmp_path: Path, rows: int, layers: str
) -> None:
    peft_saves(llada, tmp_path / "adapter", rows, **LAYERS.get(layers, {}))
    with pytest.raises(MidspanError, match=f"resized.* {rows} rows.* 64.*merge") as caught:
        load(llada, adapter=tmp_path / "adapter")
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`")
def test_base_layers_do_not_stand_in_for_lost_tensors(llada: Path, tmp_path: Path) -> None:
    peft_saves(llada, tmp_path / "adapter", **LAYERS["head"])
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    save_file({k: v for k, v in load_file(file).items() if "lm_head.lora_B" not in k}, file)
    with pytest.raises(MidspanError, match="1 tensors are missing, among them.*lm_head.lora_B"):
        load(llada, adapter=tmp_path / "adapter")


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`")
def test_published_names_and_a_layer_of_the_base(llada: Path, tmp_path: Path) -> None:
    """The published class's head saved along, as by save_embedding_layers=True on it."""
    peft_saves(llada, tmp_path / "native", **LAYERS["head"])
    spec = f"{llada}+{tmp_path / 'native'}"
    published = publish_adapter(spec, tmp_path / "published")
    assert not stored_layers(published)
    file = published / "adapter_model.safetensors"
    head = load(llada).base.lm_head.weight
    layer = {f"base_model.model.{LLADA_NAMES['head']}.base_layer.weight": head.detach().clone()}
    save_file({**load_file(file), **layer}, file)
    lm = load(llada, adapter=published)
    assert torch.equal(lm.logits(IDS), load(spec).logits(IDS))


def test_a_pickled_adapter_is_refused_with_the_way_to_convert_it(
    llada: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peft_saves(llada, tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    torch.save(load_file(file), tmp_path / "adapter" / "adapter_model.bin")
    file.unlink()
    with pytest.raises(MidspanError, match=r"adapter_model\.bin.*not read.*save_file") as caught:
        load(llada, adapter=tmp_path / "adapter")
    assert "\n" not in str(caught.value)
    # What the message says converts it.
    command = str(caught.value).partition('python -c "')[2].rpartition('"')[0]
    assert command
    monkeypatch.chdir(tmp_path / "adapter")
    exec(command, {})
    expected = with_peft(llada, tmp_path / "adapter")
    lm = load(llada, adapter=tmp_path / "adapter")
    assert torch.equal(lm.model(input_ids=IDS).logits, expected)


def test_a_model_of_this_machines_hub_cache_is_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    from midspan.models.adapters import is_another_model

    assert not is_another_model("alice/finetuned", "GSAI-ML/LLaDA-8B-Instruct")
    found = {"alice/finetuned": "/cache/config.json"}
    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda repo, file: found.get(repo)
    )
    assert is_another_model("alice/finetuned", "GSAI-ML/LLaDA-8B-Instruct")


TRAINED_ON = {
    # where the adapter says it was trained, the base that is to take it, whether that is refused
    "the same": ("GSAI-ML/LLaDA-8B-Instruct", "GSAI-ML/LLaDA-8B-Instruct", False),
    "another case": ("gsai-ml/llada-8b-instruct", "GSAI-ML/LLaDA-8B-Instruct", False),
    "a folder here then": ("models/LLaDA-8B-Instruct", "GSAI-ML/LLaDA-8B-Instruct", False),
    "a folder of another name": ("models/base", "GSAI-ML/LLaDA-8B-Instruct", False),
    "./": ("./LLaDA-8B", "GSAI-ML/LLaDA-8B-Instruct", False),
    "../": ("../LLaDA-8B", "GSAI-ML/LLaDA-8B-Instruct", False),
    "absolute": ("/data/LLaDA-8B", "GSAI-ML/LLaDA-8B-Instruct", False),
    "deep": ("work/models/LLaDA-8B", "GSAI-ML/LLaDA-8B-Instruct", False),
    "nothing": ("", "GSAI-ML/LLaDA-8B-Instruct", False),
    "the base is a folder": ("GSAI-ML/LLaDA-8B-Base", "/data/base", False),
    "another model": ("GSAI-ML/LLaDA-8B-Base", "GSAI-ML/LLaDA-8B-Instruct", True),
    "another model, another case": ("gsai-ml/llada-8b-base", "GSAI-ML/LLaDA-8B-Instruct", True),
}


@pytest.mark.parametrize("case", TRAINED_ON)
def test_another_base_is_told_from_another_place(llada: Path, tmp_path: Path, case: str) -> None:
    from midspan.models.adapters import read_adapter
    from midspan.models.llada import LladaForMaskedDiffusion

    trained_on, base, is_refused = TRAINED_ON[case]
    peft_saves(llada, tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "base_model_name_or_path": trained_on}))
    if not is_refused:
        read_adapter(tmp_path / "adapter", LladaForMaskedDiffusion, base)
        return
    with pytest.raises(
        MidspanError, match="trained on .*(?i:-base), not on .*base_model_name_or_path"
    ) as caught:
        read_adapter(tmp_path / "adapter", LladaForMaskedDiffusion, base)
    assert "\n" not in str(caught.value)
