"""Replies of servers as there are: read for what they are, refused with the server's own words."""

import json
import threading

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_endpoint import QUICK, server_module  # noqa: F401

from midspan.data.behaviors import Behavior
from midspan.engine.attack import Attack, AttackConfig
from midspan.engine.calls import Chat, user
from midspan.engine.completion import Passing, read_completion
from midspan.engine.endpoint import Endpoint
from midspan.engine.roles import MissingReply, RawReply
from midspan.engine.scheduler import AttackJob, run_attacks
from midspan.engine.server import EndpointConfig
from midspan.errors import MidspanError
from midspan.journal.journal import Journal


def reply(message, finish="stop", usage=None):
    return {"choices": [{"message": message, "finish_reason": finish}], "usage": usage}


def read(body, status=200):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_completion(httpx2.Response(status, content=content))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (reply({"content": "yes"}), RawReply("yes")),
        (reply({"content": "yes"}, usage={"completion_tokens": None}), RawReply("yes")),
        (
            reply({"content": "yes"}, usage={"completion_tokens": 2, "prompt_tokens": 3}),
            RawReply("yes", 2, 3),
        ),
        (reply({"content": None, "refusal": "no"}), RawReply("no")),
        (
            reply(
                {
                    "content": [
                        {"type": "thinking", "thinking": "hm"},
                        {"type": "text", "text": "y"},
                        {"type": "text", "text": "es"},
                    ]
                }
            ),
            RawReply("yes"),
        ),
        (reply({"content": "yes", "reasoning_content": "hm"}), RawReply("yes", thoughts="hm")),
        (reply({"content": "<think>hm</think>\nyes"}), RawReply("yes", thoughts="hm")),
        (reply({"content": ""}), RawReply("")),
    ],
)
def test_an_answer_is_its_text(body, expected):
    assert read(body) == expected


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (reply({"content": None, "reasoning_content": "hm"}, "length"), "no answer came before"),
        (reply({"content": ""}, "length"), "no answer came before"),
        (reply({"content": "<think>hm"}, "length"), "no answer came before"),
        (reply({"content": None}, "content_filter"), "content filter"),
    ],
)
def test_no_answer_is_none(body, reason):
    missing = read(body)
    assert isinstance(missing, MissingReply) and reason in missing.reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"choices": None, "error": {"message": "overloaded", "code": 429}}, "overloaded"),
        (b"data: {}\n\ndata: [DONE]\n\n", "a stream of events"),
        (b"<html>bad gateway</html>", "a page, not JSON"),
        (b"{", "a malformed reply"),
        ({"choices": []}, "a malformed reply"),
        (b"[" * 100_000, "a malformed reply"),
        (reply({"content": 3}), "a malformed reply"),
    ],
)
def test_what_is_no_reply_is_tried_again_and_named(body, reason):
    with pytest.raises(Passing, match=reason):
        read(body)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "type", "text", "usage", "error", "loc"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(values | st.builds(lambda message: {"choices": [{"message": message}]}, values))
def test_any_body_is_read_or_named(body):
    try:
        found = read(json.dumps(body).encode())
    except Passing as error:
        assert str(error)
    else:
        assert isinstance(found, RawReply | MissingReply)


def talk(server_module, monkeypatch, tmp_path, respond, calls=1, **fields):  # noqa: F811
    """What a server was sent, and the replies, of calls at temperature 0 with 10 tokens."""
    seen = []

    def post(handler):
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        seen.append(body)
        handler._send(*respond(body))

    def attack(state, config):
        chat = Chat("target", (user(state.behavior.text),), temperature=0.0, max_tokens=10)
        replies.extend((yield [chat]))
        return "exhausted"

    replies = []
    monkeypatch.setattr(server_module._Handler, "do_POST", post)
    with server_module.serving() as server, Journal(tmp_path / "j") as journal:
        endpoint = Endpoint(EndpointConfig.from_spec(server.spec, **QUICK, **fields))
        for number in range(calls):
            behavior = Behavior(f"b{number}", f"question {number}")
            spec = Attack("ask", attack, AttackConfig, counts="any")
            run_attacks([AttackJob(spec, AttackConfig(), behavior, {"target": endpoint})], journal)
    return seen, replies


GOOD = 200, json.dumps(reply({"content": "yes"})).encode()


@pytest.mark.parametrize(
    ("name", "status", "body"),
    [
        ("seed", 422, {"message": {"detail": [{"loc": ["body", "seed"], "msg": "not permitted"}]}}),
        ("temperature", 400, {"error": {"message": "Unsupported value: 'temperature'"}}),
    ],
)
def test_a_field_that_the_server_names_is_left_out_and_said(
    server_module, monkeypatch, tmp_path, caplog, name, status, body  # noqa: F811
):  # fmt: skip
    def respond(sent):
        return (status, json.dumps(body).encode()) if name in sent else GOOD

    seen, replies = talk(server_module, monkeypatch, tmp_path, respond, calls=2)
    assert [reply.text for reply in replies] == ["yes", "yes"]
    assert [name in sent for sent in seen] == [True, False, False]
    assert caplog.text.count(f"refuses {name}: it is left out") == 1


def test_requests_under_way_are_sent_again_without_the_field(
    server_module, monkeypatch, tmp_path, caplog  # noqa: F811
):  # fmt: skip
    """All are refused before the first refusal is read."""
    gate = threading.Barrier(8)

    def respond(sent):
        if "temperature" not in sent:
            return GOOD
        gate.wait(10)
        return 400, b'{"error": {"message": "no temperature here"}}'

    replies = []

    def attack(state, config):
        questions = [(user(f"question {number}"),) for number in range(8)]
        replies.extend((yield [Chat("target", q, temperature=0.0) for q in questions]))
        return "exhausted"

    def post(handler):
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        handler._send(*respond(body))

    monkeypatch.setattr(server_module._Handler, "do_POST", post)
    with server_module.serving() as server, Journal(tmp_path / "j") as journal:
        endpoint = Endpoint(EndpointConfig.from_spec(server.spec, **QUICK | {"timeout": 20}))
        spec = Attack("ask", attack, AttackConfig, counts="any")
        job = AttackJob(spec, AttackConfig(), Behavior("b", "x"), {"target": endpoint})
        run_attacks([job], journal)
    assert [reply.text for reply in replies] == ["yes"] * 8
    assert caplog.text.count("refuses temperature") == 1


def test_a_field_that_the_user_adds_is_not_left_out(
    server_module, monkeypatch, tmp_path  # noqa: F811
):  # fmt: skip
    refusal = 400, b'{"error": {"message": "no temperature here"}}'
    fields = {"extra_body": {"temperature": 1}}
    seen, (reply,) = talk(server_module, monkeypatch, tmp_path, lambda sent: refusal, **fields)
    assert len(seen) == 1 and reply.failure == "failed"


def test_the_newer_name_of_the_limit_takes_the_older_ones_place(
    server_module, monkeypatch, tmp_path  # noqa: F811
):  # fmt: skip
    def respond(sent):
        refusal = b'{"error": {"message": "use max_completion_tokens, not max_tokens"}}'
        return (400, refusal) if "max_tokens" in sent else GOOD

    seen, replies = talk(server_module, monkeypatch, tmp_path, respond)
    assert [reply.text for reply in replies] == ["yes"]
    assert seen[-1]["max_completion_tokens"] == 10 and "max_tokens" not in seen[-1]


def test_a_refusal_that_goes_on_has_the_servers_words(
    server_module, monkeypatch, tmp_path  # noqa: F811
):  # fmt: skip
    body = {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}
    respond = lambda sent: (422, json.dumps(body).encode())  # noqa: E731
    seen, (reply,) = talk(server_module, monkeypatch, tmp_path, respond)
    assert len(seen) == 2
    assert reply.reason.endswith("HTTP 422 body.seed: Extra inputs are not permitted")


def test_settings_of_a_server_go_into_every_request(
    server_module, monkeypatch, tmp_path  # noqa: F811
):  # fmt: skip
    fields = {"omit": ("seed",), "min_tokens": 500, "extra_body": {"reasoning_effort": "low"}}
    seen, _ = talk(server_module, monkeypatch, tmp_path, lambda sent: GOOD, **fields)
    assert "seed" not in seen[0]
    assert (seen[0]["max_tokens"], seen[0]["reasoning_effort"]) == (500, "low")
    spec = "http://h/v1#m"
    plain, changed = (EndpointConfig.from_spec(spec, **more).identity for more in ({}, fields))
    assert plain == "m@http://h/v1" and changed.startswith(f"{plain}#")


def test_no_part_of_a_key_is_left_where_a_message_is_cut(
    server_module, monkeypatch, tmp_path  # noqa: F811
):  # fmt: skip
    key = "k" * 19 + "secret-key-of-40-chars"
    monkeypatch.setenv("MIDSPAN_API_KEY", key)
    for place in range(120, 220, 7):
        body = json.dumps({"error": {"message": "x" * place + key}}).encode()
        respond = lambda sent, body=body: (400, body)  # noqa: E731
        folder = tmp_path / str(place)
        folder.mkdir()
        _, (reply,) = talk(server_module, monkeypatch, folder, respond)
        assert "kkk" not in reply.reason and "secret" not in reply.reason


def test_without_usage_characters_are_counted_and_that_is_said(
    server_module, monkeypatch, tmp_path, caplog  # noqa: F811
):  # fmt: skip
    prices = {"input_price": 4e6, "output_price": 4e6, "max_cost": 25.0}
    with pytest.raises(MidspanError, match=r"has cost \$32.00 of \$25.00"):
        talk(server_module, monkeypatch, tmp_path, lambda sent: GOOD, calls=9, **prices)
    assert caplog.text.count("four characters count as a token") == 1
