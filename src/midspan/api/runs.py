"""What the verbs share: models by name, a folder for the run, the call that made it, its fields."""

import atexit
import logging
import reprlib
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from midspan.errors import MidspanError

if TYPE_CHECKING:
    from midspan.api.adapter import TrainedAdapter
    from midspan.models import DiffusionLM

# What every verb takes as a model.
Model: TypeAlias = "DiffusionLM | TrainedAdapter | str"

_numbers = count(1)


class Models(NamedTuple):
    """Models of a run.

    Attributes:
        specs: Their names, in the order given.
        loaded: Those that the caller had loaded, by name.
    """

    specs: tuple[str, ...]
    loaded: "dict[str, DiffusionLM]"


def listed(value: Any) -> list[Any]:
    """A list of what is given as one thing or as several."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    return [value]


def named(models: "Model | Sequence[Model]") -> Models:
    """One or several models by their names.

    Raises:
        MidspanError: There is none, or two models have the same name.
    """
    from midspan.models import DiffusionLM

    specs: list[str] = []
    loaded: dict[str, DiffusionLM] = {}
    for model in listed(models):
        spec = _spec(model)
        if spec in specs:
            raise MidspanError(f"models: {spec} is named twice; dataclasses.replace(lm, name=...)")
        specs.append(spec)
        if isinstance(model, DiffusionLM):
            loaded[spec] = model
    if not specs:
        raise MidspanError("models: name at least one")
    return Models(tuple(specs), loaded)


def ready(model: Model) -> "DiffusionLM":
    """A loaded model as it is, or the one that a spec or adapter names.

    Raises:
        MidspanError: It is none of these, or cannot be loaded.
    """
    from midspan.models import DiffusionLM, load

    return model if isinstance(model, DiffusionLM) else load(_spec(model))


def _spec(model: Model) -> str:
    """The spec that stands for a model in a config."""
    spec = model if isinstance(model, str) else getattr(model, "spec", getattr(model, "name", None))
    if not isinstance(spec, str):
        raise MidspanError(
            f"models: must be loaded models, trained adapters or specs; got {type(model).__name__}"
        )
    return spec


def run_folder(out: str | Path | None, verb: str) -> Path:
    """The folder of a run: the caller's, or a temporary one that lives as long as the process."""
    return Path(out) if out is not None else _temporary() / f"{verb}-{next(_numbers)}"


@cache
def _temporary() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="midspan-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def split_fields(fields: Mapping[str, Any], known: Iterable[str]) -> tuple[dict[str, Any], ...]:
    """Fields that a config has, and the others."""
    names = set(known)
    inside = {name: value for name, value in fields.items() if name in names}
    return inside, {name: value for name, value in fields.items() if name not in names}


def call_text(verb: str, *arguments: Any, **keywords: Any) -> str:
    """The call as one types it again, for the run folder; keywords that are None are left out."""
    parts = [_text(argument) for argument in arguments]
    parts += [f"{name}={_text(value)}" for name, value in keywords.items() if value is not None]
    return f"midspan.{verb}({', '.join(parts)})"


def _text(value: Any) -> str:
    from midspan.api.adapter import TrainedAdapter
    from midspan.models import DiffusionLM

    if isinstance(value, DiffusionLM):
        return f"midspan.load({value.name!r})"
    if isinstance(value, TrainedAdapter):
        return repr(value.spec)
    if isinstance(value, Path):
        return repr(str(value))
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str | int | float | bool):
        return repr(value)
    return f"<{type(value).__name__} {reprlib.repr(getattr(value, 'fingerprint', ''))}>"


def warn_of(problems: Sequence[str]) -> None:
    """Log what makes a finished run doubtful; a command would end with status 1."""
    for problem in problems:
        logging.getLogger("midspan").warning(problem)
