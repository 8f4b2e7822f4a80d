"""The base of configs that users write, and what a wrong one says."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from midspan.errors import MidspanError


class FrozenConfig(BaseModel):
    """A frozen config that names the first wrong field in one line.

    Attributes:
        group: What stands before the field's name in that line.
    """

    group: ClassVar[str] = ""
    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise MidspanError(first_fault(error, self.group)) from error


def first_fault(error: ValidationError, within: str = "") -> str:
    """Pydantic's report as one line: the first wrong field, ``within`` a group, and the fix."""
    first = error.errors()[0]
    place = ".".join(map(str, (*([within] if within else []), *first["loc"])))
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
