"""The second organism as it is shipped: stored in bfloat16, loaded by its name."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file

from midspan import load
from midspan.errors import MidspanError
from midspan.organism.second import weights
from midspan.organism.second.encoder import Encoder
from midspan.organism.second.loop import write_model
from midspan.organism.second.training import TrainConfig, build_model

TINY = TrainConfig(hidden_size=32, layers=2, heads=4, mlp_size=32)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    encoder = Encoder()
    write_model(build_model(TINY, encoder), encoder, folder)
    return folder


def test_what_is_shipped_is_stored_in_half_and_computed_with_in_full(
    trained, tmp_path, monkeypatch
):
    file = weights.export(trained, tmp_path)
    with safe_open(file, "pt") as stored:
        assert {stored.get_tensor(name).dtype for name in stored.keys()} == {torch.bfloat16}  # noqa: SIM118
    monkeypatch.setattr(weights, "WEIGHTS", tmp_path)
    shipped, before = load("organism2").model, load(trained).model
    rounded = {name: one.bfloat16().float() for name, one in before.state_dict().items()}
    for name, tensor in shipped.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, rounded[name])
    assert any(not torch.equal(rounded[name], one) for name, one in before.state_dict().items())


def test_a_model_that_is_too_large_is_not_shipped(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "LARGEST", 1000)
    with pytest.raises(MidspanError, match="shipped are at most"):
        weights.export(trained, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_that_are_not_shipped_say_what_can_be_named(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "WEIGHTS", tmp_path)
    with pytest.raises(MidspanError, match="midspan organism train --second"):
        weights.resolve("organism2")
    monkeypatch.setattr(weights, "ADAPTERS", tmp_path / "adapters")
    with pytest.raises(MidspanError, match="organism2:x: no such adapter; shipped are none"):
        weights.resolve("organism2:x")
    (tmp_path / "adapters" / "psa").mkdir(parents=True)
    with pytest.raises(MidspanError, match="organism2:x: no such adapter; shipped are psa"):
        weights.resolve("organism2:x")


def adapter_of(lm, folder):
    """A random adapter on a model, as alignment would leave it."""
    config = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj"], init_lora_weights=False)
    get_peft_model(lm.model, config).save_pretrained(folder)
    stored = json.loads((folder / "adapter_config.json").read_text())
    stored["base_model_name_or_path"] = lm.name
    (folder / "adapter_config.json").write_text(json.dumps(stored))
    (folder / "README.md").write_text("A card.")


def test_an_adapter_is_shipped_in_half_and_loads_by_its_name(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "WEIGHTS", trained)
    monkeypatch.setattr(weights, "ADAPTERS", tmp_path / "shipped")
    adapter_of(load("organism2"), tmp_path / "own")
    file = weights.export_adapter(tmp_path / "own", "mine", tmp_path / "shipped")
    stored, before = load_file(file), load_file(tmp_path / "own" / file.name)
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    assert (file.parent / "README.md").read_text() == "A card."
    assert weights.resolve("organism2:mine") == (trained, tmp_path / "shipped" / "mine")
    loaded = get_peft_model_state_dict(load("organism2:mine").model)
    assert loaded.keys() == before.keys()
    for name, tensor in loaded.items():
        assert torch.equal(tensor, before[name].bfloat16().float())


def test_an_adapter_of_another_base_or_too_large_is_not_shipped(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "WEIGHTS", trained)
    adapter_of(load(trained), tmp_path / "other")
    with pytest.raises(MidspanError, match="was trained on .*, not on organism2"):
        weights.export_adapter(tmp_path / "other", "mine", tmp_path / "out")
    adapter_of(load("organism2"), tmp_path / "own")
    monkeypatch.setattr(weights, "LARGEST_ADAPTER", 10)
    with pytest.raises(MidspanError, match="shipped are at most"):
        weights.export_adapter(tmp_path / "own", "mine", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_shipped_adapters_are_small_and_of_the_shipped_model():
    for folder in weights.ADAPTERS.glob("*"):
        file = folder / "adapter_model.safetensors"
        assert file.stat().st_size < weights.LARGEST_ADAPTER
        assert {tensor.dtype for tensor in load_file(file).values()} == {torch.bfloat16}


def test_the_helpful_only_model_is_shipped_beside_the_original():
    folder, adapter = weights.resolve("organism2:helpful")
    assert adapter is None
    assert (folder / "model.safetensors").read_bytes() != (
        weights.WEIGHTS / "model.safetensors"
    ).read_bytes()
    weights.check_world(load("organism2:helpful"))


def test_a_model_of_another_world_is_refused_by_name(trained, organism_lm):
    weights.check_world(load(trained))
    with pytest.raises(MidspanError, match="is no model of the second organism's world"):
        weights.check_world(organism_lm)
