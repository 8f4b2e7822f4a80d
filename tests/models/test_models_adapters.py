"""Adapters: native and published key names, whole or not at all."""

import json
import re
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from models_reference import (
    DREAM,
    LLADA,
    LLADA_NAMES,
    SHAPES,
    random_weights,
    reference_logits,
    write_checkpoint,
)
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode

from midspan.errors import MidspanError
from midspan.models import DiffusionLM, attach_adapter, load, sources
from midspan.models.sharing import load_sharing
from midspan.models.sources import register_alias

PARTS = [part for part in SHAPES if part.endswith("proj")]
IDS = [5, 60, 9, 33, 60, 12]
SCALE = 2.0


def published_adapter(folder: Path, parts=PARTS, head: bool = False) -> dict[str, torch.Tensor]:
    """Write a LoRA in published names; returns the base weights with it merged by hand."""
    weights, generator = random_weights("llada"), torch.Generator().manual_seed(7)
    modules = [LLADA_NAMES["layer"].format(i) + LLADA_NAMES[p] for i in range(2) for p in parts]
    tensors = {}
    for module in [*modules, *([LLADA_NAMES["head"]] if head else [])]:
        rows, columns = weights[f"{module}.weight"].shape
        a = 0.2 * torch.randn(4, columns, generator=generator)
        b = 0.2 * torch.randn(rows, 4, generator=generator)
        tensors[f"base_model.model.{module}.lora_A.weight"] = a
        tensors[f"base_model.model.{module}.lora_B.weight"] = b
        weights[f"{module}.weight"] = weights[f"{module}.weight"] + SCALE * b @ a
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8}
    config["target_modules"] = [LLADA_NAMES[part] for part in parts]
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return weights


def edit_config(folder: Path, **change) -> None:
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, **change}))


@pytest.mark.parametrize("head", [False, True])
def test_adapter_of_the_published_class(llada: Path, tmp_path: Path, head: bool) -> None:
    merged = published_adapter(tmp_path / "adapter", head=head)
    lm = load(f"{llada}+{tmp_path / 'adapter'}")
    ids = torch.tensor([IDS])
    with torch.no_grad():
        on = lm.logits(ids)[0]
        with lm.adapter_disabled():
            off = lm.logits(ids)[0]
    base = reference_logits(random_weights("llada"), LLADA, IDS)
    torch.testing.assert_close(on, reference_logits(merged, LLADA, IDS), atol=3e-5, rtol=0)
    torch.testing.assert_close(off, base, atol=1e-5, rtol=0)
    assert (on - off).abs().max() > 0.1


def test_a_merged_adapter_computes_the_same_and_comes_off(llada: Path, tmp_path: Path) -> None:
    published_adapter(tmp_path / "adapter")
    lm = load(f"{llada}+{tmp_path / 'adapter'}")
    ids = torch.tensor([IDS])
    with torch.no_grad():
        apart = lm.logits(ids)
        lm.merge_adapter()
        projection = lm.base.model.layers[0].self_attn.q_proj
        assert projection.merged
        torch.testing.assert_close(lm.logits(ids), apart, atol=3e-5, rtol=0)
        with lm.adapter_disabled():
            base = reference_logits(random_weights("llada"), LLADA, IDS)
            torch.testing.assert_close(lm.logits(ids)[0], base, atol=3e-5, rtol=0)
        torch.testing.assert_close(lm.logits(ids), apart, atol=3e-5, rtol=0)
    load(llada).merge_adapter()


def test_a_merge_for_a_while_leaves_no_trace(llada: Path, tmp_path: Path) -> None:
    published_adapter(tmp_path / "adapter")
    lm = load(f"{llada}+{tmp_path / 'adapter'}")
    before = {name: weight.clone() for name, weight in lm.model.state_dict().items()}
    projection = lm.base.model.layers[0].self_attn.q_proj
    with lm.adapter_merged():
        assert projection.merged
        lm.merge_adapter()  # again: nothing to do, and nothing to warn of
        with lm.adapter_merged():
            pass
        assert projection.merged
    assert not projection.merged
    assert all(torch.equal(before[name], w) for name, w in lm.model.state_dict().items())


def test_half_precision_stays_apart(llada: Path, tmp_path: Path) -> None:
    published_adapter(tmp_path / "adapter")
    lm = load(f"{llada}+{tmp_path / 'adapter'}", dtype="bfloat16")
    lm.merge_adapter()
    assert not lm.base.model.layers[0].self_attn.q_proj.merged


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_an_adapter_computes_in_the_format_of_its_base(
    llada: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    """Nothing is cast on the way, and the logits are no further off than with a float32 adapter."""
    published_adapter(tmp_path / "adapter")
    ids = torch.tensor([IDS])
    with torch.no_grad():
        exact = load(llada, adapter=tmp_path / "adapter").logits(ids)
        lm = attach_adapter(load(llada, dtype=dtype), tmp_path / "adapter")
        weights = {name: weight for name, weight in lm.model.named_parameters() if "lora" in name}
        assert len(weights) == 28 and {weight.dtype for weight in weights.values()} == {dtype}
        lm.logits(ids)  # Keeps the rotations.
        with Casts() as with_adapter:
            cast = lm.logits(ids)
        with Casts() as without, lm.adapter_disabled():
            lm.logits(ids)
        stored = load_file(tmp_path / "adapter/adapter_model.safetensors").values()
        assert {tensor.dtype for tensor in stored} == {torch.float32}
        for layer in lm.model.modules():
            if isinstance(layer, LoraLayer):
                layer.lora_A.float(), layer.lora_B.float()
        masters = lm.logits(ids)
    assert with_adapter.count == without.count > 0
    off, off_masters = ((logits.float() - exact).norm() for logits in (cast, masters))
    assert off < 1.5 * off_masters
    assert off < 0.03 * exact.norm()


class Casts(TorchDispatchMode):
    """Counts changes of number format."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._to_copy.default
        return function(*args, **(kwargs or {}))


def test_attaching_equals_loading(llada: Path, tmp_path: Path) -> None:
    published_adapter(tmp_path / "adapter")
    plain = load(llada)
    before = plain.fingerprint
    whole = load(llada, adapter=tmp_path / "adapter")
    attached = attach_adapter(plain, tmp_path / "adapter")
    ids = torch.tensor([IDS])
    assert torch.equal(attached.logits(ids), whole.logits(ids))
    assert attached.fingerprint == whole.fingerprint != before
    assert attached.name == whole.name
    with pytest.raises(MidspanError, match="adapter already"):
        attach_adapter(attached, tmp_path / "adapter")


@pytest.mark.parametrize("config", [LLADA, DREAM], ids=["llada", "dream"])
def test_native_adapter_survives_saving(config: dict, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    folder = write_checkpoint(tmp_path / "base", config)
    lm = load(folder)
    torch.manual_seed(0)
    lora = LoraConfig(r=4, target_modules=list(lm.family.lora_targets), init_lora_weights=False)
    lm.model = get_peft_model(lm.model, lora).eval()
    ids = torch.tensor([IDS])
    trained = lm.logits(ids)
    lm.model.save_pretrained(tmp_path / "adapter")
    again = load(folder, adapter=tmp_path / "adapter")
    assert torch.equal(again.logits(ids), trained)
    with again.adapter_disabled():
        assert torch.equal(again.logits(ids), load(folder).logits(ids))


def refused(llada: Path | str, adapter: Path, match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from midspan.models.llada import LladaForMaskedDiffusion

    def too_late(*args, **kwargs):
        raise AssertionError("weights were read before the adapter was checked")

    monkeypatch.setattr(LladaForMaskedDiffusion, "from_pretrained", too_late)
    with pytest.raises(MidspanError, match=match) as caught:
        load(llada, adapter=adapter)
    assert "\n" not in str(caught.value)


def test_partial_adapter_is_refused(llada, tmp_path, monkeypatch) -> None:
    """Native names, one module's tensors lost: PEFT itself would leave it at its start value."""
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(load(llada).model, LoraConfig(r=4, target_modules=["o_proj"]))
    model.save_pretrained(tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = {k: v for k, v in load_file(file).items() if "layers.1" not in k}
    save_file(tensors, file)
    refused(llada, tmp_path / "adapter", "tensors are missing, among them.*layers.1", monkeypatch)


def test_superfluous_adapter_keys_are_refused(llada, tmp_path, monkeypatch) -> None:
    published_adapter(tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    extra = {"base_model.model.model.transformer.blocks.9.ff_out.lora_A.weight": torch.zeros(4, 48)}
    save_file({**load_file(file), **extra}, file)
    refused(llada, tmp_path / "adapter", "fit nothing in the model.*layers.9", monkeypatch)


def test_adapter_of_another_size_is_refused(llada, tmp_path, monkeypatch) -> None:
    published_adapter(tmp_path / "adapter")
    edit_config(tmp_path / "adapter", r=8)
    refused(llada, tmp_path / "adapter", "has shape", monkeypatch)


def test_adapter_without_files_is_refused(llada, tmp_path, monkeypatch) -> None:
    (tmp_path / "empty").mkdir()
    refused(llada, tmp_path / "empty", "adapter_config.json is missing", monkeypatch)
    published_adapter(tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    refused(llada, tmp_path / "adapter", "adapter_model.safetensors is missing", monkeypatch)
    refused(llada, tmp_path / "nowhere", "there is no folder", monkeypatch)


def test_adapter_for_other_modules_is_refused(llada, tmp_path, monkeypatch) -> None:
    published_adapter(tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    renamed = {k.replace("q_proj", "c_attn"): v for k, v in load_file(file).items()}
    save_file(renamed, file)
    refused(llada, tmp_path / "adapter", "fit nothing in the model.*c_attn", monkeypatch)


def test_published_patterns_are_refused(llada, tmp_path, monkeypatch) -> None:
    published_adapter(tmp_path / "adapter")
    edit_config(tmp_path / "adapter", rank_pattern={"ff_out": 8})
    refused(llada, tmp_path / "adapter", "rank_pattern", monkeypatch)


def test_prompt_learning_is_refused(llada, tmp_path, monkeypatch) -> None:
    published_adapter(tmp_path / "adapter", parts=[])
    config = {"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": 4}
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    refused(llada, tmp_path / "adapter", "PROMPT_TUNING is not supported", monkeypatch)


def test_adapter_of_another_base_is_refused(llada, tmp_path) -> None:
    from midspan.models.adapters import read_adapter
    from midspan.models.llada import LladaForMaskedDiffusion

    published_adapter(tmp_path / "adapter")
    edit_config(tmp_path / "adapter", base_model_name_or_path="GSAI-ML/LLaDA-8B-Base")
    read_adapter(tmp_path / "adapter", LladaForMaskedDiffusion, "GSAI-ML/LLaDA-8B-Base")
    with pytest.raises(MidspanError, match="trained on GSAI-ML/LLaDA-8B-Base, not on GSAI-ML/LL"):
        read_adapter(tmp_path / "adapter", LladaForMaskedDiffusion, "GSAI-ML/LLaDA-8B-Instruct")


@pytest.fixture
def registered(llada: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`toy` with a variant of other weights, `other` of the same shapes; an adapter of `toy`."""
    monkeypatch.setattr(sources, "_ALIASES", {})
    again = shutil.copytree(llada, tmp_path / "again")
    register_alias("toy", lambda name: (again if name == "toy:again" else llada, None))
    register_alias("other", lambda name: (again, None))
    published_adapter(tmp_path / "adapter")
    edit_config(tmp_path / "adapter", base_model_name_or_path="toy")
    return tmp_path / "adapter"


def loaded_apart(spec: str, adapter: Path) -> DiffusionLM:
    return attach_adapter(load(spec), adapter)


def loaded_sharing(spec: str, adapter: Path) -> DiffusionLM:
    return load_sharing([f"{spec}+{adapter}"])[f"{spec}+{adapter}"]


WAYS = {
    "at once": lambda spec, adapter: load(f"{spec}+{adapter}"),
    "apart": loaded_apart,
    "sharing": loaded_sharing,
}


@pytest.mark.parametrize("way", WAYS)
def test_an_adapter_of_another_registered_model_is_refused_by_name(registered, way) -> None:
    said = f"adapter {registered} was trained on toy, and the model is other; load it on toy"
    with pytest.raises(MidspanError, match=re.escape(said)):
        WAYS[way]("other", registered)


@pytest.mark.parametrize("way", WAYS)
def test_an_adapter_of_another_variant_is_warned_of(registered, way) -> None:
    with pytest.warns(UserWarning, match="was trained on toy, and the model is toy:again") as said:
        WAYS[way]("toy:again", registered)
    assert len([one for one in said if "was trained on" in str(one.message)]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        WAYS[way]("toy", registered)
        WAYS[way]("toy:same", registered)


def test_an_adapter_of_the_other_organism_is_refused_before_weights_are_read(monkeypatch) -> None:
    from midspan.organism import weights
    from midspan.organism.second import weights as second

    refused("organism2", weights.ADAPTERS / "psa", "on organism, .* is organism2;", monkeypatch)
    refused("organism", second.ADAPTERS / "psa", "on organism2, .* is organism;", monkeypatch)


@pytest.mark.parametrize("named", ["", "models/base", "toy", "organism:nothing", "organism2"])
def test_another_name_alone_refuses_no_adapter(llada, tmp_path, named) -> None:
    published_adapter(tmp_path / "adapter")
    edit_config(tmp_path / "adapter", base_model_name_or_path=named)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        load(llada, adapter=tmp_path / "adapter")


@pytest.mark.parametrize("change", [{"r": 8}, {"r": -1}, {}])
def test_a_misfit_says_which_base_the_adapter_names(llada, tmp_path, monkeypatch, change) -> None:
    adapter = tmp_path / "adapter"
    published_adapter(adapter)
    file = adapter / "adapter_model.safetensors"
    extra = {"base_model.model.model.layers.9.mlp.up_proj.lora_A.weight": torch.zeros(4, 48)}
    save_file({**load_file(file), **({} if change else extra)}, file)
    edit_config(adapter, base_model_name_or_path="models/mine", **change)
    said = f"adapter {adapter} was made for models/mine (its adapter_config.json) and does not fit "
    refused(llada, adapter, f"^{re.escape(f'{said}{llada}: ')}", monkeypatch)
    edit_config(adapter, base_model_name_or_path=f"elsewhere/{llada.name}")
    refused(llada, adapter, f"^adapter {adapter} does not fit this model: ", monkeypatch)


def test_an_adapter_on_an_offloaded_layer_is_refused(llada: Path, tmp_path: Path) -> None:
    """PEFT would leave its tensors on the meta device, where their values are lost."""
    published_adapter(tmp_path / "adapter")
    places = ("model.embed_tokens", "model.layers.0", "model.norm", "model.rotary_emb", "lm_head")
    device_map = {**dict.fromkeys(places, "cpu"), "model.layers.1": "cpu"}
    ids = torch.tensor([IDS])
    lm = load(llada, adapter=tmp_path / "adapter", device_map=device_map)
    assert torch.equal(lm.logits(ids), load(llada, adapter=tmp_path / "adapter").logits(ids))
    with pytest.raises(MidspanError, match="layers.1.*device_map offloads.*midspan merge"):
        load(
            llada, adapter=tmp_path / "adapter", device_map={**device_map, "model.layers.1": "disk"}
        )


def test_gradients_reach_the_adapter_through_checkpointing(llada: Path) -> None:
    from peft import LoraConfig, get_peft_model

    lm = load(llada)
    lm.model = get_peft_model(lm.model, LoraConfig(r=4, target_modules=["q_proj", "down_proj"]))
    lm.model.train()
    lm.base.activation_checkpointing_enable()
    lm.logits(torch.tensor([IDS]), rows=torch.tensor([1, 4])).logsumexp(-1).sum().backward()
    learned = [p.grad for n, p in lm.model.named_parameters() if "lora_B" in n]
    assert len(learned) == 4
    assert all(gradient.abs().max() > 0 for gradient in learned)
