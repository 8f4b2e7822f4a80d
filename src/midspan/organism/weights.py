"""The organism's shipped weights, and the names by which they are loaded."""

from pathlib import Path
from typing import TYPE_CHECKING

from midspan.errors import MidspanError

if TYPE_CHECKING:
    from midspan.models import DiffusionLM

WEIGHTS = Path(__file__).parent / "weights"
ADAPTERS = WEIGHTS / "adapters"
# Another name of the Original, beside the second organism's.
MINI = "mini"


def resolve(name: str) -> tuple[Path, Path | None]:
    """``organism``, also ``organism:mini``, or ``organism:ADAPTER`` to model and adapter folders.

    Raises:
        MidspanError: The adapter is not among the shipped ones.
    """
    if name.partition(":")[2] in ("", MINI):
        return WEIGHTS, None
    return WEIGHTS, shipped_adapter(ADAPTERS, name)


def shipped_adapter(folder: Path, name: str) -> Path:
    """The folder of the adapter that ``BASE:ADAPTER`` names, among those of a folder.

    Raises:
        MidspanError: It is not among them.
    """
    adapter = name.partition(":")[2]
    shipped = sorted(path.name for path in folder.glob("*") if path.is_dir())
    if adapter not in shipped:
        raise MidspanError(f"{name}: no such adapter; shipped are {', '.join(shipped) or 'none'}")
    return folder / adapter


def load_organism(adapter: str | Path | None = None) -> "DiffusionLM":
    """The Original, or with a trained adapter folder on top."""
    from midspan.models import load

    return load("organism", adapter=adapter, device="cpu")
