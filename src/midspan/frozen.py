"""The base of configs that users write, and what a wrong one says."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from midspan.errors import MidspanError, nearest, not_one_of

# What pydantic's kinds of fault say here, with the entry of their context that bounds the value.
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("above", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("below", "lt"),
}
_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "a text"}
_LONGEST_VALUE = 60


class FrozenConfig(BaseModel):
    """A frozen config that names the first wrong field, and where it is nested, in one line.

    Attributes:
        group: What stands before the field's name in that line.
    """

    group: ClassVar[str] = ""
    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **fields: Any) -> None:
        """Check the fields.

        Raises:
            MidspanError: A field is unknown, missing or wrong.
        """
        with _one_line(self.group, type(self)):
            super().__init__(**fields)

    @classmethod
    def model_validate(cls, obj: Any, *, within: str = "", **options: Any) -> Self:
        """Build a config from a mapping of fields.

        Args:
            obj: The fields.
            within: What the fields belong to, for the message.
            options: Pydantic's.

        Raises:
            MidspanError: A field is unknown, missing or wrong.
        """
        with _one_line(within or cls.group, cls):
            return super().model_validate(obj, **options)

    def changed(self, fields: Mapping[str, Any]) -> Self:
        """The config with some fields on top; see `merged`.

        Args:
            fields: As users write them.

        Raises:
            MidspanError: A field is unknown, missing or wrong.
        """
        return self.model_validate(merged(self.model_dump(), fields))


def plain(configs: Iterable[BaseModel]) -> list[dict[str, Any]]:
    """Configs in JSON's terms."""
    return [config.model_dump(mode="json") for config in configs]


class _FieldError(MidspanError):
    """A wrong field, with the config that it is of: around a nested config more is said."""

    def __init__(self, message: str, config: type[BaseModel]) -> None:
        super().__init__(message)
        self.config = config


@contextmanager
def _one_line(within: str, config: type[BaseModel]) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        raise _FieldError(first_fault(error, within, config), config) from error


def first_fault(
    error: ValidationError, within: str = "", config: type[BaseModel] | None = None
) -> str:
    """Pydantic's report as one line: the first wrong field, and the fix.

    Args:
        error: The report.
        within: What the fields belong to.
        config: Whose fields they are, so that a misspelt one is told from the nearest.
    """
    names = [within] if within else []
    while True:
        first = error.errors()[0]
        names += map(str, first["loc"])
        # A nested config has raised its own line; its report has the names of its fields.
        inner = first.get("ctx", {}).get("error")
        nested = getattr(inner, "__cause__", None)
        if not isinstance(nested, ValidationError):
            break
        error, config = nested, getattr(inner, "config", None)
    # Of a field that lies deeper, the config around it is not known.
    fields = config.model_fields if config is not None and len(first["loc"]) == 1 else ()
    message = _said(first, fields).removeprefix("Value error, ")
    return ": ".join(filter(None, (".".join(names), message)))


def _said(fault: Mapping[str, Any], fields: Iterable[str]) -> str:
    """One fault in the words of all other refusals; pydantic's own where we have none."""
    kind, context, value = fault["type"], fault.get("ctx", {}), fault["input"]
    if kind == "missing":
        return "is missing; give it"
    if kind == "extra_forbidden":
        return _no_such_field(str(fault["loc"][-1]), list(fields))
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        return str(not_one_of("", value, choices)) if choices else fault["msg"]
    got = f"; got {value!r:.{_LONGEST_VALUE}}"
    if kind in _BOUNDS:
        word, entry = _BOUNDS[kind]
        return f"must be {word} {str(context[entry]).removesuffix('.0')}{got}"
    expected = kind.removesuffix("_parsing").removesuffix("_type")
    return f"must be {_KINDS[expected]}{got}" if expected in _KINDS else fault["msg"]


def _no_such_field(name: str, fields: list[str]) -> str:
    near = nearest(name, fields)
    listed = f"; there are {', '.join(fields)}" if fields and not near else ""
    return f"there is no such field{near or listed}"


class Change(NamedTuple):
    """A field that differs between two configurations in JSON's terms.

    Attributes:
        name: Dotted.
        found: What one of them has.
        wanted: What the other one has.
    """

    name: str
    found: Any
    wanted: Any

    def __str__(self) -> str:
        return f"{self.name}: {self.found} there, {self.wanted} now"


def changes(found: Any, wanted: Any, name: str = "config") -> list[Change]:
    """Every field that differs, in the order of their names; lists of one length by their items."""
    pairs: Iterable[tuple[Any, Any, Any]]
    if isinstance(found, dict) and isinstance(wanted, dict):
        pairs = ((key, found.get(key), wanted.get(key)) for key in sorted(found | wanted))
    elif isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        pairs = zip(range(len(found)), found, wanted, strict=True)
    else:
        return [] if found == wanted else [Change(name, found, wanted)]
    return [one for key, old, new in pairs for one in changes(old, new, f"{name}.{key}")]


def first_change(changed: Sequence[Change]) -> str:
    """The change that lies the least deep, shortened, and how many there are besides."""
    first = min(changed, key=lambda change: change.name.count("."))
    values = (f"{value}" for value in (first.found, first.wanted))
    found, wanted = (v if len(v) <= _LONGEST_VALUE else f"{v[:_LONGEST_VALUE]}..." for v in values)
    more = f", and {len(changed) - 1} more" if len(changed) > 1 else ""
    return f"{Change(first.name, found, wanted)}{more}"


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Fields with changes on top; a group of fields keeps what the changes leave out.

    A group of another ``kind`` has other fields, and starts from its own defaults. A group that is
    set to null is left out.
    """
    result = dict(base)
    for name, value in changes.items():
        old = result.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            same = value.get("kind", old.get("kind")) == old.get("kind")
            result[name] = merged(old, value) if same else value
        elif isinstance(old, dict) and value is None:
            del result[name]
        else:
            result[name] = value
    return result
