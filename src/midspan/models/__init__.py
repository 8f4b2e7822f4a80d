"""Model families and loading: what a checkpoint is, how it is read, how it is spoken to.

Importing this package teaches transformers' Auto classes the families, without remote code. Each
family is a module of its own that registers itself: a new file is all that a new family takes.
"""

from importlib import import_module
from pkgutil import iter_modules

from midspan.models.adapters import attach_adapter
from midspan.models.family import (
    Family,
    Piece,
    Special,
    SpecialTokens,
    families,
    family_for,
)
from midspan.models.loading import check_spec, load, register_alias, stored_dtype
from midspan.models.model import DiffusionLM

# In the order of their names, so that the table of families is always the same.
for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

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
