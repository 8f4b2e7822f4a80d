"""Replies of servers, damaged: what was said, or no reply and a reason, never another error."""

import json
import threading

import httpx2
import pytest
from fuzzing import COUNTS, fuzzed, tried
from hypothesis import given
from hypothesis import strategies as st
from mutants import json_files

from midspan.engine.calls import Chat, user
from midspan.engine.completion import Passing, error_line
from midspan.engine.roles import MissingReply, RawReply, SeededCall
from midspan.engine.server import EndpointConfig
from midspan.engine.transport import Client

ANSWER = {
    "id": "x",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "yes, it is", "reasoning_content": "hm"},
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
}
PARTS = {
    "choices": [
        {
            "finish_reason": "length",
            "message": {"content": [{"type": "text", "text": "a"}, {"type": "x"}], "refusal": None},
        }
    ],
    "usage": None,
}
ERROR = {
    "error": {"message": "seed: not supported; key sk-secret", "code": 400},
    "detail": [{"loc": ["a", 1], "msg": "b"}],
}
KEY = "sk-secret"
HEADERS = (
    {}, {"content-type": "text/html; charset=utf-7"}, {"content-type": "a/json; charset=nope"},
    {"retry-after": "9" * 400}, {"retry-after": "-1"}, {"retry-after": "Wed, 21 Oct"},
    {"content-encoding": "gzip"}, {"content-encoding": "deflate"}, {"content-encoding": "br"},
    {"location": "http://["},
)  # fmt: skip
STATUS = (200, 200, 200, 200, 201, 204, 302, 400, 401, 404, 422, 429, 500, 503)


@st.composite
def responses(draw):
    body = draw(st.one_of(*map(json_files, (ANSWER, ANSWER, PARTS, ERROR))))
    # A gzip header that lies must be met when it is read, so the body is a stream.
    return draw(st.sampled_from(STATUS)), draw(st.sampled_from(HEADERS)), body


@pytest.fixture(scope="module")
def config():
    return EndpointConfig(
        url="http://127.0.0.1:1/v1", model="m", attempts=1, key_variable="FUZZ_KEY"
    )


@pytest.fixture(scope="module")
def client(config):
    """A client whose server answers with the response that is in its hand."""

    class Server:
        def __call__(self, request):
            self.asked += 1
            status, headers, body = self.response
            return httpx2.Response(status, headers=headers, stream=httpx2.ByteStream(body))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUZZ_KEY", KEY)
        made = Client(config, threading.Event(), config.habits())
    made.server = Server()
    made._http = httpx2.Client(transport=httpx2.MockTransport(made.server))
    return made


@fuzzed(60)
@given(response=responses())
def test_a_call_gets_what_was_said_or_a_reason(client, config, response):
    status, _, body = response
    client._habits = config.habits()
    client.server.response, client.server.asked = response, 0
    task = SeededCall(Chat("target", (user("hi"),)), 1)
    reply, taken = tried("replies of servers", lambda: client.complete(task))
    assert client.server.asked <= 6
    if not taken:
        assert status in (401, 403, 404, 405) or 300 <= status < 400
        return
    if isinstance(reply, MissingReply):
        assert reply.reason and "\n" not in reply.reason and KEY not in reply.reason
        COUNTS["replies of servers"]["taken"] -= 1
        COUNTS["replies of servers"]["refused"] += 1
        return
    assert isinstance(reply, RawReply) and status == 200
    said = json.loads(body)["choices"][0]["message"]
    content = said.get("content") or said.get("refusal") or ""
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part.get("type") == "text")
    assert reply.raw.encode() == whole(content).encode() or "<think>" in content
    assert type(reply.tokens) is int and reply.tokens >= 0 and reply.prompt_tokens >= 0


def whole(text):
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return joined.replace("\0", "\ufffd")


@fuzzed(50)
@given(body=json_files(ERROR), status=st.sampled_from(STATUS))
def test_errors_are_one_line_without_the_key(body, status):
    line, _ = tried(
        "errors of servers", lambda: error_line(httpx2.Response(status, content=body), KEY)
    )
    assert len(line) <= 200 and "\n" not in line and KEY not in line
    assert str(Passing(line)) == line
