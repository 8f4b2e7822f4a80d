"""Each engine is asked as it wants: the bodies that it takes, and what its replies come to."""

import math

import pytest
from engines import FIRST_WORD, FakeMidspan, FakeSglang, FakeVllm, logprobs, serving
from text_folders import text_folder

from midspan.engine.calls import Anchor, Chat, Choices, Scaffold, Score, user
from midspan.engine.endpoint import Endpoint
from midspan.engine.roles import MissingReply, SeededCall, read_value
from midspan.engine.server import EndpointConfig
from midspan.errors import MidspanError

QUICK = {"timeout": 10, "backoff": 0, "attempts": 2}
ASKED = (user("w40 w41"),)


@pytest.fixture(scope="module")
def llada(tmp_path_factory):
    return text_folder(tmp_path_factory.mktemp("llada"), "llada")


@pytest.fixture
def vllm(gemma):
    with serving(FakeVllm(gemma[1], stops=(1, 4))) as server:
        yield server


@pytest.fixture
def sglang(llada):
    with serving(FakeSglang(llada[1])) as server:
        yield server


@pytest.fixture
def own():
    with serving(FakeMidspan()) as server:
        yield server


def endpoint(server, engine, model, tokenizer=None, **fields):
    more = {} if tokenizer is None else {"tokenizer": str(tokenizer)}
    spec = f"{engine}:{server.root}#{model}"
    return Endpoint(EndpointConfig.from_spec(spec, **QUICK, **more, **fields))


def ask(role, *calls, seed=3):
    """The answers, in the order of the calls."""
    answers = dict(role.answer([SeededCall(call, seed) for call in calls]))
    return [answers[index] for index in range(len(calls))]


def words(first, last):
    return " ".join(f"w{FIRST_WORD + place % 20}" for place in range(first, last))


# vLLM


def test_a_chat_of_vllm_has_neither_temperature_nor_seed(vllm):
    role = endpoint(vllm, "vllm", "gemma")
    call = Chat("target", ASKED, temperature=0.7, top_p=0.9, max_tokens=8)
    (reply,) = ask(role, call)
    (body,) = vllm.bodies
    assert body.keys() == {"model", "messages", "top_p", "max_tokens"}
    assert reply.raw == words(0, 8) and (reply.tokens, reply.prompt_tokens) == (8, 2)
    assert role.draws(call) and role.draws(Chat("target", ASKED, temperature=0.0))


def test_at_contact_vllm_says_the_length_of_its_canvas_and_writes_nothing(vllm, gemma):
    role = endpoint(vllm, "vllm", "gemma", gemma[0])
    role.contact({"anchors", "log-probs"})
    assert role._habits.canvas_length == 32 and vllm.answered == 0
    assert role.capabilities.given == ("chat", "prefix", "anchors", "log-probs", "draws")


def test_anchors_are_pinned_in_a_canvas_of_noise(vllm, gemma):
    role = endpoint(vllm, "vllm", "gemma", gemma[0])
    call = Chat("target", ASKED, anchors=(Anchor("w60 w61", 0), Anchor("w62", 5)), max_tokens=10)
    first, again = ask(role, call), ask(role, call)
    other = ask(role, call, seed=4)
    fixed = {0: 60, 1: 61, 5: 62}
    canvases = [body["vllm_xargs"]["diffusion_seed_canvas"] for body in vllm.bodies]
    for body, canvas in zip(vllm.bodies, canvases, strict=True):
        assert body["vllm_xargs"]["diffusion_pinned"] == sorted(fixed)
        assert len(canvas) == 32 and all(canvas[at] == token for at, token in fixed.items())
        assert not {"temperature", "seed"} & body.keys()
    # Noise is the call's own: of equal seeds equal, and of many different tokens.
    assert canvases[0] == canvases[1] != canvases[2] and len(set(canvases[0])) > 10
    (reply,) = first
    assert reply.raw == f"w60 w61 {words(2, 5)} w62 {words(6, 10)}"
    assert reply.continuation == words(6, 10)
    assert first == again == other


def test_holes_of_a_response_are_filled_to_their_end(vllm, gemma):
    role = endpoint(vllm, "vllm", "gemma", gemma[0])
    (reply,) = ask(role, Chat("target", ASKED, scaffold=Scaffold("w60 [2] w61 [3]"), extend=0))
    (body,) = vllm.bodies
    assert body["max_tokens"] == 7 and body["vllm_xargs"]["diffusion_pinned"] == [0, 3]
    assert reply.raw == f"w60 {words(1, 3)} w61 {words(4, 7)}"
    assert reply.continuation == words(4, 7)


def test_what_does_not_fit_the_canvas_is_this_calls_fault_and_is_not_sent(vllm, gemma):
    role = endpoint(vllm, "vllm", "gemma", gemma[0])
    behind = Chat("target", ASKED, anchors=(Anchor("w60", 32),))
    cut = Chat("target", ASKED, anchors=(Anchor("w60", 9),), max_tokens=8)
    unknown = Chat("target", ASKED, anchors=(Anchor("cloud", 2),))
    late = Score(ASKED, "w60 w61", 31)
    answers = ask(role, behind, cut, unknown, late)
    assert [one.failure for one in answers] == ["too_long", "too_long", "failed", "too_long"]
    assert "server's canvas of 32" in answers[0].reason and "lacks" in answers[2].reason
    assert vllm.bodies == []


def scored(role, call):
    (answer,) = ask(role, call)
    return read_value(call, answer.raw), answer


def test_a_score_reads_the_phrases_log_probabilities_in_one_step(vllm, gemma):
    role = endpoint(vllm, "vllm", "gemma", gemma[0])
    call = Score(ASKED, "w60 w61 w60", 4, context=(Anchor("w50", 0),))
    value, answer = scored(role, call)
    (body,) = vllm.bodies
    xargs = body["vllm_xargs"]
    canvas = xargs["diffusion_seed_canvas"]
    assert (xargs["diffusion_max_steps"], xargs["diffusion_read_only"]) == (1, 1)
    assert canvas[0] == 50 and body["logprob_token_ids"] == [60, 61]
    expected = [logprobs(canvas, 4)[60], logprobs(canvas, 5)[61], logprobs(canvas, 6)[60]]
    assert [token.logprob for token in value.tokens] == pytest.approx(expected)
    assert value.logprob == pytest.approx(math.fsum(expected)) and value.start == 4
    assert answer.forwards == 1 and not role.draws(call)


def test_a_chain_gives_each_token_those_before_it(vllm, gemma):
    role = endpoint(vllm, "vllm", "gemma", gemma[0])
    value, answer = scored(role, Score(ASKED, "w60 w61 w62", 2, mode="chain"))
    canvases = [body["vllm_xargs"]["diffusion_seed_canvas"] for body in vllm.bodies]
    assert [canvas[2:4] == [60, 61] for canvas in canvases] == [False, False, True]
    assert canvases[1][2] == 60 and answer.forwards == 3
    expected = [logprobs(canvas, 2 + n)[60 + n] for n, canvas in enumerate(canvases)]
    assert [token.logprob for token in value.tokens] == pytest.approx(expected)


def test_the_best_place_of_a_window_and_the_likeliest_tokens_there(vllm, gemma):
    role = endpoint(vllm, "vllm", "gemma", gemma[0])
    value, _ = scored(role, Score(ASKED, "w60 w61", window=(1, 9), top_k=3))
    canvas = vllm.bodies[0]["vllm_xargs"]["diffusion_seed_canvas"]
    assert [body["vllm_xargs"]["diffusion_seed_canvas"] for body in vllm.bodies] == [canvas] * 2

    def total(start):
        return logprobs(canvas, start)[60] + logprobs(canvas, start + 1)[61]

    assert value.start == max(range(1, 10), key=total)
    ranked = sorted(range(64), key=lambda token: -logprobs(canvas, value.start)[token])[:3]
    assert [token for token, _ in value.tokens[0].top] == ranked


def test_choices_are_the_means_of_candidates_in_their_holes(vllm, gemma):
    role = endpoint(vllm, "vllm", "gemma", gemma[0])
    call = Choices(ASKED, "w50 [2] w51 [1]", (("w60", "w61 w62", "w61 w62 w63"), ("w33", "w34")))
    (answer,) = ask(role, call)
    values = read_value(call, answer.raw)
    canvas = vllm.bodies[0]["vllm_xargs"]["diffusion_seed_canvas"]
    assert canvas[0] == 50 and canvas[3] == 51
    pair = (logprobs(canvas, 1)[61] + logprobs(canvas, 2)[62]) / 2
    # What is longer than the hole is cut.
    assert values[0] == pytest.approx((logprobs(canvas, 1)[60], pair, pair))
    assert values[1] == pytest.approx((logprobs(canvas, 4)[33], logprobs(canvas, 4)[34]))


def test_a_server_without_log_probabilities_is_no_answer(gemma):
    with serving(FakeVllm(gemma[1], has_logprobs=False)) as server:
        role = endpoint(server, "vllm", "gemma", gemma[0])
        (answer,) = ask(role, Score(ASKED, "w60", 1))
    assert isinstance(answer, MissingReply) and "log-probabilities that were asked" in answer.reason


def test_a_vllm_without_a_diffusion_model_is_found_out_before_anything_is_spent(gemma):
    with serving(FakeVllm(gemma[1], diffusion=False)) as server:
        role = endpoint(server, "vllm", "gemma", gemma[0])
        with pytest.raises(
            MidspanError, match=r"needs anchors; vllm:gemma@.* gives chat alone; say"
        ):
            role.contact({"anchors"})
        assert len(server.bodies) == 1
        role.contact({"chat"})
        assert role.capabilities.access == ("chat",)


# SGLang


def test_ids_of_sglang_begin_the_answer(sglang, llada):
    role = endpoint(sglang, "sglang", "llada", llada[0])
    call = Chat("target", ASKED, temperature=0.5, anchors=(Anchor("w50 w51"),), max_tokens=6)
    (reply,) = ask(role, call)
    (body,) = sglang.bodies
    prompt = [0, 2, 6, 3, 40, 41, 4, 2, 8, 3]
    assert body == {"input_ids": [*prompt, 50, 51], "sampling_params": {"max_new_tokens": 4}}
    first = FIRST_WORD + sum(body["input_ids"])
    rest = " ".join(f"w{FIRST_WORD + (first - FIRST_WORD + n) % 20}" for n in range(4))
    assert (reply.raw, reply.continuation) == (f"w50 w51 {rest}", rest)
    assert (reply.tokens, reply.prompt_tokens) == (4, 12)
    # Argmax: an equal request would have an equal answer, and is not sent again.
    assert not role.draws(call)


def test_mask_text_in_a_prompt_stays_text(sglang, llada):
    role = endpoint(sglang, "sglang", "llada", llada[0])
    ask(role, Chat("target", (user("w40 <|mdm_mask|>"),), max_tokens=2))
    assert 60 not in sglang.bodies[0]["input_ids"]


def test_without_a_tokenizer_sglang_is_chatted_with(sglang):
    role = endpoint(sglang, "sglang", "llada")
    assert role.capabilities.access == ("chat",)
    (reply,) = ask(role, Chat("target", ASKED, temperature=0.5, max_tokens=3))
    assert reply.raw == "chatted" and sglang.paths == ["/v1/chat/completions"]
    with pytest.raises(
        MidspanError, match=r"target: needs prefix; sglang:llada@.* gives chat alone"
    ):
        ask(role, Chat("target", ASKED, anchors=(Anchor("w50"),)))
    assert len(sglang.bodies) == 1


def test_sglang_without_ids_in_its_reply_is_read_as_text(llada):
    with serving(FakeSglang(llada[1], has_ids=False)) as server:
        role = endpoint(server, "sglang", "llada", llada[0])
        (reply,) = ask(role, Chat("target", ASKED, anchors=(Anchor("w50"),), extend=2))
    assert reply.raw == f"w50{reply.continuation}" and len(reply.continuation.split()) == 2


def test_another_server_is_not_taken_for_sglang(vllm, llada):
    role = endpoint(vllm, "sglang", "gemma", llada[0])
    with pytest.raises(MidspanError, match="HTTP 404 Not Found; are the address and the model"):
        role.contact()


# midspan's own


def test_anchors_holes_and_rules_go_under_one_field(own):
    from midspan.decoding.rule import as_rule

    role = endpoint(own, "midspan", "organism")
    role.contact({"anchors", "rules"})
    assert own.answered == 0
    anchored = Chat(
        "target", ASKED, temperature=0.0, anchors=(Anchor("one  two", 3),), max_tokens=12
    )
    holes = Chat("target", ASKED, scaffold=Scaffold("You need [2] now"), extend=0)
    ruled = Chat("target", ASKED, rules=(as_rule("early_reject"),), max_tokens=12)
    first, second, third = ask(role, anchored, holes, ruled)
    bodies = {tuple(body["midspan"]): body for body in own.bodies}
    body = bodies[("anchors",)]
    assert body["midspan"] == {"anchors": [{"position": 3, "text": "one  two"}]}
    assert (body["temperature"], body["seed"], body["max_tokens"]) == (0.0, 3, 12)
    assert first.continuation == " ".join(f"word{n}" for n in range(5, 12)) and first.forwards == 32
    assert bodies[("canvas",)]["midspan"]["canvas"] == "You need [2] now"
    assert "max_tokens" not in bodies[("canvas",)] and second.raw == "You need two words now"
    assert bodies[("rules",)]["midspan"]["rules"][0]["rule"] == "early_reject"
    assert not role.draws(anchored) and role.draws(ruled)


def test_fields_of_ones_own_stand_beside_ours(own):
    role = endpoint(own, "midspan", "organism", extra_body={"midspan": {"steps": 16}})
    ask(role, Chat("target", ASKED, anchors=(Anchor("one", 3),)))
    assert own.bodies[0]["midspan"].keys() == {"anchors", "steps"}


def test_what_no_server_gives_is_refused_by_name(own):
    role = endpoint(own, "midspan", "organism")
    for call, need in [
        (Score(ASKED, "one"), "log-probs"),
        (Chat("target", ASKED, decoding=(("steps", 0.5),)), "decoding"),
        (Chat("target", ASKED, scaffold=Scaffold("[2]", "user")), "user canvas"),
    ]:
        with pytest.raises(MidspanError, match=f"target: needs {need}; midspan:organism@"):
            ask(role, call)
    assert own.bodies == []


def test_a_server_that_streams_unasked_is_told_apart(vllm):
    role = endpoint(vllm, "vllm", "gemma", extra_body={"stream": True})
    (answer,) = ask(role, Chat("target", ASKED, max_tokens=2))
    assert "a stream of events" in answer.reason
