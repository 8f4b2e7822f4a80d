"""Fields of a YAML text, as plain values: what JSON has no word for is refused by its line."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from midspan.errors import MidspanError

# A configuration has hundreds of values; a few lines of aliases of aliases make billions.
_MOST_VALUES = 100_000
_TAG = "tag:yaml.org,2002:"
_NAME_TAGS = frozenset(_TAG + kind for kind in ("str", "merge"))
_TAGS = _NAME_TAGS | {_TAG + kind for kind in ("map", "seq", "null", "bool", "int", "float")}


def read_fields(text: str, place: object) -> dict[str, Any]:
    """The fields of a YAML text.

    Args:
        text: The text.
        place: Where it stands, for the message.

    Raises:
        MidspanError: It is no YAML, or not of names and plain values.
    """
    try:
        fields = _constructed(text, place)
    except yaml.YAMLError as error:
        raise MidspanError(f"{place} is not YAML: {_one_line(error)}") from error
    except RecursionError as error:
        raise MidspanError(f"{place} is nested too deeply to be read") from error
    except (ValueError, LookupError, AttributeError) as error:
        if isinstance(error, MidspanError):
            raise
        # A tag that does not fit its value, or a number of too many digits.
        raise MidspanError(f"{place} is not YAML: {error}") from error
    if not isinstance(fields, dict):
        raise MidspanError(f"{place} must hold field: value lines")
    return fields


def group_of(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A copy of a group of fields; empty where there is none.

    Raises:
        MidspanError: It holds no fields.
    """
    group = fields.get(name, {})
    if not isinstance(group, Mapping):
        raise MidspanError(f"{name}: must hold field: value lines")
    return dict(group)


def _constructed(text: str, place: object) -> Any:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node, place)
        value = loader.construct_document(node)
    finally:
        loader.dispose()
    _refuse_infinite(value, place)
    return value


def _one_line(error: yaml.YAMLError) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    words = " ".join(str(problem or error).split())
    return f"line {mark.line + 1}: {words}" if mark else words


def _check(node: yaml.Node, place: object) -> None:
    """Refuse keys that are given twice, values of other kinds, and aliases that make too much."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in open_nodes:
            raise MidspanError(f"{place} {_line(node)}: a value holds itself; write it out")
        if id(node) not in sizes:
            open_nodes.add(id(node))
            sizes[id(node)] = 1 + sum(map(size, _children(node, place)))
            open_nodes.remove(id(node))
        if sizes[id(node)] > _MOST_VALUES:
            raise MidspanError(f"{place} {_line(node)}: more than {_MOST_VALUES} values by aliases")
        return sizes[id(node)]

    size(node)


def _children(node: yaml.Node, place: object) -> Iterator[yaml.Node]:
    if node.tag not in _TAGS:
        kind = node.tag.rpartition(":")[2]
        raise MidspanError(
            f"{place} {_line(node)}: a {kind} is no value of a field; put it into quotes"
        )
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        _check_names([key for key, _ in node.value], place)
        for key, value in node.value:
            yield key
            yield value


def _check_names(keys: list[yaml.Node], place: object) -> None:
    seen = set()
    for key in keys:
        if not isinstance(key, yaml.ScalarNode) or key.tag not in _NAME_TAGS:
            raise MidspanError(f"{place} {_line(key)}: a name must be a text; put it into quotes")
        if key.value in seen:
            raise MidspanError(f"{place} {_line(key)}: {key.value!r} is there twice")
        seen.add(key.value)


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


def _refuse_infinite(value: Any, place: object) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise MidspanError(f"{place}: {value} is no value of a field; leave the field out")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        _refuse_infinite(item, place)
