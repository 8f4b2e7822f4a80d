"""The base of configs that users write, and what a wrong one says."""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from midspan.errors import MidspanError

Config = TypeVar("Config", bound=BaseModel)


class FrozenConfig(BaseModel):
    """A frozen config that names the first wrong field in one line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise MidspanError(first_fault(error)) from error


def first_fault(error: ValidationError, within: str = "") -> str:
    """Pydantic's report as one line: the first wrong field, ``within`` a group, and the fix."""
    first = error.errors()[0]
    place = ".".join(map(str, (*([within] if within else []), *first["loc"])))
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
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


def validated(config: type[Config], fields: dict[str, Any]) -> Config:
    """Build a config; pydantic's report becomes one line."""
    try:
        return config.model_validate(fields)
    except ValidationError as error:
        raise MidspanError(first_fault(error)) from error
