"""The organisms' worlds by name: of which one a model, a set of requests or a behavior is.

Both worlds have the same rooms, such as `behaviors`, `attack_texts` and `training_data`; a room is
imported when somebody asks for it.
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from midspan.errors import MidspanError

FIRST, SECOND = "organism", "organism2"
_PACKAGES = {FIRST: "midspan.organism", SECOND: "midspan.organism.second"}
WORLDS = tuple(_PACKAGES)


def world_of(spec: str) -> str:
    """The world of a set of requests, or of a model's name alone, with an adapter or defences.

    Empty for everything else, and for folders, whose names say nothing: `world_in` knows those.
    """
    name = re.split(r"[+:]| with ", spec)[0]
    return name if name in WORLDS else ""


def world_in(spec: str) -> str:
    """The world of a model, by its name or, of a folder, by the words of its tokenizer.

    Empty for everything else, and for folders that hold no readable tokenizer.
    """
    if named := world_of(spec):
        return named
    folder = re.split(r"\+| with ", spec)[0]
    words = _vocabulary(Path(folder))
    return next((world for world in WORLDS if words and words == _vocabulary(_shipped(world))), "")


def _shipped(world: str) -> Path:
    """Where a world's weights stand; named without the import of its rooms, some of them large."""
    return Path(__file__).parent.joinpath(*_PACKAGES[world].split(".")[2:], "weights")


def _vocabulary(folder: Path) -> Any:
    path = folder / "tokenizer.json"
    try:
        return _read(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, TypeError, KeyError):  # what loads the model says what is wrong
        return None


@lru_cache(maxsize=8)
def _read(path: Path, _changed_ns: int) -> Any:
    return json.loads(path.read_bytes())["model"]["vocab"]


def is_organism(model: str) -> bool:
    """Whether a model is an organism, alone, with an adapter or with defences."""
    return bool(world_in(model))


def room(world: str, name: str) -> Any:
    """A module of a world."""
    return import_module(f"{_PACKAGES[world]}.{name}")


def check_one_world(world: str, field: str, specs: Iterable[str]) -> None:
    """Refuse models, helpers or sets that are of another world by their name or tokenizer.

    Args:
        world: That of the requests; empty where they are of none.
        field: What names the specs, for the message.
        specs: Names and folders; those that are of no world pass.

    Raises:
        MidspanError: Naming the first of another world.
    """
    for spec in specs:
        own = world_in(spec) if world else ""
        if own and own != world:
            raise MidspanError(
                f"{field}: {spec} knows the world of {own} alone, and the requests are {world}'s; "
                f"name {world}, or ask {own}'s requests"
            )


def check_training_sets(model: str, named: Mapping[str, Iterable[str | None]]) -> None:
    """Refuse an organism's sets of requests where an alignment takes prompts: it reads none.

    An organism brings its own prompts, which name nothing that is held out.

    Args:
        model: The model that is aligned.
        named: Names of sets or files by what the user calls the field; None passes.

    Raises:
        MidspanError: Naming the first organism's set.
    """
    world = world_in(model)
    for field, spec in ((field, spec) for field, specs in named.items() for spec in specs):
        own = world_of(spec or "")
        if not own:
            continue
        said = "is asked by attacks and probes, and no alignment learns from it"
        remedy = "give a file, or a set of `midspan data`"
        if world:
            remedy = f"leave {field} out: {world} brings its own prompts"
            if own != world:
                said = f"is of the world of {own}, and the model is of that of {world}"
        raise MidspanError(f"{field}: {spec} {said}; {remedy}")
