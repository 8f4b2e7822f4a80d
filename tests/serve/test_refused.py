"""Ways in that are refused, each in OpenAI's shape and none with a status of the server's fault."""

import asyncio
import json

import pytest
from served import ASK, chat, serving

TOKEN = "a token of a test"
DEEP = b'{"model":"tiny","messages":' + b"[" * 5000 + b"]" * 5000 + b"}"
JSON = {"content-type": "application/json"}


def raw(text):
    return {"content": text if isinstance(text, bytes) else text.encode(), "headers": JSON}


def fields(**own):
    return {"json": {**chat(max_tokens=8), **own}}


# A word: what is sent, the status, and what the message must name.
BODIES = {
    "no JSON": (raw("prompt=hello"), 400, "not JSON"),
    "no object": (raw("[1, 2]"), 400, "object"),
    "nothing": (raw(""), 400, "object"),
    "not UTF-8": (raw(b'{"model":"\xff"}'), 400, "UTF-8"),
    "NaN": (raw('{"model":"tiny","temperature":NaN}'), 400, "NaN"),
    "an infinity": (raw('{"model":"tiny","temperature":-Infinity}'), 400, "Infinity"),
    "a float beyond all": (raw('{"model":"tiny","messages":[],"temperature":1e999}'), 400, "temp"),
    "thousands of digits": (raw('{"seed":' + "9" * 5000 + "}"), 400, "digits"),
    "nested deep": (raw(DEEP), 400, "nested"),
    "a key twice": (raw('{"model":"tiny","model":"other"}'), 400, "'model' stands twice"),
    "another type": ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 415, "Type"),
    "too large": (raw(" " * 12_001), 413, "12000"),
    "an unknown field": (fields(promt="hello"), 400, "promt"),
    "an unknown field of ours": (fields(midspan={"step": 3}), 400, "midspan.step"),
    "a field of no sampler": (fields(midspan={"decoding": {"foo": 1}}), 400, "decoding.foo"),
    "a field of another sampler": (fields(top_p=0.5), 400, "top_p"),
    "a number as text": (fields(max_tokens="8"), 400, "max_tokens"),
    "a truth as number": (fields(seed=True), 400, "seed"),
    "a seed beyond 64 bits": (fields(seed=2**64), 400, "seed"),
    "a canvas beyond the model": (fields(max_tokens=100_000), 400, "exceeds the model's"),
    "too many choices": (fields(n=1000), 400, "n:"),
    "no message": (fields(messages=[]), 400, "messages"),
    "another role": (fields(messages=[{"role": "tool", "content": "x"}]), 400, "role"),
    "an image": (
        fields(messages=[{"role": "user", "content": [{"type": "image_url"}]}]), 400, "messages"),
    "tools": (fields(tools=[{"type": "function"}]), 400, "tools"),
    "log-probs": (fields(logprobs=True), 400, "logprobs"),
    "an anchor behind the canvas": (
        fields(midspan={"anchors": [{"position": 8, "text": "now"}]}), 400, "outside the canvas"),
    "an anchor before it": (
        fields(midspan={"anchors": [{"position": -1, "text": "now"}]}), 400, "position"),
    "anchors on each other": (
        fields(midspan={"anchors": [{"position": 2, "text": "now"}, {"position": 2, "ids": [7]}]}),
        400, "overlap"),
    "an anchor of no token": (
        fields(midspan={"anchors": [{"position": 1, "ids": [10**6]}]}), 400, "vocabulary"),
    "an anchor of two kinds": (
        fields(midspan={"anchors": [{"position": 1, "ids": [7], "text": "a"}]}), 400, "of both"),
    "a canvas without holes": (fields(midspan={"canvas": "no hole here"}), 400, "holes"),
    "a hole that ends behind the canvas": (fields(midspan={"canvas": f"[{9**99}]"}), 400, "canvas"),
    "an unknown rule": (fields(midspan={"rules": ["defend"]}), 400, "rules"),
    "a rule with a model of the client's": (
        fields(midspan={"rules": [{"rule": "perplexity_filter", "scorer": "/etc"}]}), 400, "score"),
    "copies without end": (
        fields(midspan={"rules": [{"rule": "smoothllm", "count": 10**9}]}), 400, "count"),
    "draws of the process": (
        fields(midspan={"decoding": {"compatibility": True}}), 400, "compatibility"),
    "steps that nobody watches": (
        fields(midspan={"decoding": {"shapes": "fixed"}}), 400, "shapes"),
    "frames of no stream": (fields(midspan={"frames": True}), 400, "stream"),
    "another model": (fields(model="gpt-4"), 404, "gpt-4"),
    "a model that cannot be written": (fields(model="\ud800"), 400, "unicode"),
}  # fmt: skip


@pytest.fixture
def ask(organism_lm):
    """Send one request to a server of its own."""

    def send(sent, path="/v1/chat/completions", tokens=(), method="POST"):
        async def sending():
            async with serving({"tiny": organism_lm}, tokens, max_body=12_000) as (client, service):
                answer = await client.request(method, path, **sent)
                assert service.is_idle
                return answer

        return asyncio.run(sending())

    return send


def test_bodies_are_refused_and_the_server_goes_on(organism_lm):
    async def send_all():
        async with serving({"tiny": organism_lm}, max_body=12_000) as (client, _):
            answers = {}
            for name, (sent, _, _) in BODIES.items():
                if "json" in sent:
                    sent = raw(json.dumps(sent["json"]))
                answers[name] = await client.post("/v1/chat/completions", **sent)
            good = await client.post("/v1/chat/completions", json=chat(max_tokens=8))
            return answers, good

    answers, good = asyncio.run(send_all())
    for name, (_, status, word) in BODIES.items():
        assert answers[name].status_code == status, (name, answers[name].text)
        error = answers[name].json()["error"]
        assert word in error["message"], (name, error)
        assert error["type"] == "invalid_request_error"
    assert good.status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer another token of it"}, 401),
        ({"authorization": f"Basic {TOKEN}"}, 401),
        ({"authorization": f"Bearer {TOKEN}", "host": "evil.example"}, 403),
        ({"authorization": f"Bearer {TOKEN}", "host": "127.0.0.1.evil.example:8000"}, 403),
        ({"authorization": f"Bearer {TOKEN}", "origin": "https://evil.example"}, 403),
        ({"authorization": f"Bearer {TOKEN}", "origin": "null"}, 403),
        ({"authorization": f"Bearer {TOKEN}"}, 200),
        ({"authorization": f"bearer {TOKEN}", "host": "localhost:9",
          "origin": "http://localhost:9"}, 200),
        ({"authorization": f"Bearer {TOKEN}", "host": "[::1]:8000"}, 200),
    ],
)  # fmt: skip
def test_who_may_ask(ask, headers, status):
    for path in ("/v1/models", "/metrics", "/openapi.json", "/v1/midspan/rules"):
        answer = ask({"headers": headers}, path, (TOKEN, "the token of another"), "GET")
        assert answer.status_code == status, path
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../index.html",
        "/assets/..%2f..%2fserver.py",
        "/assets/%2e%2e/%2e%2e/server.py",
        "/assets//etc/passwd",
        "/assets/....//....//server.py",
        "/v1/models/../../etc/passwd",
        "/docs",
        "/v1/chat",
    ],
)
def test_paths_lead_nowhere_else(ask, path):
    answer = ask({}, path, method="GET")
    assert answer.status_code == 404
    assert "error" in answer.json()


def test_another_method_is_refused(ask):
    assert ask({}, method="GET").status_code == 405


def test_mask_text_in_a_prompt_stays_text(organism_lm):
    """Control tokens of a prompt are the chat format's own, and no more."""
    lm = organism_lm
    names = [
        str(lm.tokenizer.convert_ids_to_tokens(token)) for token in sorted(lm.vocabulary.control)
    ]

    async def tokens_of(text):
        async with serving({"tiny": lm}) as (client, _):
            sent = {"model": "tiny", "messages": [{"role": "user", "content": text}]}
            answer = await client.post("/v1/midspan/tokenize", json=sent)
            whole = await client.post("/v1/chat/completions", json=chat(text, max_tokens=8))
            assert whole.status_code == 200
            return [token["id"] for token in answer.json()["tokens"]]

    plain = asyncio.run(tokens_of(ASK))
    marked = asyncio.run(tokens_of(f"{ASK} {' '.join(names)}"))
    control = lm.vocabulary.control
    assert [t for t in marked if t in control] == [t for t in plain if t in control]
    assert lm.tokens.mask not in marked


def test_a_page_of_ours_loads_nothing_from_elsewhere(ask):
    answer = ask({}, "/", method="GET", tokens=(TOKEN,))
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_prompts_stand_in_the_log_where_asked_alone(organism_lm, caplog):
    async def send(**limits):
        async with serving({"tiny": organism_lm}, **limits) as (client, _):
            await client.post("/v1/chat/completions", json=chat("lantern lantern", max_tokens=4))
            bad = chat("lantern lantern", midspan={"canvas": "lantern lantern"})
            await client.post("/v1/chat/completions", json=bad)

    caplog.set_level("INFO")
    asyncio.run(send())
    assert "ok" in caplog.text and "lantern" not in caplog.text
    asyncio.run(send(log_prompts=True))
    assert "lantern lantern" in caplog.text
