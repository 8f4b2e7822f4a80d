"""How models are named that are not here: behind a server, or on the hub.

A server's is ``openai:NAME``, ``URL#NAME`` or ``ENGINE:URL#NAME``, the hub's ``OWNER/NAME``.
"""

import re
from typing import Literal, NamedTuple, get_args
from urllib.parse import urlsplit

from midspan.errors import MidspanError

# "openai" is any server that speaks OpenAI's chat completions and nothing beside them.
Engine = Literal["openai", "vllm", "sglang", "midspan"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
OPENAI_URL = "https://api.openai.com/v1"
_PREFIXES = ("http://", "https://", *(f"{engine}:" for engine in ENGINES))
_API = "/v1"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


class Served(NamedTuple):
    """A model behind one server, or behind several that hold the same.

    Attributes:
        engine: What the server speaks.
        urls: Base addresses, up to and including ``/v1``; the first one names the model in
            journals.
        model: The model's name there.
    """

    engine: Engine
    urls: tuple[str, ...]
    model: str


def is_served(spec: str) -> bool:
    """Whether a spec is that of a model behind a server."""
    return spec.startswith(_PREFIXES)


def read_served(spec: str) -> Served:
    """The server and model that a spec names.

    Args:
        spec: ``openai:NAME``, ``URL#NAME``, or one of ``vllm:``, ``sglang:`` and ``midspan:``
            before ``URL#NAME``; several addresses stand with commas between them.

    Raises:
        MidspanError: It names none, or an address cannot be or holds a name or key.
    """
    prefix, _, rest = spec.partition(":")
    engine = next((one for one in ENGINES if one == prefix), None)
    if engine == "openai":
        if not rest:
            raise _unknown(spec)
        return Served("openai", (OPENAI_URL,), rest)
    addresses, _, model = (spec if engine is None else rest).partition("#")
    urls = tuple(check_url(url, spec, engine or "openai") for url in addresses.split(","))
    if not model:
        raise _unknown(spec)
    if len(set(urls)) < len(urls):
        raise MidspanError(f"{spec!r} names an address twice")
    return Served(engine or "openai", urls, model)


def check_url(url: str, spec: str, engine: Engine) -> str:
    """A base address without a slash at its end; of an engine always up to ``/v1``.

    Raises:
        MidspanError: It cannot be an address, or holds a name or key.
    """
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port or an address that cannot be
        known = False
    if not known:
        raise _unknown(spec)
    if parts.username or parts.password or parts.query:
        raise MidspanError("the address holds a name or key; put keys in the environment")
    base = url.rstrip("/")
    return base if engine == "openai" or base.endswith(_API) else base + _API


def root_of(url: str) -> str:
    """The address of a server's other routes, beside ``/v1``."""
    return url.removesuffix(_API)


def _unknown(spec: str) -> MidspanError:
    shown = spec.partition("@")[0]
    return MidspanError(
        f"{shown!r} is neither openai:MODEL nor URL#MODEL, with vllm:, sglang: or midspan: before "
        "the URL where it is such an engine's"
    )
