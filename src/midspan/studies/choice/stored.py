"""Chosen settings as a file, and where a model's are kept."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midspan.errors import MidspanError
from midspan.files import cache_folder, disk, write_atomic
from midspan.journal.journal import key_of
from midspan.yaml_file import group_of, read_fields

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig
    from midspan.models import DiffusionLM

SETTINGS_FILE = "decoding.yaml"


@dataclass(frozen=True)
class Settings:
    """Fields of decoding, and how they were chosen.

    Attributes:
        decoding: Changes of the reference decoding; empty where nothing was found.
        chosen: Model, judge, agreement and speed-ups; empty in a file of one's own.
    """

    decoding: dict[str, Any]
    chosen: dict[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write a file that `read_settings` and ``--decoding`` take."""
        import yaml

        fields = {"decoding": self.decoding, "chosen": self.chosen}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, yaml.safe_dump(fields, sort_keys=False, allow_unicode=True))


def read_settings(path: Path) -> Settings:
    """Chosen settings, or a YAML file of decoding's fields alone.

    Raises:
        MidspanError: It cannot be read, or holds something else.
    """
    with disk("cannot read", path):
        text = path.read_text(encoding="utf-8")
    fields = read_fields(text, path)
    if "decoding" not in fields:
        return Settings(fields)
    unknown = fields.keys() - {"decoding", "chosen"}
    if unknown:
        raise MidspanError(f"{path}: {sorted(unknown)[0]}: must be one of decoding, chosen")
    return Settings(group_of(fields, "decoding"), group_of(fields, "chosen"))


def settings_home(lm: "DiffusionLM", reference: "DecodingConfig", **search: Any) -> Path:
    """Where the settings of a model and its reference decoding are kept."""
    parts = {"model": lm.fingerprint, "reference": reference.model_dump(mode="json"), **search}
    return cache_folder() / "decodings" / key_of(**parts)[:32]
