"""The demo's models: the Original, shipped adapters of it, and what is trained here."""

from midspan.alignment import LABELS as RECIPE_LABELS

BASE = "original"
# Adapters that the package ships, and recipes that are trained anew.
SHIPPED = ("initial-stable", "mosa-stable", "psa")
TRAINED = ("mosa-stable",)
_TRAINED = "trained-"


def trained(objective: str) -> str:
    """The model that a recipe makes, as the records name it."""
    return f"{_TRAINED}{objective}"


def label_of(model: str) -> str:
    """A model as tables and figures have it."""
    if model == BASE:
        return "Original"
    name = RECIPE_LABELS[model.removeprefix(_TRAINED)]
    return f"{name}, trained here" if model.startswith(_TRAINED) else name


def named(model: str) -> str:
    """A model as sentences have it."""
    return f"the {label_of(model)}" if model == BASE else label_of(model)
