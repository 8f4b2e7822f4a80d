"""The organisms' worlds by name: of which one a model, a set of requests or a behavior is.

Both worlds have the same rooms, such as `behaviors`, `attack_texts` and `training_data`; a room is
imported when somebody asks for it.
"""

import re
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from midspan.errors import MidspanError

FIRST, SECOND = "organism", "organism2"
_PACKAGES = {FIRST: "midspan.organism", SECOND: "midspan.organism.second"}
WORLDS = tuple(_PACKAGES)


def world_of(spec: str) -> str:
    """The world of a model's name, alone, with an adapter or defences, or of a set of requests.

    Empty for everything else, and for folders, whose names say nothing.
    """
    name = re.split(r"[+:]| with ", spec)[0]
    return name if name in WORLDS else ""


def is_organism(model: str) -> bool:
    """Whether a model's name is an organism's, alone, with an adapter or with defences."""
    return bool(world_of(model))


def room(world: str, name: str) -> Any:
    """A module of a world."""
    return import_module(f"{_PACKAGES[world]}.{name}")


def check_one_world(world: str, field: str, specs: Iterable[str]) -> None:
    """Refuse models, helpers or sets whose name says that they are of another world.

    Args:
        world: That of the requests; empty where they are of none.
        field: What names the specs, for the message.
        specs: Names; those that say no world pass.

    Raises:
        MidspanError: Naming the first of another world.
    """
    for spec in specs:
        own = world_of(spec)
        if own and world and own != world:
            raise MidspanError(
                f"{field}: {spec} knows the world of {own} alone, and the requests are {world}'s; "
                f"name {world}, or ask {own}'s requests"
            )
