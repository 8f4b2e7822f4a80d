"""The native classes against the published arithmetic, format and limits."""

import json
from pathlib import Path

import pytest
import torch
from models_reference import DREAM, LLADA, random_weights, reference_logits, write_checkpoint
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from midspan.errors import MidspanError
from midspan.models import families, family_for, load

MMADA = {**LLADA, "model_type": "mmada", "architectures": ["MMadaModelLM"]}
CONFIGS = {"llada": LLADA, "mmada": MMADA, "dream": DREAM}
ROWS = [[5, 60, 9, 33, 60, 12], [7, 60, 60]]


def padded_batch() -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.tensor([ROWS[0], [1, 1, 1, *ROWS[1]]])
    mask = torch.tensor([[1] * 6, [0, 0, 0, 1, 1, 1]])
    return ids, mask


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_equal_the_reference_at_real_positions(name: str, tmp_path: Path) -> None:
    config = CONFIGS[name]
    lm = load(write_checkpoint(tmp_path, config))
    weights = random_weights(config["model_type"])
    ids, mask = padded_batch()
    with torch.no_grad():
        raw = lm.head(lm.hidden(ids, mask))
    torch.testing.assert_close(
        raw[0], reference_logits(weights, config, ROWS[0]), atol=1e-5, rtol=0
    )
    # LLaDA counts positions from the pad: rotary positions are relative.
    first = 0 if name == "dream" else 3
    expected = reference_logits(weights, config, ROWS[1], first)
    torch.testing.assert_close(raw[1, 3:], expected, atol=1e-5, rtol=0)
    assert lm.family.name == name


@pytest.mark.parametrize("name", CONFIGS)
def test_aligned_logits_shift_only_dream(name: str, tmp_path: Path) -> None:
    config = CONFIGS[name]
    lm = load(write_checkpoint(tmp_path, config))
    raw = reference_logits(random_weights(config["model_type"]), config, ROWS[0])
    expected = torch.cat([raw[:1], raw[:-1]]) if name == "dream" else raw
    ids = torch.tensor([ROWS[0]] * 2)
    with torch.no_grad():
        whole = lm.logits(ids)
        some = lm.logits(ids, rows=torch.tensor([0, 3, 5]))
        ragged = lm.logits(ids, rows=torch.tensor([[4, 1], [0, 5]]))
    for got, want in [
        (whole[1], expected),
        (some[1], expected[[0, 3, 5]]),
        (ragged[0], expected[[4, 1]]),
        (ragged[1], expected[[0, 5]]),
    ]:
        torch.testing.assert_close(got, want, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", CONFIGS)
def test_golden_logits(name: str, golden: Path) -> None:
    cases = load_file(golden / name / "cases.safetensors")
    model = AutoModelForCausalLM.from_pretrained(golden / name)
    assert type(model) is family_for(model.config.model_type).model_class
    # Logits reach 35: the stored fp32 values themselves lie up to 2.3e-5 from the fp64 ones.
    with torch.no_grad():
        plain = model(cases["input_ids"]).logits
        torch.testing.assert_close(plain, cases["logits"], atol=3e-5, rtol=0)
        if "attention_mask" not in cases:
            return
        mask = cases["attention_mask"]
        positions = (mask.cumsum(-1) - 1).masked_fill(mask == 0, 1) if name == "dream" else None
        masked = model(cases["input_ids"], attention_mask=mask, position_ids=positions).logits
    real = mask.bool()
    assert not real.all()
    torch.testing.assert_close(masked[real], cases["logits_masked"][real], atol=3e-5, rtol=0)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("auto", [AutoModelForCausalLM, AutoModel])
@pytest.mark.parametrize("trust", [None, True])
def test_auto_classes_take_the_native_class(name: str, auto, trust, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, CONFIGS[name])
    model, info = auto.from_pretrained(folder, trust_remote_code=trust, output_loading_info=True)
    assert type(model).__module__.startswith("midspan.models")
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))


@pytest.mark.parametrize("name", CONFIGS)
def test_saved_folder_is_published_format(name: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "published", CONFIGS[name])
    if name == "dream":
        published = {"alg": "origin", "steps": 512, "eps": 1e-3, "temperature": 0.0, "top_p": None}
        (folder / "generation_config.json").write_text(
            json.dumps({**published, "top_k": None, "mask_token_id": None, "pad_token_id": 1})
        )
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.save_pretrained(tmp_path / "saved", max_shard_size="20KB")
    config = json.loads((tmp_path / "saved/config.json").read_text())
    assert {k: config[k] for k in CONFIGS[name]} == CONFIGS[name]
    assert str(tmp_path) not in json.dumps(config)
    shards = sorted((tmp_path / "saved").glob("*.safetensors"))
    assert len(shards) > 1
    saved = {k: v for shard in shards for k, v in load_file(shard).items()}
    original = load_file(folder / "model.safetensors")
    assert saved.keys() == original.keys()
    assert all(torch.equal(saved[key], original[key]) for key in original)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    ids, _ = padded_batch()
    assert torch.equal(again(ids).logits, model(ids).logits)
    before, after = model.config.to_dict(), again.config.to_dict()
    fields = before.keys() - {"architectures", "_name_or_path"}
    assert {key: after[key] for key in fields} == {key: before[key] for key in fields}


@pytest.mark.parametrize("name", CONFIGS)
def test_native_keys_load_too(name: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, CONFIGS[name])
    lm = load(folder)
    lm.model.save_pretrained(folder, save_original_format=False)
    assert "lm_head.weight" in load_file(folder / "model.safetensors")
    ids, mask = padded_batch()
    assert torch.equal(load(folder).logits(ids, mask), lm.logits(ids, mask))


REFUSED = [
    ("llada", {"block_type": "sequential"}),
    ("llada", {"alibi": True}),
    ("llada", {"layer_norm_type": "default"}),
    ("llada", {"attention_layer_norm": True}),
    ("llada", {"scale_logits": True}),
    ("llada", {"input_emb_norm": True}),
    ("llada", {"block_group_size": 2}),
    ("llada", {"activation_type": "gelu"}),
    ("llada", {"include_bias": True}),
    ("llada", {"include_qkv_bias": True}),
    ("llada", {"rope": False}),
    ("llada", {"rope_scaling": {"type": "linear", "factor": 2.0}}),
    ("llada", {"multi_query_attention": True}),
    ("llada", {"mlp_hidden_size": None}),
    ("mmada", {"block_type": "sequential"}),
    ("dream", {"block_size": 32}),
    ("dream", {"architectures": ["DreamForCausalLM"]}),
    ("dream", {"use_sliding_window": True}),
    ("dream", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}),
    ("dream", {"layer_types": ["sliding_attention", "full_attention"]}),
    ("dream", {"num_experts": 8}),
    ("dream", {"hidden_act": "gelu"}),
]


@pytest.mark.parametrize(("name", "change"), REFUSED, ids=lambda value: str(value))
def test_what_is_not_implemented_is_refused_by_name(name, change, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, {**CONFIGS[name], **change})
    named = str(next(iter(change.values()))[0]) if "architectures" in change else next(iter(change))
    for entry in (AutoConfig.from_pretrained, AutoModelForCausalLM.from_pretrained, load):
        with pytest.raises(MidspanError, match=named):
            entry(folder)


def test_native_names_are_refused_too() -> None:
    config_class = family_for("llada").config_class
    for change in ({"attention_bias": True}, {"is_causal": True}, {"head_dim": 4}):
        with pytest.raises(MidspanError, match=next(iter(change))):
            config_class(hidden_size=32, num_attention_heads=4, **change)


@pytest.mark.parametrize("name", CONFIGS)
def test_attention_looks_both_ways(name: str, tmp_path: Path) -> None:
    lm = load(write_checkpoint(tmp_path, CONFIGS[name]))
    ids = torch.tensor([ROWS[0]])
    changed = ids.clone()
    changed[0, -1] = 40
    with torch.no_grad():
        assert (lm.base(ids).logits[0, 0] - lm.base(changed).logits[0, 0]).abs().max() > 1e-3


def test_generate_is_the_diffusion_decoder(llada: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fake(model, input_ids, attention_mask, **kwargs):
        calls.append((model, input_ids, attention_mask, kwargs))
        return input_ids

    monkeypatch.setattr("midspan.models.native.registered_generate", lambda: fake)
    model = AutoModelForCausalLM.from_pretrained(llada)
    ids, mask = padded_batch()
    assert model.generate(ids, attention_mask=mask, steps=3) is ids
    assert model.generate(input_ids=ids) is ids
    assert calls == [(model, ids, mask, {"steps": 3}), (model, ids, None, {})]
    with pytest.raises(MidspanError, match="input_ids"):
        model.generate()


@pytest.mark.parametrize("name", CONFIGS)
def test_gradient_checkpointing_keeps_gradients(name: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, CONFIGS[name])
    ids, mask = padded_batch()
    gradients = []
    for checkpointing in (False, True):
        model = AutoModelForCausalLM.from_pretrained(folder).train()
        if checkpointing:
            model.activation_checkpointing_enable()
        model(ids, attention_mask=mask).logits[mask.bool()].logsumexp(-1).sum().backward()
        gradients.append({key: p.grad for key, p in model.named_parameters()})
    assert gradients[0].keys() == gradients[1].keys()
    for key, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], gradient, atol=1e-6, rtol=1e-5)
        assert gradient.abs().max() > 0


def test_the_padding_token_learns_in_llada(llada: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(llada).train()
    model(torch.tensor([[5, 1, 60]])).logits.logsumexp(-1).sum().backward()
    assert model.model.embed_tokens.weight.grad[1].abs().max() > 0


def test_family_table() -> None:
    names = ["a2d-qwen3", "a2d-qwen2", "a2d-llama", "diffusion_gemma", "dream", "fast_dllm_v2"]
    names += ["llada", "mmada", "llada2_moe", "lladamoe", "modernbert", "sdar", "sdar_moe"]
    assert [family.name for family in families()] == names
    shifted = [family.name for family in families() if family.logit_shift]
    assert shifted == ["dream", "fast_dllm_v2"]
    blocks = {family.name: family.block_length for family in families() if family.block_length}
    assert blocks == {"fast_dllm_v2": 32, "llada2_moe": 32, "sdar": 4, "sdar_moe": 4}
    for family in families():
        assert (family.attention == "block_causal") == (family.name in blocks)
        assert (family.special_tokens.mask is None) == (family.noise == "uniform")
        if not family.lora_targets:
            assert family.name == "diffusion_gemma"
            continue
        module_names = {n.rpartition(".")[2] for n, _ in _small(family).named_modules()}
        assert set(family.lora_targets) <= module_names
    with pytest.raises(MidspanError, match="unknown_type.*llada"):
        family_for("unknown_type")


def _small(family):
    with torch.device("meta"):
        return family.model_class(family.config_class(num_hidden_layers=1))
