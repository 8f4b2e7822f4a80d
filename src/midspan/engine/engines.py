"""The dialect of every engine. A new one is a file with a `Dialect` and a line here."""

from collections.abc import Mapping

from midspan.engine.dialects import Dialect
from midspan.engine.own_server import OwnDialect
from midspan.engine.server import EndpointConfig, ServerHabits
from midspan.engine.sglang import SglangDialect
from midspan.engine.vllm import VllmDialect
from midspan.served import Engine

_DIALECTS: Mapping[Engine, type[Dialect]] = {
    "openai": Dialect,
    "vllm": VllmDialect,
    "sglang": SglangDialect,
    "midspan": OwnDialect,
}


def dialect_of(config: EndpointConfig, habits: ServerHabits) -> Dialect:
    """How a server is asked."""
    return _DIALECTS[config.engine](config, habits)
