"""What whoever runs the server says about it."""

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from midspan.decoding.rule import AnyRule
from midspan.errors import MidspanError
from midspan.files import read_text
from midspan.frozen import FrozenConfig

TOKEN_VARIABLE = "MIDSPAN_SERVE_TOKEN"
_SHORTEST_TOKEN = 16


class ServeConfig(FrozenConfig):
    """A server's limits.

    Attributes:
        host: Address to listen on; another one than loopback needs a token.
        port: Port; 0 takes a free one.
        batch_size: Rows that go through a model together.
        queue: Rows that may wait, of all clients; half of them of one.
        timeout: Seconds that a request may take, in the queue and decoded.
        grace: Seconds that running requests have when the server ends.
        max_body: Bytes of a request.
        header_seconds: Seconds in which a request's header must have come.
        body_seconds: Seconds in which its body must have come.
        write_seconds: Seconds that a client may leave its answer unread.
        connections: Connections at a time.
        rules: What acts on every request, before its own rules.
        log_prompts: Whether prompts and answers stand in the log.
    """

    group: ClassVar[str] = "serve"

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    batch_size: int = Field(32, ge=1)
    queue: int = Field(256, ge=1)
    timeout: float = Field(300.0, gt=0, allow_inf_nan=False)
    grace: float = Field(30.0, ge=0, allow_inf_nan=False)
    max_body: int = Field(1 << 20, ge=1024)
    header_seconds: float = Field(10.0, gt=0)
    body_seconds: float = Field(20.0, gt=0)
    write_seconds: float = Field(30.0, gt=0)
    connections: int = Field(1024, ge=1)
    rules: tuple[AnyRule, ...] = ()
    log_prompts: bool = False

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own alone."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Tokens:
    """The tokens by which clients are known; none lets everybody in.

    Only their hashes are kept, of one length each, and a comparison takes the same time wherever
    two differ.

    Args:
        tokens: The tokens.
    """

    def __init__(self, tokens: tuple[str, ...] = ()) -> None:
        self._hashes = [hashlib.sha256(token.encode()).digest() for token in tokens]

    def __len__(self) -> int:
        return len(self._hashes)

    def number(self, given: str) -> int | None:
        """Which of the tokens this is; None where it is none of them."""
        found = hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest()
        same = [hmac.compare_digest(found, known) for known in self._hashes]
        return same.index(True) if any(same) else None


def read_tokens(
    config: ServeConfig, file: Path | None, environment: Mapping[str, str] | None = None
) -> Tokens:
    """The tokens of a file, one a line, or else of the environment.

    Args:
        config: Says where the server listens.
        file: The file; None where none was named.
        environment: The process's by default.

    Raises:
        MidspanError: A token is too short, or there is none and others can reach the server.
    """
    known = os.environ if environment is None else environment
    where = TOKEN_VARIABLE if file is None else f"--token-file {file}"
    text = known.get(TOKEN_VARIABLE, "") if file is None else read_text(file)
    tokens = tuple(line.strip() for line in text.splitlines() if line.strip())
    if any(len(token) < _SHORTEST_TOKEN for token in tokens):
        raise MidspanError(f"{where}: a token must have at least {_SHORTEST_TOKEN} characters")
    if file is not None and not tokens:
        raise MidspanError(f"{where}: holds no token; write one a line")
    if not tokens and not config.is_loopback:
        raise MidspanError(
            f"--host {config.host}: others can reach it, so that it needs a token; set "
            f"{TOKEN_VARIABLE}, or name a file with --token-file"
        )
    return Tokens(tokens)
