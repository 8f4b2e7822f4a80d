"""Whom a server lets in, before any model is loaded."""

import pytest

from midspan.commands.serve import start
from midspan.errors import MidspanError
from midspan.serve.config import ServeConfig, is_loopback, read_tokens

TOKEN = "a token long enough"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST"]
)
def test_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "localhost.evil.example", "", "127.1"]
)
def test_what_others_may_reach(host):
    assert not is_loopback(host)
    with pytest.raises(MidspanError, match="needs a token"):
        read_tokens(ServeConfig(host=host), None, {})
    assert len(read_tokens(ServeConfig(host=host), None, {"MIDSPAN_SERVE_TOKEN": TOKEN})) == 1


def test_a_command_that_needs_a_token_says_so_before_it_loads(monkeypatch):
    monkeypatch.delenv("MIDSPAN_SERVE_TOKEN", raising=False)
    with pytest.raises(MidspanError, match="MIDSPAN_SERVE_TOKEN"):
        start(["no such model"], {"host": "0.0.0.0"})
    with pytest.raises(MidspanError, match="serve.queue"):
        start(["no such model"], {"queue": 0})
    with pytest.raises(MidspanError, match="no such model"):
        start(["no such model"], {})


def test_tokens_of_a_file(tmp_path):
    file = tmp_path / "tokens"
    file.write_text(f"{TOKEN}\n\n another of {TOKEN} \n")
    tokens = read_tokens(ServeConfig(), file, {})
    assert [tokens.number(t) for t in (TOKEN, f"another of {TOKEN}", "", TOKEN[:-1])] == [
        0, 1, None, None,
    ]  # fmt: skip
    file.write_text("short\n")
    with pytest.raises(MidspanError, match="at least 16"):
        read_tokens(ServeConfig(), file, {})
    file.write_text("\n")
    with pytest.raises(MidspanError, match="no token"):
        read_tokens(ServeConfig(), file, {})
