"""The base of configs that users write, and what a wrong one says."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from midspan.errors import MidspanError


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
        with _one_line(self.group):
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
        with _one_line(within or cls.group):
            return super().model_validate(obj, **options)


def plain(configs: Iterable[BaseModel]) -> list[dict[str, Any]]:
    """Configs in JSON's terms."""
    return [config.model_dump(mode="json") for config in configs]


@contextmanager
def _one_line(within: str) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        raise MidspanError(first_fault(error, within)) from error


def first_fault(error: ValidationError, within: str = "") -> str:
    """Pydantic's report as one line: the first wrong field, ``within`` a group, and the fix."""
    names = [within] if within else []
    while True:
        first = error.errors()[0]
        names += map(str, first["loc"])
        # A nested config has raised its own line; its report has the names of its fields.
        nested = getattr(first.get("ctx", {}).get("error"), "__cause__", None)
        if not isinstance(nested, ValidationError):
            break
        error = nested
    message = first["msg"].removeprefix("Value error, ")
    return ": ".join(filter(None, (".".join(names), message)))


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
