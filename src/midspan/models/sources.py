"""Where models come from: folders, hub ids and registered names."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from midspan.errors import MidspanError
from midspan.served import HUB_ID

Resolver = Callable[[str], tuple[str | Path, str | Path | None]]

# Functions are named, not imported: this room knows no model that ships with midspan.
_ALIASES: dict[str, Resolver | str] = {
    "organism": "midspan.organism.weights:resolve",
    "organism2": "midspan.organism.second.weights:resolve",
}


def register_alias(prefix: str, resolver: Resolver | str) -> None:
    """Let `prefix` and `prefix:ANYTHING` name models.

    Args:
        prefix: The name, without a colon.
        resolver: From the whole name to a model folder and an adapter folder or None; as
            ``"module:function"``, which is imported when the name is first loaded.
    """
    _ALIASES[prefix] = resolver


def _resolver(name: str) -> Resolver | None:
    """The resolver of a registered name; None for a folder or a hub id."""
    resolver = _ALIASES.get(name.partition(":")[0])
    if isinstance(resolver, str):
        module, _, function = resolver.partition(":")
        return getattr(import_module(module), function)
    return resolver


class Source(NamedTuple):
    """Where a model and its adapter come from."""

    base: str | Path
    adapter: str | Path | None


def parse_spec(spec: str | Path, adapter: str | Path | None = None) -> Source:
    """Split "BASE+ADAPTER" and resolve registered names.

    Args:
        spec: A folder, a hub id, a registered name, or one of these + an adapter.
        adapter: An adapter given apart.

    Raises:
        MidspanError: If there is more than one adapter.
    """
    name, named = _split(spec)
    resolver = None if Path(name).is_dir() else _resolver(name)
    folder, implied = resolver(name) if resolver else (name, None)
    adapters = [one for one in (adapter, named, implied) if one is not None]
    if len(adapters) > 1:
        raise MidspanError(f"{spec} has more than one adapter: {', '.join(map(str, adapters))}")
    return Source(folder, adapters[0] if adapters else None)


def base_name(spec: str | Path) -> str:
    """What "BASE+ADAPTER" calls its base, as it is written."""
    return _split(spec)[0]


def registered_folder(name: str) -> str | Path | None:
    """Where the model lies that a registered name means; None for every other name."""
    resolver = _resolver(name)
    try:
        folder = resolver(name)[0] if resolver else None
    except MidspanError:
        # A name of this prefix that nothing stands behind, such as a file may hold.
        return None
    return None if folder is None or Path(name).is_dir() else folder


def _split(spec: str | Path) -> tuple[str, str | None]:
    base, _, right = str(spec).rpartition("+")
    looks_like_adapter = right.startswith(("./", "../", "/", "~")) or bool(HUB_ID.fullmatch(right))
    looks_like_adapter |= bool(right) and Path(right).is_dir()
    split = base and looks_like_adapter and not Path(spec).is_dir()
    return (base, right) if split else (str(spec), None)
