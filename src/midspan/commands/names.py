"""Names of models, files and judges, checked before anything heavy is imported.

A typo costs no seconds, and the nearest name is said.
"""

import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from midspan.commands.choices import (
    CLASSIFIERS,
    FROM_FILE,
    JUDGES,
    ORGANISM2_ADAPTERS,
    ORGANISM_ADAPTERS,
    PLAIN_JUDGES,
    TASK_DATA,
    checking,
    completing,
    judge_forms,
    listed,
)
from midspan.errors import MidspanError, nearest, not_one_of
from midspan.files import disk, user_path
from midspan.served import HUB_ID, is_served

Given = TypeVar("Given", str, list[str], None)

# What stands behind an organism's name and a colon: other weights, then shipped adapters.
_VARIANTS = {
    "organism": (("mini",), ORGANISM_ADAPTERS),
    "organism2": (("helpful",), ORGANISM2_ADAPTERS),
}
_OWN = tuple(
    name
    for own, (others, adapters) in _VARIANTS.items()
    for name in (own, *(f"{own}:{variant}" for variant in (*others, *adapters)))
)
# How an organism's sets are written.
SET_FORMS: dict[str, tuple[str, ...]] = {
    "organism": ("organism:N",),
    "organism2": ("organism2:N", "organism2:held-out:N", "organism2:held-in:N"),
}
_OWN_SETS = ("organism:18", "organism:4", "organism2:18", "organism2:held-out:18")
# What reads like a world's name is refused as one, and as no file or folder.
_LIKE_OURS = re.compile(r"organism\d*")
_DEFENDED = " with "
_ON_HUB = "hub:"
# Of --decoding, in place of a file.
FAST = "fast"


def checked_name(given: Given) -> Given:
    """A model's name, or several, where a model of this name can be.

    Whether a checkpoint is whole, and what a server or hub has, is found out later.

    Raises:
        MidspanError: There is no such model; it says which name is near.
    """
    specs: list[str] = [given] if isinstance(given, str) else given or []
    for spec in specs:
        _check(spec.partition(_DEFENDED)[0])
    return given


def _check(spec: str) -> None:
    own, colon, shipped = spec.partition("+")[0].partition(":")
    if own in _VARIANTS and colon and spec.partition("+")[0] not in _OWN:
        others, adapters = _VARIANTS[own]
        near = nearest(shipped, (*others, *adapters))
        listed = ", ".join(adapters) or "none"
        raise MidspanError(f"{spec}: no such adapter; shipped are {listed}{near}")
    if _is_there(spec):
        return
    base, plus, adapter = spec.rpartition("+")
    if plus:
        _check(base)
        raise MidspanError(
            f"{spec}: there is no adapter folder {adapter}, and it is no hub id (owner/name)"
            f"{_nearest_path(Path(adapter))}"
        )
    folders = [path.name for path in Path().iterdir() if path.is_dir()]
    close = get_close_matches(spec, [*_OWN, *folders], n=1)
    hint = f"; did you mean {close[0]}?" if close else _nearest_path(Path(spec))
    raise MidspanError(f"there is no folder {spec}, and it is no hub id (owner/name){hint}")


def check_model_of(field: str, spec: str) -> None:
    """Refuse what can be no model, behind the field that names it."""
    try:
        _check(spec)
    except MidspanError as error:
        raise MidspanError(f"{field}: {error}") from error


def check_judge(field: str, spec: str) -> None:
    """Refuse what is no judge, or asks what can be no model."""
    name, _, rest = spec.partition("=")
    if name not in JUDGES or (name in PLAIN_JUDGES and rest):
        forms = judge_forms()
        near = nearest(name, JUDGES)
        raise MidspanError(f"{field}: must be one of {', '.join(forms)}; got {spec!r}{near}")
    model, _, file = rest.partition(FROM_FILE)
    if model and not (name in CLASSIFIERS and _exists(Path(model))):
        check_model_of(field, model)
    if file:
        check_path(field, file)


def check_set(field: str, spec: str) -> None:
    """Refuse what is no set of requests: ``organism:N``, registered, a file, or on the hub."""
    from midspan.data import BENCHMARKS

    if _is_of_world(spec):
        forms = tuple(form for own in SET_FORMS.values() for form in own)
        if not any(re.fullmatch(rf"{re.escape(form[:-1])}0*[1-9]\d*", spec) for form in forms):
            forms = SET_FORMS.get(spec.partition(":")[0], forms)
            raise MidspanError(f"{field}: {spec!r} must be {listed(forms)}, with N of 1 or more")
        return
    left, _, path = spec.partition("=")
    name, _, count = left.rpartition(":")
    name = name if name and count.isdecimal() else left
    if name in BENCHMARKS:
        if path:
            check_path(field, path)
        return
    if spec.startswith(_ON_HUB) or any(_exists(Path(one)) for one in (spec, name)):
        return
    near = nearest(name, (*BENCHMARKS, *_OWN)) or _nearest_path(Path(name))
    raise MidspanError(
        f"{field}: there is no file {name}, and no set of this name; "
        f"`midspan data` lists the sets{near}"
    )


def check_path(field: str, given: str | Path) -> None:
    """Refuse a file or folder that is not there."""
    path = Path(given)
    if not _exists(path):
        raise MidspanError(f"{field}: there is no {path}{_nearest_path(path)}")


def _check_data(field: str, entry: str) -> None:
    name, _, path = entry.partition("=")
    if name not in TASK_DATA:
        raise not_one_of(field, name, TASK_DATA)
    if path:
        check_path(field, path)


def _check_calibration(field: str, entry: str) -> None:
    judge, _, path = entry.rpartition("=")
    if not (judge and path):
        raise MidspanError(f"{field}: must be JUDGE=FILE; got {entry!r}")
    check_judge(field, judge)
    check_path(field, path)


def _check_decoding(field: str, given: str) -> None:
    if given != FAST and not _exists(Path(given)):
        near = nearest(given, (FAST,)) or _nearest_path(Path(given))
        raise MidspanError(f"{field}: must be fast or a file; there is no {given}{near}")


def _exists(path: Path) -> bool:
    with disk("cannot read", path):
        return user_path(path).exists()


def _nearest_path(path: Path) -> str:
    """The end of a message: what lies beside it, or beside the first of its folders missing."""
    missing = user_path(path)
    while not missing.parent.is_dir() and missing.parent != missing:
        missing = missing.parent
    if not missing.parent.is_dir():
        return ""
    there = {file.name: file for file in missing.parent.iterdir()}
    near = get_close_matches(missing.name, there, n=1)
    return f"; did you mean {there[near[0]]}?" if near else ""


def _is_there(spec: str) -> bool:
    if is_served(spec) or _is_place(spec) or ("+" not in spec and _is_of_world(spec)):
        return True
    base, _, adapter = spec.rpartition("+")
    return bool(base) and _is_there(base) and _is_place(adapter)


def _is_of_world(spec: str) -> bool:
    """Whether a model or a set is a world's by its name, whatever stands behind the colon."""
    world = spec.partition(":")[0]
    return world in SET_FORMS or bool(_LIKE_OURS.fullmatch(world))


def _is_place(name: str) -> bool:
    """Whether a name is a folder, or has a hub id's form."""
    return user_path(name).is_dir() or bool(HUB_ID.fullmatch(name))


# Callbacks of options: a file or folder that must be there; JUDGE=FILE of a calibration.
checked_path = checking(check_path)
checked_calibration = checking(_check_calibration)


def _folders(incomplete: str) -> list[str]:
    """Folders that a path's beginning names; hidden ones where it names a dot."""
    place, _, name = incomplete.rpartition("/")
    parent = user_path(f"{place}/" if incomplete.startswith("/") else place or ".")
    if not parent.is_dir():
        return []
    hidden = name.startswith(".")
    there = (f.name for f in parent.iterdir() if f.name.startswith(name) and f.is_dir())
    prefix = incomplete.removesuffix(name) if name else incomplete
    return sorted(f"{prefix}{one}" for one in there if hidden or not one.startswith("."))


def _completed_model(incomplete: str) -> list[str]:
    base, plus, adapter = incomplete.rpartition("+")
    if plus:
        return [f"{base}+{folder}" for folder in _folders(adapter)]
    return [*completing(_OWN)(incomplete), *_folders(incomplete)]


def _completed_judge(incomplete: str) -> list[str]:
    name, equals, model = incomplete.partition("=")
    if equals:
        return [f"{name}={one}" for one in _completed_model(model)]
    forms = dict.fromkeys(form.partition("=")[0] + "=" * ("=" in form) for form in judge_forms())
    return completing(forms)(incomplete)


def _completed_set(incomplete: str) -> list[str]:
    from midspan.data import BENCHMARKS

    return completing((*_OWN_SETS, *BENCHMARKS))(incomplete)


# Of options and arguments: what refuses a name, and what a shell completes it by; where nothing of
# ours fits, the shell names files. A model; one that the message names the option of; judges, each
# with the model that it asks; sets of requests; NAME=FILE of a task's data;
# settings of decoding.
A_MODEL: dict[str, Any] = {"callback": checked_name, "autocompletion": _completed_model}
A_HELPER: dict[str, Any] = {
    "callback": checking(check_model_of),
    "autocompletion": _completed_model,
}
A_JUDGE: dict[str, Any] = {"callback": checking(check_judge), "autocompletion": _completed_judge}
A_SET: dict[str, Any] = {"callback": checking(check_set), "autocompletion": _completed_set}
TASK_FILES: dict[str, Any] = {
    "callback": checking(_check_data),
    "autocompletion": completing(f"{name}=" for name in TASK_DATA),
}
SETTINGS: dict[str, Any] = {
    "callback": checking(_check_decoding),
    "autocompletion": completing((FAST,)),
}
