"""Block-causal attention and mixtures of experts against the published arithmetic and format."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from blocks_reference import CONFIGS, aligned_reference, reference_logits, write_checkpoint
from models_reference import LLADA
from models_reference import write_checkpoint as write_llada
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from midspan.errors import MidspanError
from midspan.models import family_for, load
from midspan.models.attention import block_causal_mask, for_attention
from midspan.models.llada import LladaForMaskedDiffusion

ROWS = [[5, 60, 9, 33, 60, 12, 7, 60, 60, 11], [7, 60, 8, 60, 60, 40, 13]]
BLOCK_CAUSAL = [name for name in CONFIGS if name != "lladamoe"]
MIXTURES = ("sdar_moe", "lladamoe", "llada2_moe")


def padded_batch() -> tuple[torch.Tensor, torch.Tensor]:
    pads = len(ROWS[0]) - len(ROWS[1])
    mask = torch.tensor([[1] * 10, [0] * pads + [1] * 7])
    return torch.tensor([ROWS[0], [1] * pads + ROWS[1]]), mask


def test_the_mask_by_hand() -> None:
    real = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
    rows = [
        ["xx...", "xx...", "xxxx.", "xxxx.", "xxxxx"],
        ["x....", ".x...", "..xx.", "..xx.", "..xxx"],
    ]
    expected = torch.tensor([[[mark == "x" for mark in line] for line in row] for row in rows])
    assert torch.equal(block_causal_mask(real, 2)[:, 0], expected)
    assert torch.equal(block_causal_mask(real, 2, queries=2)[:, 0], expected[:, 3:])


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_equal_the_reference_alone_and_in_a_ragged_batch(name: str, tmp_path: Path) -> None:
    block = {"block_size": 4} if name in BLOCK_CAUSAL else {}
    lm = load(write_checkpoint(tmp_path, name, **block))
    ids, mask = padded_batch()
    with torch.no_grad():
        batch, rows = lm.logits(ids, mask), lm.logits(ids, mask, rows=torch.tensor([9, 4]))
        for row, own in enumerate(ROWS):
            alone = lm.logits(torch.tensor([own]))[0]
            expected = aligned_reference(name, own, block=block.get("block_size"))
            torch.testing.assert_close(alone, expected, atol=2e-5, rtol=0)
            # Behind a pad, nothing predicts a row's first token where logits are shifted.
            since = int(lm.family.logit_shift)
            padded = batch[row, -len(own) :][since:]
            torch.testing.assert_close(padded, alone[since:], atol=1e-5, rtol=0)
            torch.testing.assert_close(rows[row], batch[row, [9, 4]], atol=1e-5, rtol=0)
    assert lm.family.name == name
    assert batch.isfinite().all()


@pytest.mark.parametrize("name", BLOCK_CAUSAL)
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_the_bare_model_masks_as_well(name: str, implementation: str, tmp_path: Path) -> None:
    lm = load(write_checkpoint(tmp_path, name, block_size=3))
    assert lm.block_length == 3
    ids, mask = padded_batch()
    expected = aligned_reference(name, ROWS[1], block=3)
    raw = reference_logits(name, ROWS[1], block=3)
    lm.base.set_attn_implementation(implementation)
    with torch.no_grad():
        bare = lm.base(ids, attention_mask=mask).logits[1, -7:]
        torch.testing.assert_close(bare, raw, atol=2e-5, rtol=0)
        torch.testing.assert_close(lm.logits(ids, mask)[1, -6:], expected[1:], atol=2e-5, rtol=0)
        other = dataclasses.replace(lm, block_length=10).logits(torch.tensor([ROWS[1]]))[0]
    torch.testing.assert_close(other, aligned_reference(name, ROWS[1], block=10), atol=2e-5, rtol=0)
    assert (other - expected).abs().max() > 1e-2


@pytest.mark.parametrize(("name", "change"), [
    ("sdar", {"block_size": 8}), ("fast_dllm_v2", {"bd_size": 8}),
    ("sdar_moe", {"num_experts_per_tok": 3}), ("lladamoe", {"rms_norm_eps": 1e-4}),
    ("llada2_moe", {"routed_scaling_factor": 1.5}),
])  # fmt: skip
def test_what_no_weight_shows_is_in_the_fingerprint(name, change, tmp_path: Path) -> None:
    changes = enumerate(({}, {}, change))
    folders = [write_checkpoint(tmp_path / str(i), name, **fields) for i, fields in changes]
    first, same, other = (load(folder).fingerprint for folder in folders)
    assert first == same != other


def test_other_blocks_are_another_model(tmp_path: Path) -> None:
    lm = load(write_checkpoint(tmp_path, "sdar"))
    other = dataclasses.replace(lm, block_length=8)
    prints = {other.fingerprint, dataclasses.replace(lm, block_length=2).fingerprint}
    assert len({lm.fingerprint, *prints}) == 3
    assert dataclasses.replace(other, name="other").fingerprint == other.fingerprint
    assert dataclasses.replace(other, block_length=4).fingerprint == lm.fingerprint


def test_a_cache_continues_a_sequence(tmp_path: Path) -> None:
    from transformers import DynamicCache

    lm = load(write_checkpoint(tmp_path, "sdar"))
    ids = torch.tensor([ROWS[0]])
    cache = DynamicCache(config=lm.base.config)
    mask = for_attention(block_causal_mask(torch.ones_like(ids), 4, queries=2), lm.base)
    with torch.no_grad():
        whole = lm.logits(ids)
        lm.base(ids[:, :8], past_key_values=cache, use_cache=True, attention_mask=for_attention(
            block_causal_mask(torch.ones_like(ids[:, :8]), 4), lm.base))  # fmt: skip
        last = lm.base(ids[:, 8:], past_key_values=cache, attention_mask=mask).logits
        torch.testing.assert_close(last, whole[:, 8:], atol=1e-5, rtol=0)
        with pytest.raises(MidspanError, match="with a cache, give attention_mask"):
            lm.base(ids, past_key_values=cache)
    lm.base.config._attn_implementation = "flash_attention_2"
    with pytest.raises(MidspanError, match="flash_attention_2.*use sdpa or eager"):
        for_attention(mask, lm.base)


GOLDEN_FAMILIES = {"sdar": "sdar", "lladamoe": "lladamoe", "llada2_moe": "llada2_moe"}


@pytest.mark.parametrize("name", GOLDEN_FAMILIES)
def test_golden_logits(name: str, golden: Path) -> None:
    cases = load_file(golden / name / "cases.safetensors")
    block = {} if name == "lladamoe" else {"block_size": 8}
    model = AutoModelForCausalLM.from_pretrained(golden / name, **block)
    assert type(model) is family_for(name).model_class
    # Measured: at most 2.5e-6, at logits up to 4; experts are summed in another order.
    with torch.no_grad():
        logits = model(cases["input_ids"]).logits
        torch.testing.assert_close(logits, cases["logits"], atol=1e-5, rtol=0)
        if block:
            logits = model(cases["input_ids"], attention_mask=cases["block_mask"]).logits
            torch.testing.assert_close(logits, cases["logits"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", GOLDEN_FAMILIES)
def test_golden_folder_survives_saving(name: str, golden: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(golden / name)
    model.save_pretrained(tmp_path)
    before, after = (load_file(f / "model.safetensors") for f in (golden / name, tmp_path))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    wanted, saved = (json.loads((f / "config.json").read_text()) for f in (golden / name, tmp_path))
    version = "transformers_version"
    assert {key: saved[key] for key in wanted if key != version} == {
        key: value for key, value in wanted.items() if key != version
    }


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("auto", [AutoModelForCausalLM, AutoModel])
def test_saved_folder_is_published_format(name: str, auto, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "published", name)
    model, info = auto.from_pretrained(folder, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    model.save_pretrained(tmp_path / "saved", max_shard_size="40KB")
    config = json.loads((tmp_path / "saved/config.json").read_text())
    assert {key: config[key] for key in CONFIGS[name]} == CONFIGS[name]
    shards = sorted((tmp_path / "saved").glob("*.safetensors"))
    saved = {key: value for shard in shards for key, value in load_file(shard).items()}
    original = load_file(folder / "model.safetensors")
    assert len(shards) > 1
    assert saved.keys() == original.keys()
    assert all(torch.equal(saved[key], original[key]) for key in original)
    again = auto.from_pretrained(tmp_path / "saved")
    ids, mask = padded_batch()
    assert torch.equal(
        again(ids, attention_mask=mask).logits, model(ids, attention_mask=mask).logits
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_native_keys_load_too(name: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, name)
    lm = load(folder)
    lm.model.save_pretrained(folder, save_original_format=False)
    keys = load_file(folder / "model.safetensors").keys()
    assert not any("experts.0." in key or "query_key_value" in key for key in keys)
    ids, mask = padded_batch()
    assert torch.equal(load(folder).logits(ids, mask), lm.logits(ids, mask))


def test_the_smallest_sdar_ties_its_head(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, "sdar", tie_word_embeddings=True)
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    lm = load(folder)
    assert lm.base.lm_head.weight is lm.base.model.embed_tokens.weight
    lm.model.save_pretrained(tmp_path / "saved")
    assert load_file(tmp_path / "saved/model.safetensors").keys() == weights.keys()


def test_generate_of_the_class_denoises(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, "sdar", eos_token_id=1)
    model = AutoModelForCausalLM.from_pretrained(folder)
    ids, mask = padded_batch()
    made = model.generate(ids, attention_mask=mask, max_new_tokens=8, steps=8, block_length=4)
    assert made.shape == (2, 18)
    assert torch.equal(made[:, :10], ids)
    assert not (made[:, 10:] == 60).any()


REFUSED = [
    ("sdar", {"attention_bias": True}),
    ("sdar", {"use_sliding_window": True}),
    ("sdar", {"block_size": 0}),
    ("sdar", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}),
    ("sdar", {"hidden_act": "gelu"}),
    ("sdar", {"layer_types": ["sliding_attention", "full_attention"]}),
    ("fast_dllm_v2", {"bd_size": 0}),
    ("fast_dllm_v2", {"attention_bias": True}),
    ("fast_dllm_v2", {"use_sliding_window": True}),
    ("fast_dllm_v2", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}),
    ("fast_dllm_v2", {"layer_types": ["sliding_attention", "full_attention"]}),
    ("fast_dllm_v2", {"num_experts": 8}),
    ("sdar_moe", {"norm_topk_prob": False}),
    ("sdar_moe", {"decoder_sparse_step": 2}),
    ("sdar_moe", {"mlp_only_layers": [0]}),
    ("lladamoe", {"moe_router_enable_expert_bias": True}),
    ("lladamoe", {"moe_router_score_function": "sigmoid"}),
    ("lladamoe", {"shared_expert_intermediate_size": 16}),
    ("lladamoe", {"num_shared_experts": 1}),
    ("lladamoe", {"clip_qkv": 8.0}),
    ("lladamoe", {"norm_topk_prob": True}),
    ("lladamoe", {"routed_scaling_factor": 2.5}),
    ("lladamoe", {"partial_rotary_factor": 0.5}),
    ("lladamoe", {"qk_layernorm": False}),
    ("lladamoe", {"router_num_group": 4}),
    ("lladamoe", {"moe_layer_freq": [1]}),
    ("llada2_moe", {"score_function": "softmax"}),
    ("llada2_moe", {"use_bias": True}),
    ("llada2_moe", {"use_qkv_bias": True}),
    ("llada2_moe", {"use_qk_norm": False}),
    ("llada2_moe", {"norm_topk_prob": False}),
    ("llada2_moe", {"num_shared_experts": 0}),
    ("llada2_moe", {"num_experts": None}),
    ("llada2_moe", {"output_dropout": 0.1}),
    ("llada2_moe", {"num_nextn_predict_layers": 1}),
    ("llada2_moe", {"moe_router_enable_expert_bias": False}),
    ("llada2_moe", {"rotary_dim": 16}),
]


@pytest.mark.parametrize(("name", "change"), REFUSED, ids=str)
def test_what_is_not_implemented_is_refused_by_name(name, change, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, name, **change)
    for entry in (AutoConfig.from_pretrained, AutoModelForCausalLM.from_pretrained, load):
        with pytest.raises(MidspanError, match=next(iter(change))):
            entry(folder)


@pytest.mark.parametrize("model_type", ["llada", "lladamoe"])
def test_llada_moe_under_both_model_types(model_type: str, tmp_path: Path) -> None:
    lm = load(write_checkpoint(tmp_path / "moe", "lladamoe", model_type=model_type))
    assert lm.family is family_for("lladamoe")
    lm.model.save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved/config.json").read_text())
    assert saved["model_type"] == model_type
    config = lm.base.config
    again = type(config).from_dict(config.to_dict())
    assert again.to_json_string() == config.to_json_string()
    assert load(write_llada(tmp_path / "8b", LLADA)).family.name == "llada"


def test_the_wrong_class_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, "lladamoe")
    with pytest.raises(MidspanError, match="takes a LladaConfig.*is a LladaMoeConfig"):
        LladaForMaskedDiffusion.from_pretrained(folder)


def test_relatives_that_could_not_be_verified_are_refused(tmp_path: Path) -> None:
    folder = write_llada(tmp_path / "a", {**LLADA, "vocab_size": 155136, "embedding_size": 155136})
    with pytest.raises(MidspanError, match="iLLaDA.*could not be verified"):
        load(folder)
    with pytest.raises(MidspanError, match="'illada' is not implemented"):
        family_for("illada")


@pytest.mark.parametrize("name", ["sdar_moe", "lladamoe", "llada2_moe"])
def test_expert_kernels_agree_and_learn(name: str, tmp_path: Path) -> None:
    lm = load(write_checkpoint(tmp_path, name))
    ids, mask = padded_batch()
    results = {}
    for kernel in ("eager", "grouped_mm"):
        lm.base.set_experts_implementation(kernel)
        lm.base.zero_grad()
        lm.logits(ids, mask)[mask.bool()].logsumexp(-1).sum().backward()
        gradients = {key: p.grad.clone() for key, p in lm.base.named_parameters()}
        results[kernel] = gradients
    for key, gradient in results["eager"].items():
        torch.testing.assert_close(results["grouped_mm"][key], gradient, atol=1e-4, rtol=1e-4)
    assert results["eager"]["model.layers.1.mlp.experts.down_proj"].abs().max() > 0


@pytest.mark.parametrize("name", CONFIGS)
def test_gradient_checkpointing_keeps_gradients(name: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, name)
    ids, mask = padded_batch()
    gradients = []
    for checkpointing in (False, True):
        model = AutoModelForCausalLM.from_pretrained(folder).train()
        if checkpointing:
            model.activation_checkpointing_enable()
        model(ids, attention_mask=mask).logits[mask.bool()].logsumexp(-1).sum().backward()
        gradients.append({key: p.grad for key, p in model.named_parameters()})
    for key, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], gradient, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "experts"),
    [(name, False) for name in CONFIGS] + [(name, True) for name in CONFIGS if name in MIXTURES],
)
def test_adapters_leave_experts_alone_unless_asked(
    name: str, experts: bool, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    folder = write_checkpoint(tmp_path / "base", name)
    lm = load(folder)
    assert bool(lm.family.expert_parameters) == (name in MIXTURES)
    parameters = list(lm.family.expert_parameters) if experts else None
    lora = LoraConfig(
        r=4,
        target_modules=list(lm.family.lora_targets),
        target_parameters=parameters,
        init_lora_weights=False,
    )
    torch.manual_seed(0)
    lm.model = get_peft_model(lm.model, lora).eval()
    adapted = {key for key, p in lm.model.named_parameters() if p.requires_grad}
    assert any("experts" in key for key in adapted) == experts
    assert any("q_proj" in key for key in adapted)
    ids, mask = padded_batch()
    trained = lm.logits(ids, mask)
    lm.model.save_pretrained(tmp_path / "adapter")
    again = load(folder, adapter=tmp_path / "adapter")
    assert torch.equal(again.logits(ids, mask), trained)
    with again.adapter_disabled():
        off = again.logits(ids, mask)
    assert torch.equal(off, load(folder).logits(ids, mask))
    assert (off - trained).abs().max() > 1e-2


def test_an_adapter_of_the_fused_matrix_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "base", "llada2_moe")
    module = "base_model.model.model.layers.0.attention.query_key_value"
    tensors = {f"{module}.lora_A.weight": torch.zeros(4, 32)}
    tensors[f"{module}.lora_B.weight"] = torch.zeros(128, 4)
    (tmp_path / "adapter").mkdir()
    save_file(tensors, tmp_path / "adapter/adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 4, "target_modules": ["query_key_value"]}
    (tmp_path / "adapter/adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(MidspanError, match="query_key_value"):
        load(folder, adapter=tmp_path / "adapter")
