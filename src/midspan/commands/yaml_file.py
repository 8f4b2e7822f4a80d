"""Fields of a YAML file, as plain values: what JSON has no word for is refused by its line."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from midspan.data.text import whole_text
from midspan.errors import MidspanError
from midspan.files import read_text

# A configuration has hundreds of values; a few lines of aliases of aliases make billions.
_MOST_VALUES = 100_000
_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "merge"))
_NAME_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "merge"))
_SCALAR_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float"))


def read_fields(file: Path) -> dict[str, Any]:
    """The fields of a YAML file.

    Raises:
        MidspanError: It cannot be read, or is no YAML of fields with plain values.
    """
    loader = yaml.SafeLoader(read_text(file).replace("\0", "\ufffd"))
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise MidspanError(f"{file} must hold field: value lines")
        _check(node, file)
        fields = loader.construct_document(node)
    except yaml.YAMLError as error:
        raise MidspanError(f"{file} is not YAML: {_one_line(error)}") from error
    except RecursionError as error:
        raise MidspanError(f"{file} is nested too deeply to be read") from error
    except ValueError as error:
        # A number that is none, such as one of too many digits.
        if isinstance(error, MidspanError):
            raise
        raise MidspanError(f"{file} is not YAML: {error}") from error
    finally:
        loader.dispose()
    whole: dict[str, Any] = _whole(fields, file)
    return whole


def _one_line(error: yaml.YAMLError) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    words = " ".join(str(problem or error).split())
    return f"line {mark.line + 1}: {words}" if mark else words


def _check(node: yaml.Node, file: Path) -> None:
    """Refuse keys that are given twice, values of other kinds, and aliases that make too much."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in open_nodes:
            raise MidspanError(f"{file} {_place(node)}: a value holds itself; write it out")
        if id(node) not in sizes:
            open_nodes.add(id(node))
            sizes[id(node)] = 1 + sum(map(size, _children(node, file)))
            open_nodes.remove(id(node))
        if sizes[id(node)] > _MOST_VALUES:
            raise MidspanError(f"{file} {_place(node)}: more than {_MOST_VALUES} values by aliases")
        return sizes[id(node)]

    size(node)


def _children(node: yaml.Node, file: Path) -> Iterator[yaml.Node]:
    kinds = _SCALAR_TAGS | _PLAIN_TAGS if isinstance(node, yaml.ScalarNode) else _PLAIN_TAGS
    if node.tag not in kinds:
        kind = node.tag.rpartition(":")[2]
        raise MidspanError(
            f"{file} {_place(node)}: a {kind} is no value of a field; put it into quotes"
        )
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        _check_keys(node, file)
        for key, value in node.value:
            yield key
            yield value


def _check_keys(node: yaml.MappingNode, file: Path) -> None:
    seen = set()
    for key, _ in node.value:
        if key.tag not in _NAME_TAGS:
            raise MidspanError(f"{file} {_place(key)}: a name must be a text; put it into quotes")
        if key.value in seen:
            raise MidspanError(f"{file} {_place(key)}: {key.value!r} is there twice")
        seen.add(key.value)


def _place(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


def _whole(value: Any, file: Path) -> Any:
    """A value with whole texts and names as keys."""
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, float) and math.isnan(value):
        raise MidspanError(f"{file}: .nan is no value of a field; leave the field out")
    if isinstance(value, dict):
        return {whole_text(key): _whole(item, file) for key, item in value.items()}
    return [_whole(item, file) for item in value] if isinstance(value, list) else value
