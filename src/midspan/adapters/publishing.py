"""What of an adapter or an audit may go to a hub: named files alone, each read before it goes."""

import hashlib
import json
import os
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from midspan.errors import MidspanError
from midspan.files import disk, read_object, read_text
from midspan.report.markdown import with_section

# Their writers load torch to be imported, which takes longer than to list the files.
CARD_FILE, _CONFIG_FILE, WEIGHTS_FILE = (
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
)
RECIPE_FILE, METRICS_FILE = "midspan.json", "metrics.jsonl"
AUDIT_FILE, AUDIT_CARD, BADGE_FILE = "audit.json", "card.md", "badge.svg"
_AUDIT = (AUDIT_FILE, AUDIT_CARD, BADGE_FILE)
# An adapter is these files; the last two are its evidence, where they are there.
_NEEDED = (CARD_FILE, _CONFIG_FILE, WEIGHTS_FILE)
_EVIDENCE = (RECIPE_FILE, METRICS_FILE)
_LONGEST_HEADER = 1 << 24  # bytes of a safetensors header

_SECRETS = {
    "a token of the hub": re.compile(r"\bhf_[A-Za-z0-9]{20,}"),
    "an API key": re.compile(r"\b(?:sk|pk|xox[abp]|gh[pousr]|glpat|AKIA)[-_]?[A-Za-z0-9_-]{16,}"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a token": re.compile(r"\bBearer +[\w.~+/-]{16,}"),
    "a password in a URL": re.compile(r"\w://[^\s/:@]+:[^\s/@]+@"),
}
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|API_?KEY")
_SHORTEST_SECRET = 8
# Two parts at least: a slash alone stands in prose; behind letters, a colon or "<" it is none.
_ABSOLUTE = re.compile(r"(?<![\w.:/<~-])(?:~?/[\w.+@-]+(?:/[\w.+@-]+)+|[A-Za-z]:\\[\w.\\+@-]+)")


@dataclass(frozen=True)
class Upload:
    """One file.

    Attributes:
        name: In the repository.
        content: Its bytes, or the path of the file that is sent as it is.
    """

    name: str
    content: bytes | Path

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    @property
    def sha256(self) -> str:
        """Of what is sent."""
        if isinstance(self.content, bytes):
            return hashlib.sha256(self.content).hexdigest()
        with self.content.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def text(self) -> str:
        """Of a file of text."""
        return self.content.decode() if isinstance(self.content, bytes) else ""


@dataclass(frozen=True)
class Package:
    """What is sent.

    Attributes:
        uploads: The files.
        left_out: Names of what lies beside them and stays.
    """

    uploads: tuple[Upload, ...]
    left_out: tuple[str, ...]


def package(
    source: Path,
    adapter: str = "",
    audit: Path | None = None,
    names: Mapping[str, str] | None = None,
) -> Package:
    """Files of an adapter, of a run that has one, or of an audit.

    Args:
        source: An adapter's folder, a run's, or an audit's.
        adapter: Which of a run's adapters.
        audit: Folder of an audit whose findings go with the adapter.
        names: What stands in the texts instead of a path of this machine.

    Raises:
        MidspanError: It is none of these, is not finished, or its texts hold a secret or a path.
    """
    names = names or {}
    folder = _adapter(source, adapter)
    if folder is None:
        if audit is not None or not (source / AUDIT_FILE).is_file():
            raise MidspanError(
                f"SOURCE: {source} holds no adapter ({_CONFIG_FILE}) and no audit ({AUDIT_FILE})"
            )
        return Package(tuple(_texts(source, _AUDIT, names)), _others(source, _AUDIT))
    _check_finished(folder)
    present = tuple(name for name in _EVIDENCE if (folder / name).is_file())
    kept = (*_NEEDED, *present)
    texts = [name for name in kept if name != WEIGHTS_FILE]
    uploads = tuple(_texts(folder, texts, names)) + (_weights(folder / WEIGHTS_FILE),)
    if audit is not None:
        uploads = _with_audit(uploads, audit, names)
    return Package(uploads, _others(folder, kept))


def _adapter(source: Path, name: str) -> Path | None:
    """The folder of the adapter; None where there is none.

    Raises:
        MidspanError: There are several, or not this one.
    """
    if (source / _CONFIG_FILE).is_file():
        return source
    found = {path.parent.name: path.parent for path in source.glob(f"adapters/*/{_CONFIG_FILE}")}
    if not found:
        return None
    if not name and len(found) > 1:
        raise MidspanError(f"--adapter: name one of {', '.join(sorted(found))}")
    if name and name not in found:
        raise MidspanError(f"--adapter: must be one of {', '.join(sorted(found))}; got {name!r}")
    return found[name] if name else next(iter(found.values()))


def _check_finished(folder: Path) -> None:
    for name in _NEEDED:
        if not (folder / name).is_file():
            raise MidspanError(f"SOURCE: {folder} has no {name}: its training is not finished")
    recipe = folder / RECIPE_FILE
    if recipe.is_file() and not read_object(recipe, "train it anew").get("finished"):
        raise MidspanError(f"SOURCE: {folder} is not finished; the same command continues it")


def _texts(folder: Path, names: Sequence[str], renamed: Mapping[str, str]) -> Iterator[Upload]:
    for name in names:
        text = read_text(folder / name)
        # The longest first: a folder's name may begin another's.
        for path in sorted(renamed, key=len, reverse=True):
            text = text.replace(path, renamed[path])
        _check(text, folder / name)
        yield Upload(name, text.encode())


def _weights(path: Path) -> Upload:
    """The weights, whose header is text too."""
    with disk("cannot read", path), path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8).ljust(8, b"\xff"))
        header = file.read(min(size, _LONGEST_HEADER))
    try:
        metadata = json.loads(header).get("__metadata__", {}) if size == len(header) else None
    except (ValueError, AttributeError):
        metadata = None
    if metadata is None:
        raise MidspanError(f"SOURCE: {path} is no safetensors file; train it anew")
    _check(json.dumps(metadata), path)
    return Upload(path.name, path)


def _with_audit(
    uploads: Sequence[Upload], audit: Path, names: Mapping[str, str]
) -> tuple[Upload, ...]:
    """The findings and the badge beside the adapter, and the audit's card within the adapter's."""
    if not (audit / AUDIT_FILE).is_file():
        raise MidspanError(
            f"--audit: {audit} holds no {AUDIT_FILE}; give a finished audit's folder"
        )
    found = {one.name: one for one in _texts(audit, _AUDIT, names)}
    section = found.pop(AUDIT_CARD).text
    changed = [
        Upload(CARD_FILE, with_section(one.text, section, "audit").encode())
        if one.name == CARD_FILE
        else one
        for one in uploads
    ]
    return (*changed, *found.values())


def _check(text: str, file: Path) -> None:
    """Refuse a text that says what is nobody else's."""
    for what, pattern in _SECRETS.items():
        if pattern.search(text):
            raise MidspanError(
                f"{file}: holds {what}; take it out, and withdraw it where it is valid"
            )
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_SECRET and value in text:
            raise MidspanError(f"{file}: holds the value of {name}; take it out")
    if found := _ABSOLUTE.search(text):
        raise MidspanError(
            f"{file}: holds a path of this machine, {found[0]}; say what it is called elsewhere: "
            f"--name {found[0]}=NAME"
        )


def _others(folder: Path, kept: Sequence[str]) -> tuple[str, ...]:
    others = (path for path in folder.iterdir() if path.name not in kept)
    return tuple(sorted(path.name + "/" * path.is_dir() for path in others))
