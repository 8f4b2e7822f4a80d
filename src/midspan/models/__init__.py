"""Model families and loading: what a checkpoint is, how it is read, how it is spoken to.

Importing this package teaches transformers' Auto classes the families, without remote code; after
`midspan.start.wait`, the first of its names that is asked for does. Each family is a module of its
own that registers itself: a new file is all that a new family takes.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from midspan import start

if TYPE_CHECKING:
    from midspan.models.adapters import attach_adapter
    from midspan.models.family import (
        Family,
        Piece,
        Special,
        SpecialTokens,
        families,
        family_for,
    )
    from midspan.models.loading import check_spec, load, stored_dtype
    from midspan.models.model import DiffusionLM
    from midspan.models.sources import register_alias

__all__ = [
    "DiffusionLM",
    "Family",
    "Piece",
    "Special",
    "SpecialTokens",
    "attach_adapter",
    "check_spec",
    "families",
    "family_for",
    "load",
    "register_alias",
    "stored_dtype",
]
_HOMES = {
    "adapters": ("attach_adapter",),
    "family": ("Family", "Piece", "Special", "SpecialTokens", "families", "family_for"),
    "loading": ("check_spec", "load", "stored_dtype"),
    "model": ("DiffusionLM",),
    "sources": ("register_alias",),
}


def _teach() -> None:
    """Import every family, and take the public names from their modules."""
    # In the order of their names, so that the table of families is always the same.
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    for home, names in _HOMES.items():
        module_of_names = import_module(f"{__name__}.{home}")
        globals().update({name: getattr(module_of_names, name) for name in names})


def __getattr__(name: str) -> Any:
    """A public name that the package waited with."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _teach()
    return globals()[name]


if not start.waits():
    _teach()
