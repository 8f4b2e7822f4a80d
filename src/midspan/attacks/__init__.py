"""Attacks: one a file, its loop whole and visible, its paper's defaults.

Each module holds an `ATTACK`; a new file is all that a new attack takes.
"""

from importlib import import_module
from pkgutil import iter_modules

from midspan.engine.attack import Attack
from midspan.errors import not_one_of


def list_attacks() -> tuple[str, ...]:
    """Names of all attacks, as users write them; helper modules begin with an underscore."""
    return tuple(module.name for module in iter_modules(__path__) if module.name[0] != "_")


def get_attack(name: str) -> Attack:
    """The attack of a name.

    Raises:
        MidspanError: There is none of this name.
    """
    if name not in list_attacks():
        raise not_one_of("attack", name, list_attacks())
    return import_module(f"{__name__}.{name}").ATTACK
