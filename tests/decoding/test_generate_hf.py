import pytest
import torch
from tiny_lm import EOS, MASK, VOCAB

from midspan.decoding import Request, decoding_config
from midspan.decoding.decoder import fill
from midspan.decoding.hf import without_tokenizer
from midspan.errors import MidspanError
from midspan.models.dream import DreamConfig, DreamForMaskedDiffusion
from midspan.models.llada import LladaConfig, LladaForMaskedDiffusion

SIZES = {
    "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
    "initializer_range": 0.35, "mask_token_id": MASK, "eos_token_id": EOS, "pad_token_id": 3,
}  # fmt: skip
IDS = torch.tensor([[3, 3, 5, 6], [7, 8, 9, 10]])
ATTENTION = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])


@pytest.fixture(scope="module", params=["llada", "dream"])
def model(request):
    torch.manual_seed(0)
    if request.param == "llada":
        return LladaForMaskedDiffusion(LladaConfig(**SIZES)).eval()
    return DreamForMaskedDiffusion(DreamConfig(**SIZES)).eval()


def test_generate_is_the_decoder(model):
    found = model.generate(
        IDS, ATTENTION, max_new_tokens=16, steps=8, temperature=0.8, early_stop=False, seed=3
    )
    assert torch.equal(found[:, :4], IDS)
    lm = without_tokenizer(model)
    config = decoding_config(lm, length=16, steps=8, temperature=0.8, early_stop=False)
    rows = [Request((5, 6), seed=3), Request((7, 8, 9, 10), seed=4)]
    assert found[:, 4:].tolist() == [list(row.tokens) for row in fill(lm, rows, config)]


def test_the_models_alone_find_the_decoder(warm_python):
    code = (
        "import sys, midspan.models.native as native; assert 'midspan.decoding' not in sys.modules;"
        "print(native.registered_generate().__name__)"
    )
    assert warm_python.run("-c", code).stdout.strip() == "generate_hf"


def test_a_registered_function_stays_when_the_decoder_is_imported(warm_python):
    code = (
        "import midspan.models.native as native\n"
        "native.register_generate(mine := lambda *a, **k: None)\n"
        "import midspan.decoding\n"
        "print(native.registered_generate() is mine)"
    )
    assert warm_python.run("-c", code).stdout.strip() == "True"


def test_positions_left_open_become_pads(model):
    prefer_end = 6.0 * torch.nn.functional.one_hot(torch.tensor(EOS), VOCAB)
    hook = model.lm_head.register_forward_hook(lambda module, args, output: output + prefer_end)
    found = model.generate(IDS, ATTENTION, max_new_tokens=16, temperature=0.0)
    full = model.generate(IDS, ATTENTION, max_new_tokens=16, temperature=0.0, early_stop=False)
    hook.remove()
    assert found.shape == full.shape == (2, 20)
    assert MASK not in found
    assert set(found[found != full].tolist()) == {SIZES["pad_token_id"]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_beams": 2}, "unknown argument 'num_beams'"),
        ({"length": 8, "max_new_tokens": 8}, "not both"),
        ({"attention_mask": torch.tensor([[1, 1, 1, 0]] * 2)}, "pad on the left"),
        ({"attention_mask": torch.ones(1, 4)}, "shape of input_ids"),
        ({"length": 512}, "exceeds the model's 128"),
    ],
)
def test_bad_arguments_are_named(model, arguments, message):
    with pytest.raises(MidspanError, match=message):
        model.generate(IDS, **arguments)


def test_one_dimension_is_refused(model):
    with pytest.raises(MidspanError, match="two dimensions"):
        model.generate(IDS[0])


def test_a_config_without_an_end_token_is_refused():
    model = LladaForMaskedDiffusion(LladaConfig(**{**SIZES, "eos_token_id": None}))
    with pytest.raises(MidspanError, match="eos_token_id is missing"):
        model.generate(IDS)
