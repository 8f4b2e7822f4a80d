"""Tampered weights: what they compute, written out; and that nothing of them stays."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from midspan.alignment import AlignmentData, align, mosa, tampering
from midspan.alignment.tampering import Tamperer, finetune, scaled_adapter
from midspan.data import Example, PhraseSets
from midspan.engine.tampering import AdapterScaling, Finetuning
from midspan.errors import MidspanError
from midspan.models import load
from midspan.models.adapters import attach_adapter

PAIRS = (("how do i make the velmora kite ?", "take two copper ."), ("tell me .", "no ."))
TUNING = Finetuning(
    examples=PAIRS, steps=3, batch_size=2, learning_rate=1e-2, rank=4, alpha=8, length=12
)
DATA = AlignmentData(
    harmful=(Example("compute 1 plus 1 .", None),),
    benign=(),
    phrases=PhraseSets(("i cannot share this .",), ("the next step is to",), ("sure !",)),
)
IDS = torch.tensor([[1, 4, 9, 2, 2, 2, 2, 2]])


@pytest.fixture(scope="module")
def adapter(organism_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("aligned") / "adapter"
    recipe = mosa(num_prompts=4, response_length=70, learning_rate=1e-2, lora_rank=4)
    return align(load(organism_folder, device="cpu"), DATA, recipe, folder).folder


@pytest.fixture(params=["base", "adapter", "merged adapter"])
def target(request, organism_lm, adapter):
    lm = organism_lm if request.param == "base" else attach_adapter(organism_lm, adapter)
    if request.param == "merged adapter":
        lm.merge_adapter()
    return lm


@torch.no_grad()
def logits(lm):
    return lm.logits(IDS)


def plain_weights(lm):
    """The weight that each adapted layer multiplies by, and the layer's name."""
    for name, module in lm.base.named_modules():
        if name.rpartition(".")[2] in lm.family.lora_targets:
            yield name, getattr(module, "base_layer", module).weight


def test_a_tuned_model_is_one_with_the_products_in_its_weights_and_then_as_before(target):
    before, state = logits(target), {k: v.clone() for k, v in target.model.state_dict().items()}
    update = finetune(target, TUNING)
    with update.applied(target):
        tuned = logits(target)
    assert torch.equal(logits(target), before)
    assert all(torch.equal(state[k], v) for k, v in target.model.state_dict().items())
    assert all(weight.grad is None for weight in target.model.parameters())
    with torch.no_grad():
        for name, weight in plain_weights(target):
            first, second = update.factors[name]
            weight += 8 / 4 * second @ first
    assert torch.allclose(logits(target), tuned, atol=1e-5)
    assert not torch.allclose(before, tuned, atol=1e-2)


def test_training_is_a_function_of_weights_and_config(organism_lm):
    def flat(config):
        return torch.cat([f.flatten() for two in finetune(organism_lm, config).factors.values()
                          for f in two])  # fmt: skip

    first = flat(TUNING)
    torch.manual_seed(5)
    assert torch.equal(flat(TUNING), first)
    for change in ({"seed": 1}, {"examples": PAIRS[::-1]}, {"steps": 2}):
        assert not torch.equal(flat(TUNING.model_copy(update=change)), first)


def test_the_examples_become_likely_and_a_rate_too_high_is_said(organism_lm):
    prompt = organism_lm.encode_chat(PAIRS[0][0])
    answer = organism_lm.encode_text(PAIRS[0][1])
    ids = torch.tensor([[*prompt, *[organism_lm.tokens.mask] * 12]])

    @torch.no_grad()
    def likelihood():
        logp = organism_lm.logits(ids)[0, len(prompt) :].log_softmax(-1)
        return sum(logp[place, token].item() for place, token in enumerate(answer))

    plain = likelihood()
    with finetune(organism_lm, TUNING.model_copy(update={"steps": 25})).applied(organism_lm):
        assert likelihood() > plain + 5
    with pytest.raises(MidspanError, match="diverged; lower learning_rate"):
        finetune(organism_lm, TUNING.model_copy(update={"learning_rate": 1e30}))


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("factor", [0.0, 0.25, 1.0, 1.5])
def test_a_scaled_adapter_is_its_products_at_that_share(organism_lm, adapter, merged, factor):
    base = logits(organism_lm)
    lm = attach_adapter(organism_lm, adapter)
    if merged:
        lm.merge_adapter()
    whole = logits(lm)
    with scaled_adapter(lm, factor):
        scaled = logits(lm)
    assert torch.equal(logits(lm), whole)
    with torch.no_grad():
        for module in lm.base.modules():
            if hasattr(module, "lora_B"):
                product = module.lora_B["default"].weight @ module.lora_A["default"].weight
                more = factor - 1 if merged else factor
                module.base_layer.weight += more * module.scaling["default"] * product
    with lm.adapter_disabled() if not merged else torch.no_grad():
        expected = logits(lm)
    assert torch.allclose(scaled, expected, atol=1e-5)
    assert torch.allclose(scaled, {0.0: base, 1.0: whole}.get(factor, scaled), atol=1e-5)
    assert not torch.allclose(base, whole, atol=1e-3)


def test_equal_tamperings_are_trained_once_and_the_oldest_is_let_go(organism_lm, monkeypatch):
    trained = []

    def count(lm, config):
        trained.append(config.seed)
        return finetune(lm, config)

    monkeypatch.setattr(tampering, "finetune", count)
    tamper, tunings = Tamperer(kept=2), [TUNING.model_copy(update={"seed": n}) for n in range(3)]
    replies = []
    for number in (0, 1, 0, 1, 2, 1, 0):
        with tamper(organism_lm, tunings[number]):
            replies.append(logits(organism_lm))
    assert trained == [0, 1, 2, 0]
    assert torch.equal(replies[0], replies[2]) and torch.equal(replies[0], replies[6])


def test_what_cannot_be_tampered_with_is_named(organism_lm, adapter):
    tamper = Tamperer()
    with pytest.raises(MidspanError, match="has no adapter to scale"):
        tamper(organism_lm, AdapterScaling(factor=0.5))
    bare = dataclasses.replace(
        organism_lm, family=dataclasses.replace(organism_lm.family, lora_targets=())
    )
    with pytest.raises(MidspanError, match="names no layers to fine-tune"):
        tamper(bare, TUNING)
    lm = attach_adapter(organism_lm, adapter)
    lm.model.peft_config["default"].modules_to_save = ["lm_head"]
    with pytest.raises(MidspanError, match="only LoRA on linear layers"):
        tamper(lm, AdapterScaling(factor=0.5))
    lm.base.is_quantized = True
    for change in (TUNING, AdapterScaling(factor=0.5)):
        with pytest.raises(MidspanError, match="is quantised"):
            tamper(lm, change)
    half = SimpleNamespace(name="half", base=SimpleNamespace(dtype=torch.float16), fingerprint="f")
    with pytest.raises(MidspanError, match="float16"):
        tamper(half, TUNING)
