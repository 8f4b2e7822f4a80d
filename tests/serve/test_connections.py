"""A server on a real socket: clients that leave, that dawdle, that are OpenAI's own."""

import json
import signal
import socket
import threading
import time
from contextlib import nullcontext

import httpx2
import openai
import pytest
from served import ASK, chat, events, listening, told, wait_until

import midspan

PATH = "/v1/chat/completions"
ENDLESS = {"max_tokens": 480, "midspan": {"steps": 480}}


@pytest.fixture
def connect():
    """Send bytes on a connection of its own."""
    connections = []

    def send(server, data, small=False):
        connection = socket.socket()
        connections.append(connection)
        connection.settimeout(20)
        if small:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
        connection.sendall(data)
        return connection

    yield send
    for connection in connections:
        connection.close()


def raw_post(body, length=None, path=PATH):
    length = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {length}\r\n\r\n".encode() + body


def test_openais_client(organism_lm):
    own = {
        "midspan": {"steps": 8, "anchors": [{"position": 3, "text": "the lantern"}], "trace": True}
    }
    wanted = midspan.generate(
        organism_lm, ASK, length=16, steps=8, anchors={3: "the lantern"}, progress=False
    )
    turns = [{"role": "user", "content": ASK}]
    with listening({"tiny": organism_lm}, ["a token of the test"]) as (server, _):
        client = openai.OpenAI(
            base_url=f"{server.url}/v1", api_key="a token of the test", max_retries=0
        )
        assert [model.id for model in client.models.list()] == ["tiny"]
        assert client.models.retrieve("tiny").midspan["family"] == "llada"
        ask = {"model": "tiny", "messages": turns, "max_tokens": 16, "extra_body": own}
        answer = client.chat.completions.create(**ask)
        assert answer.choices[0].message.content == wanted.text
        assert answer.choices[0].midspan["tokens"] == list(wanted.tokens)
        assert answer.usage.midspan == {"forwards": wanted.forwards}
        again = [*turns, answer.choices[0].message, turns[0]]
        assert client.chat.completions.create(**{**ask, "messages": again}).choices
        pieces = list(client.chat.completions.create(**ask, stream=True))
        assert "".join(one.choices[0].delta.content or "" for one in pieces) == wanted.text
        with pytest.raises(openai.BadRequestError, match="max_tokens"):
            client.chat.completions.create(**{**ask, "max_tokens": 0})
        with pytest.raises(openai.NotFoundError, match="must be one of tiny"):
            client.chat.completions.create(**{**ask, "model": "other"})
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0).models.list()
        text = client.completions.create(model="tiny", prompt="the lantern", max_tokens=8)
        assert text.choices[0].finish_reason in ("stop", "length")


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_client_that_leaves_frees_its_place(organism_lm, is_streamed):
    with listening({"tiny": organism_lm}, batch_size=1) as (server, service):
        began = time.monotonic()
        asked = {"json": chat(**ENDLESS, stream=is_streamed), "timeout": 60 if is_streamed else 0.2}
        # A stream is left behind its first piece, an answer in one piece before it comes.
        leaving = nullcontext() if is_streamed else pytest.raises(httpx2.TimeoutException)
        with leaving, httpx2.stream("POST", server.url + PATH, **asked) as answer:
            next(answer.iter_raw())
        alone = httpx2.post(server.url + PATH, json=chat(max_tokens=4), timeout=60)
        took = time.monotonic() - began
        assert alone.status_code == 200
        wait_until(lambda: service.is_idle)
        counted = httpx2.get(server.url + "/metrics").text
    assert 'outcome="cancelled",route="chat"} 1.0' in counted
    assert took < 30


def test_headers_and_bodies_that_do_not_come(organism_lm, connect):
    limits = {"header_seconds": 0.3, "body_seconds": 0.3, "max_body": 4096}
    with listening({"tiny": organism_lm}, **limits) as (server, service):
        slow_header = connect(server, b"GET /health HTTP/1.1\r\nHost: loc")
        silent = connect(server, b"")
        slow_body = connect(server, raw_post(b'{"model"', 100))
        second = connect(server, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        first = b""
        while not first.endswith(b'{"status":"ok"}'):
            first += second.recv(4096)
        second.sendall(b"GET /health HT")
        endless = connect(server, raw_post(b"x" * 4000, 1 << 40))
        chunks = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
        chunks += b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunked = connect(
            server, chunks + b"1000\r\n" + b" " * 4096 + b"\r\n1000\r\n" + b" " * 4096
        )
        header = connect(server, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000)
        assert slow_header.recv(4096) == b"" and silent.recv(4096) == b""
        assert second.recv(4096) == b""
        assert slow_body.recv(4096).startswith(b"HTTP/1.1 408") and slow_body.recv(4096) == b""
        assert endless.recv(4096).startswith(b"HTTP/1.1 413")
        assert chunked.recv(4096).startswith(b"HTTP/1.1 413")
        assert header.recv(4096).startswith(b"HTTP/1.1 400")
        assert service.is_idle


def test_an_answer_that_nobody_reads_ends(organism_lm, connect):
    """Frames fill the buffers of a connection, which is then cut."""
    own = {"steps": 64, "frames": True}
    sent = chat(max_tokens=64, midspan=own, stream=True, n=16, temperature=1)
    with listening({"tiny": organism_lm}, write_seconds=0.3, small=True) as (server, service):
        connect(server, raw_post(json.dumps(sent).encode()), small=True)
        wait_until(lambda: not service.is_idle)
        wait_until(lambda: service.is_idle)
        counted = httpx2.get(server.url + "/metrics").text
    assert 'outcome="cancelled",route="chat"} 1.0' in counted


def test_the_end_of_the_process(organism_lm):
    """The first signal finishes what runs, and refuses what is new while it does."""
    answers = {}
    with listening({"tiny": organism_lm}) as (server, service):
        kept = httpx2.Client(base_url=server.url, timeout=60)
        assert kept.get("/health").json() == {"status": "ok"}

        def ask():
            sent = chat(max_tokens=96, midspan={"steps": 96}, stream=True)
            with httpx2.stream("POST", server.url + PATH, json=sent, timeout=60) as answer:
                pieces = answer.iter_text()
                answers["ran"] = next(pieces)
                answers["ran"] += "".join(pieces)

        running = threading.Thread(target=ask)
        running.start()
        wait_until(lambda: "ran" in answers)
        server.handle_exit(signal.SIGTERM, None)
        answers["new"] = kept.post(PATH, json=chat())
        running.join(60)
        wait_until(lambda: server.should_exit)
    assert answers["new"].status_code == 503 and "retry-after" in answers["new"].headers
    objects = events(answers["ran"])
    wanted = midspan.generate(organism_lm, ASK, length=96, steps=96, progress=False)
    assert told(objects) == wanted.text and objects[-1]["choices"][0]["finish_reason"]
    with pytest.raises(httpx2.TransportError):
        kept.get("/health")
