"""Model families and loading: what a checkpoint is, how it is read, how it is spoken to.

Importing this package teaches transformers' Auto classes the families, without remote code.
"""

from midspan.models import dream, llada  # registers the families
from midspan.models.adapters import attach_adapter
from midspan.models.family import (
    Family,
    Piece,
    Special,
    SpecialTokens,
    families,
    family_for,
)
from midspan.models.loading import load, register_alias
from midspan.models.model import DiffusionLM

__all__ = [
    "DiffusionLM",
    "Family",
    "Piece",
    "Special",
    "SpecialTokens",
    "attach_adapter",
    "dream",
    "families",
    "family_for",
    "llada",
    "load",
    "register_alias",
]
