"""midspan: the safety workbench for diffusion language models.

Importing the package is cheap: torch, transformers and peft load with the first name that needs
them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from midspan.version import __version__

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig, Request, decode
    from midspan.models import DiffusionLM, load

__all__ = ["DecodingConfig", "DiffusionLM", "Request", "__version__", "decode", "load"]

_HOMES = {
    "DecodingConfig": "midspan.decoding",
    "Request": "midspan.decoding",
    "decode": "midspan.decoding",
    "DiffusionLM": "midspan.models",
    "load": "midspan.organism.weights",
}


def __getattr__(name: str) -> Any:
    """Resolve a public name from its room on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'midspan' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
