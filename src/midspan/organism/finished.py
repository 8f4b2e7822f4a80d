"""Which training a finished model came from, so that the same command keeps it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from midspan.errors import MidspanError
from midspan.files import read_object, write_atomic
from midspan.frozen import changes, first_change

RECORD, WEIGHTS = "training.json", "model.safetensors"


def note_finished(folder: Path, identity: Mapping[str, Any]) -> None:
    """Write beside a finished model what decided its weights."""
    write_atomic(folder / RECORD, json.dumps(dict(identity), indent=1))


def is_finished(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Whether a folder holds the finished model of this very training.

    Raises:
        MidspanError: It holds the model of another training, or of one that is not recorded.
    """
    if not (folder / WEIGHTS).is_file():
        return False
    other = f"{folder} holds a finished model; use another -o folder or delete it"
    if not (folder / RECORD).is_file():
        raise MidspanError(other)
    wanted = json.loads(json.dumps(dict(identity)))
    if changed := changes(
        read_object(folder / RECORD, "delete the folder to train anew"), wanted, "training"
    ):
        raise MidspanError(f"{other} ({first_change(changed)})")
    return True
