import json

import pytest
import torch
from fixture_folders import PUBLISHED
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import midspan.models  # noqa: F401  (registers the native classes)
from midspan.decoding import decoding_config


class Golden:
    def __init__(self, family):
        folder = PUBLISHED / family
        self.cases = json.loads((folder / "cases.json").read_text())
        self.tensors = load_file(folder / "cases.safetensors")
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.model.config.mask_token_id = self.cases["mask_token_id"]
        # Not in the config: LLaDA's suppression needs it.
        self.model.config.eot_token_id = self.cases.get("eot_token_id")

    def generate(self, number, **fields):
        """The canvases of a run and those of the published sampler."""
        run = self.cases["runs"][number]
        prompt = self.tensors["prompt"]
        torch.manual_seed(run.get("torch_manual_seed", 0))
        found = self.model.generate(prompt, self.tensors["prompt_mask"], early_stop=False, **fields)
        width = prompt.shape[1]
        return found[:, width:], self.tensors[run["output"]][:, width:]


@pytest.fixture(scope="module")
def llada():
    return Golden("llada")


@pytest.fixture(scope="module")
def dream():
    return Golden("dream")


def llada_fields(run):
    policy = "suppress_confidence" if run["confidence_eos_eot_inf"] else "model"
    return {
        "length": run["gen_length"],
        "eos_policy": "suppress_logits" if run["logits_eos_inf"] else policy,
        "guidance": run["cfg_scale"],
        **{key: run[key] for key in ("steps", "block_length", "temperature", "remasking")},
    }


def dream_fields(run):
    same = ("steps", "eps", "temperature", "top_p", "alg_temp")
    return {
        "length": run["max_new_tokens"],
        "remasking": run["alg"],
        **{key: run[key] for key in same},
    }


@pytest.mark.parametrize("number", range(8))
def test_llada_as_published(llada, number):
    fields = llada_fields(llada.cases["runs"][number])
    found, expected = llada.generate(number, compatibility=True, **fields)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 5, 7])
def test_llada_by_default(llada, number):
    found, expected = llada.generate(number, **llada_fields(llada.cases["runs"][number]))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("number", range(6))
def test_dream_as_published(dream, number):
    fields = dream_fields(dream.cases["runs"][number])
    found, expected = dream.generate(number, compatibility=True, **fields)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_greedy_dream_by_default(dream, number):
    found, expected = dream.generate(number, **dream_fields(dream.cases["runs"][number]))
    assert torch.equal(found, expected)


def test_every_golden_run_is_covered(llada, dream):
    assert (len(llada.cases["runs"]), len(dream.cases["runs"])) == (8, 6)
    assert decoding_config(**llada_fields(llada.cases["runs"][4])).guidance == 1.5


@pytest.mark.parametrize("name", ["llada", "dream"])
def test_the_published_samplers_write_the_same_tokens_in_half_precision(name):
    """All runs, where this machine rounds the model's products as the capturing one did."""
    golden, folder = Golden(name), PUBLISHED / name
    golden.tensors |= load_file(folder / "cases_bf16.safetensors")
    golden.model = golden.model.to(torch.bfloat16)
    with torch.inference_mode():
        logits = golden.model(golden.tensors["input_ids"]).logits
    fields_of = llada_fields if name == "llada" else dream_fields
    exact = torch.equal(logits, golden.tensors["logits"])
    for number, run in enumerate(golden.cases["runs"]):
        found, expected = golden.generate(number, compatibility=True, **fields_of(run))
        assert not exact or torch.equal(found, expected)
