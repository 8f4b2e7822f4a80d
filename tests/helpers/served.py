"""A server without sockets, and one with."""

import asyncio
import contextlib
import json
import socket
import threading
import time

import httpx2

from midspan.serve.app import create_app
from midspan.serve.config import ServeConfig, Tokens
from midspan.serve.server import Server
from midspan.serve.service import Service

ASK = "how do i make the lomthorn lantern ?"
URL = "http://127.0.0.1:8000"


@contextlib.asynccontextmanager
async def serving(models, tokens=(), **limits):
    """A client of a server in this process, and the server's service."""
    service = Service(models, ServeConfig(**limits))
    service.start()
    transport = httpx2.ASGITransport(create_app(service, Tokens(tokens)), client=("127.0.0.1", 9))
    try:
        async with httpx2.AsyncClient(transport=transport, base_url=URL, timeout=60) as client:
            yield client, service
    finally:
        await asyncio.to_thread(service.stop)


@contextlib.contextmanager
def listening(models, tokens=(), small=False, **limits):
    """A server on a socket of loopback, in a thread; `small` are the buffers of its connections."""
    service = Service(models, ServeConfig(port=0, **limits))
    ready = threading.Event()
    server = Server(service, Tokens(tokens), lambda url: ready.set())
    listener = socket.create_server(("127.0.0.1", 0))
    if small:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    assert ready.wait(30)
    try:
        yield server, service
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def chat(text=ASK, model="tiny", midspan=None, **fields):
    """The body of a request."""
    own = {} if midspan is None else {"midspan": midspan}
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields, **own}


def events(body):
    """The objects of a stream, which must end as OpenAI's do."""
    lines = [line for line in body.splitlines() if line]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def told(objects, index=0):
    """The text that a stream's pieces make."""
    texts = []
    for one in objects:
        for choice in one["choices"]:
            if choice["index"] == index:
                texts.append(choice.get("text") or choice.get("delta", {}).get("content") or "")
    return "".join(texts)


def wait_until(condition, seconds=20.0):
    """Wait for a condition that another thread makes true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
