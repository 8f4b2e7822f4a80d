"""The second organism as it is shipped: stored in bfloat16, loaded by its name."""

import pytest
import torch
from safetensors import safe_open

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
    with pytest.raises(MidspanError, match=r"organism2:mosa: no adapter of organism2 is shipped"):
        weights.resolve("organism2:mosa")


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
