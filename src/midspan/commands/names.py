"""Names of models, checked before anything heavy is imported: a typo costs no seconds."""

import re
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from midspan.errors import MidspanError
from midspan.files import user_path
from midspan.served import HUB_ID, is_served

Given = TypeVar("Given", str, list[str], None)

_OWN = "organism"
_OWN_NAME = re.compile(rf"{_OWN}\d*(:[^+]*)?")
_DEFENDED = " with "


def checked_name(given: Given) -> Given:
    """A model's name, or several, where a model of this name can be.

    Whether a checkpoint is whole, and what a server or hub has, is found out later.

    Raises:
        MidspanError: There is no such model; it says which name is near.
    """
    specs: list[str] = [given] if isinstance(given, str) else list(given or ())
    for spec in specs:
        _check(spec.partition(_DEFENDED)[0])
    return given


def _check(spec: str) -> None:
    if _is_there(spec):
        return
    base, plus, adapter = spec.rpartition("+")
    if plus and _is_there(base):
        raise MidspanError(
            f"{spec}: there is no adapter folder {adapter}, and it is no hub id (owner/name)"
        )
    folders = [path.name for path in Path().iterdir() if path.is_dir()]
    near = get_close_matches(spec, [_OWN, *folders], n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise MidspanError(f"there is no folder {spec}, and it is no hub id (owner/name){hint}")


def _is_there(spec: str) -> bool:
    if is_served(spec) or _is_place(spec) or _OWN_NAME.fullmatch(spec):
        return True
    base, _, adapter = spec.rpartition("+")
    return bool(base) and _is_there(base) and _is_place(adapter)


def _is_place(name: str) -> bool:
    """Whether a name is a folder, or has a hub id's form."""
    return user_path(name).is_dir() or bool(HUB_ID.fullmatch(name))
