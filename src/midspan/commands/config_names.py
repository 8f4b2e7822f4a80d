"""Names in configuration files, checked before the configs are imported, which takes seconds.

Which fields a config has is read from its source. What they may hold is what options may.
"""

import ast
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from midspan.commands.choices import (
    ATTACKS,
    CACHES,
    EOS_POLICIES,
    OBJECTIVES,
    REMASKING,
    REQUEST_KINDS,
    SAMPLERS,
    TASK_DATA,
    TASK_PRESETS,
    TASKS,
)
from midspan.commands.names import check_judge, check_model_of, check_path, check_set
from midspan.errors import MidspanError, nearest, not_one_of
from midspan.studies.probes.registry import PROBES

_SOURCE = Path(__file__).parents[1]
_FILES = (
    "alignment/config.py", "alignment/objectives/*.py", "engine/budget.py", "studies/*/config.py",
    "studies/hypotheses.py", "studies/organism/cases.py", "studies/organism/demo/cases.py",
    "studies/organism/*/config.py", "studies/training.py",
)  # fmt: skip
# Objectives, which are told apart by their kind.
_UNION = "AnyObjective"
_HELPERS = ("attacker", "evaluator", "translator")
_DECODING = {
    "sampler": SAMPLERS, "remasking": REMASKING, "eos_policy": EOS_POLICIES, "cache": CACHES,
}  # fmt: skip

Check = Callable[[str, str], None]


def _among(choices: tuple[str, ...]) -> Check:
    def check(where: str, value: str) -> None:
        if value not in choices:
            raise not_one_of(where, value, choices)

    return check


# What a field holds one name or several of; of a mapping these are its values.
_NAMES: Mapping[tuple[str, str], Check] = {
    ("AttackSpec", "attack"): _among(ATTACKS),
    ("DemoConfig", "objectives"): _among(OBJECTIVES),
    ("DemoConfig", "shipped"): _among(OBJECTIVES),
    ("PaperConfig", "base"): check_model_of,
    ("ProbeSpec", "benign"): check_set,
    ("ProbeSpec", "harmful"): check_set,
    ("ProbeSpec", "judge"): check_judge,
    ("ProbeSpec", "mixed"): check_set,
    ("ProbeSpec", "phrases"): check_path,
    ("ProbeSpec", "probe"): _among(tuple(PROBES)),
    ("ProbeSpec", "request_kinds"): _among(REQUEST_KINDS),
    ("RedteamConfig", "behaviors"): check_set,
    ("RedteamConfig", "helpers"): check_model_of,
    ("RedteamConfig", "judges"): check_judge,
    ("TaskConfig", "judge"): check_judge,
    ("TaskConfig", "preset"): _among(TASK_PRESETS),
    ("TaskConfig", "tasks"): _among(TASKS),
    ("TrainingData", "benign"): check_set,
    ("TrainingData", "exclude"): check_set,
    ("TrainingData", "harmful"): check_set,
    ("TrainingData", "phrases"): check_path,
}
# What the keys of a mapping are.
_KEYS: Mapping[tuple[str, str], Check] = {
    ("RedteamConfig", "helpers"): _among(_HELPERS),
    ("TaskConfig", "data"): _among(TASK_DATA),
}


class _Config(NamedTuple):
    bases: tuple[str, ...]
    fields: Mapping[str, ast.expr]


@cache
def _configs() -> dict[str, _Config]:
    """Every class of the files, by its name."""
    found = {}
    for path in (path for pattern in _FILES for path in sorted(_SOURCE.glob(pattern))):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                fields = {
                    one.target.id: one.annotation
                    for one in node.body
                    if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
                    if "ClassVar" not in _words(one.annotation)
                }
                bases = tuple(base.id for base in node.bases if isinstance(base, ast.Name))
                found[node.name] = _Config(bases, fields)
    return found


def config_fields(name: str) -> dict[str, ast.expr]:
    """Annotations of a config's fields, those of its bases first."""
    config = _configs()[name]
    inherited: dict[str, ast.expr] = {}
    for base in config.bases:
        inherited |= config_fields(base) if base in _configs() else {}
    return inherited | dict(config.fields)


def check_fields(fields: Mapping[str, Any], config: str, place: str = "--config: ") -> None:
    """Refuse names that a config does not have, or that nothing has.

    Values that are no names are left to the config itself.

    Args:
        fields: Of a file.
        config: Name of the class.
        place: What stands before a field's name in a message.

    Raises:
        MidspanError: There is no such field, or what it names is not there.
    """
    known = config_fields(config)
    for name, value in fields.items():
        where = f"{place}{name}"
        if name not in known:
            raise _no_field(where, name, known)
        if isinstance(value, Mapping) and (config, name) in _KEYS:
            for key in map(str, value):
                _KEYS[config, name](where, key)
        for text in _texts(value) if (config, name) in _NAMES else ():
            _NAMES[config, name](where, text)
        if name == "decoding" and isinstance(value, Mapping):
            for setting, choices in _DECODING.items():
                for text in _texts(value.get(setting)):
                    _among(choices)(f"{where}.{setting}", text)
        _check_within(value, known[name], where)


def _check_within(value: Any, annotation: ast.expr, where: str) -> None:
    """Check what lies in a field: a name of its literals, or fields of its own."""
    words = _words(annotation)
    literals = _literals(annotation)
    if literals and isinstance(value, str):
        _among(literals)(where, value)
    inner = next((word for word in words if word in _configs() or word == _UNION), "")
    if not inner:
        return
    groups = {f"{where}.": value}
    if isinstance(value, Mapping) and "dict" in words:
        groups = {f"{where}.{key}.": one for key, one in value.items()}
    elif isinstance(value, list) and "tuple" in words:
        groups = {f"{where}.{index}.": one for index, one in enumerate(value)}
    for place, group in groups.items():
        if isinstance(group, Mapping):
            _check_objective(group, place) if inner == _UNION else check_fields(group, inner, place)


def _check_objective(group: Mapping[str, Any], place: str) -> None:
    kinds = dict(_kinds())
    kind = group.get("kind")
    if isinstance(kind, str):
        _among(tuple(kinds))(f"{place}kind", kind)
    known = {name for config in kinds.values() for name in config_fields(config)}
    if isinstance(kind, str):
        check_fields(group, kinds[kind], place)
    for name in group:
        if name not in known:
            raise _no_field(f"{place}{name}", name, known)


def _kinds() -> Iterator[tuple[str, str]]:
    """Objectives by kind: the names of their classes."""
    for name, config in _configs().items():
        if name.endswith("Objective") and "kind" in config.fields:
            yield _literals(config.fields["kind"])[0], name


def _no_field(where: str, name: str, known: "Mapping[str, Any] | set[str]") -> MidspanError:
    near = nearest(name, known) or f"; there are {', '.join(sorted(known))}"
    return MidspanError(f"{where}: there is no such field{near}")


def _texts(value: Any) -> list[str]:
    """The names that a value consists of."""
    if isinstance(value, Mapping):
        value = list(value.values())
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _words(annotation: ast.expr) -> list[str]:
    return [node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)]


def _literals(annotation: ast.expr) -> tuple[str, ...]:
    """What a ``Literal`` among an annotation allows."""
    for node in ast.walk(annotation):
        if isinstance(node, ast.Subscript) and "Literal" in _words(node.value):
            inner = [one for one in ast.walk(node.slice) if isinstance(one, ast.Constant)]
            return tuple(one.value for one in inner if isinstance(one.value, str))
    return ()
