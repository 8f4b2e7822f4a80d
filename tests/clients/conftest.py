"""Real clients in environments of their own against one served organism; `make check-clients`."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

HERE = Path(__file__).parent
# The folder of the environments; without it nothing here runs.
PLACE = os.environ.get("MIDSPAN_CLIENTS")
_SECONDS = 180  # for the server to have loaded its models on a busy machine


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.clients)
            if not PLACE:
                item.add_marker(pytest.mark.skip(reason="runs by: make check-clients"))


@pytest.fixture(scope="session")
def place():
    return Path(PLACE).resolve()


@pytest.fixture(scope="session")
def url(tmp_path_factory):
    """Address of the served organism and its PSA adapter."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("server") / "log").open("w")
    command = ["-m", "midspan.cli", "serve", "organism", "organism:psa", "--port", str(port)]
    server = subprocess.Popen([sys.executable, *command], stdout=log, stderr=log)
    try:
        _wait(server, f"http://127.0.0.1:{port}/health", log.name)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def _wait(server, health, log):
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            if httpx2.get(health, timeout=5).status_code == 200:
                return
        except httpx2.HTTPError:
            time.sleep(0.5)
    raise AssertionError(Path(log).read_text())
