"""Options that are generated: from the fields of a config, or from a table for several commands."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from inspect import Parameter
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args, get_origin

import typer

from midspan.commands.choices import completing
from midspan.yaml_file import group_of

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo


class FieldOption(NamedTuple):
    """The option of one field.

    Attributes:
        path: The field's name behind those of the groups that hold it.
        annotation: What typer makes the option of; it is None where a user does not give it.
    """

    path: tuple[str, ...]
    annotation: Any


def field_options(
    config: "type[BaseModel]",
    without: tuple[str, ...] = (),
    choices: Mapping[str, Iterable[str]] | None = None,
) -> dict[str, FieldOption]:
    """One option a field, by name; fields of a nested config are options of their own.

    A tuple is a repeatable option, which a shell completes by the names of its default. Help is
    what the class says of its attributes.

    Args:
        config: The config; its docstring has a section "Attributes".
        without: Fields that have no option, in nested configs too.
        choices: Names that fields may hold, where these are not those of the default.
    """
    from pydantic import BaseModel

    known = choices or {}

    documented = attribute_docs(config)
    options: dict[str, FieldOption] = {}
    for name, field in config.model_fields.items():
        kind: Any = field.annotation
        if name in without:
            continue
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for inner, (path, annotation) in field_options(kind, without, known).items():
                options[inner] = FieldOption((name, *path), annotation)
        else:
            least = next((m.ge for m in field.metadata if hasattr(m, "ge")), None)
            again = " Repeatable." if get_origin(kind) is tuple else ""
            usual = field.default if isinstance(field.default, tuple) else ()
            names = completing(str(one) for one in known.get(name, usual))
            text = documented[name] + again
            option = typer.Option(help=text, min=least, autocompletion=names)
            options[name] = FieldOption((name,), Annotated[_given_as(field) | None, option])
    return options


def _given_as(field: "FieldInfo") -> Any:
    """The type of one value on the command line, or a list of it."""
    kinds = [kind for kind in get_args(field.annotation) if kind is not type(None)]
    if get_origin(field.annotation) is tuple:
        return GenericAlias(list, kinds[0])
    return kinds[0] if kinds else field.annotation


def attribute_docs(config: "type[BaseModel]") -> dict[str, str]:
    """What a class's docstring says of each attribute, on one line."""
    section = (inspect.getdoc(config) or "").partition("Attributes:\n")[2]
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def with_options(group: str, options: Mapping[str, Any]) -> Callable[[Any], Callable[..., None]]:
    """Make a command's parameter `group` one option an entry; it is a dict of those given.

    Args:
        group: The parameter.
        options: Annotations by option; each is None where a user does not give it.
    """

    def decorate(command: Any) -> Callable[..., None]:
        @wraps(command)
        def expanded(**values: Any) -> None:
            taken = {name: values.pop(name) for name in options}
            values[group] = {name: value for name, value in taken.items() if value is not None}
            command(**values)

        parameters: dict[str, tuple[Any, Any]] = {}
        for name, parameter in inspect.signature(command).parameters.items():
            parameters |= (
                {option: (kind, None) for option, kind in options.items()}
                if name == group
                else {name: (parameter.annotation, parameter.default)}
            )
        return signed(expanded, parameters)

    return decorate


def signed(command: Any, parameters: Mapping[str, tuple[Any, Any]]) -> Callable[..., None]:
    """State a command's parameters, as typer reads them: annotation and default by name."""
    command.__signature__ = inspect.Signature(
        [
            Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
            for name, (annotation, default) in parameters.items()
        ]
    )
    return command


def set_field(fields: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set a field, where needed in groups of fields.

    Raises:
        MidspanError: A group holds no fields.
    """
    *groups, name = path
    for group in groups:
        fields[group] = group_of(fields, group)
        fields = fields[group]
    fields[name] = value
