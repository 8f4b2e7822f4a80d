"""Checkpoint folders: where they are, and whether they are whole.

Everything here reads headers only, so that a bad folder is refused in milliseconds.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midspan import files
from midspan.errors import MidspanError
from midspan.models.border import border
from midspan.served import HUB_ID, is_served
from midspan.yaml_file import read_fields

_TEXT_FILES = ["*.json", "*.txt", "*.model", "*.jinja", "README.md"]
_HUB_FILES = [*_TEXT_FILES, "*.safetensors"]
_OTHER_WEIGHTS = (".bin", ".gguf", ".h5", ".msgpack", ".pt", ".pth", ".safetensors")
_CARD_FIELDS = re.compile(r"\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_LICENCES = re.compile(r"^license(?:_name)?[ \t]*:.*(?:\n[ \t-].*)*", re.MULTILINE)
_QUANTIZED_KEYS = ("quantization_config", "compression_config", "quantization")
# What older tools wrote beside a config.json that says nothing.
_QUANTIZED_FILES = {"quantize_config.json": "gptq", "quant_config.json": "awq"}

# Formats of fewer than eight bits, several numbers a byte.
_SMALL_NUMBERS = ("F4", "F6_E2M3", "F6_E3M2")
# Of one number of the others.
_NUMBER_BYTES = {
    **{"F64": 8, "I64": 8, "U64": 8, "C64": 8, "F32": 4, "I32": 4, "U32": 4},
    **{"F16": 2, "BF16": 2, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1},
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 1),
}

# Of what a model has many of: one of more would be built for hours before its weights are compared.
_MOST_PARTS = 10_000
_PARTS = ("num_hidden_layers", "n_layers", "num_experts")

Shapes = dict[str, tuple[int, ...]]


def resolve_folder(spec: str | Path, weights: bool = True) -> Path:
    """The local folder of a path or hub id; a hub repository is downloaded or found in the cache.

    Args:
        spec: The path or hub id.
        weights: Whether a repository's weights are downloaded too.

    Raises:
        MidspanError: If there is neither such a folder nor such a repository.
    """
    folder = files.user_path(spec)
    with files.disk("cannot read", spec):
        if folder.is_dir():
            return folder
    if is_served(str(spec)):
        raise MidspanError(
            f"{spec} is a server's model, whose weights are not here; this needs the weights of a "
            "diffusion model (servers: midspan attack, audit, task and judges)"
        )
    if not HUB_ID.fullmatch(str(spec)) or str(spec).startswith("."):
        raise MidspanError(f"there is no folder {spec}, and it is no hub id (owner/name)")
    from huggingface_hub import snapshot_download

    remedy = "check the name, the network, or `hf auth login`"
    with border(f"no folder {spec}, and the hub did not give it", remedy):
        return Path(
            snapshot_download(str(spec), allow_patterns=_HUB_FILES if weights else _TEXT_FILES)
        )


def licence_of(base: str | Path) -> str:
    """What the README of a folder or of a downloaded hub repository says; else "unknown"."""
    from huggingface_hub import try_to_load_from_cache

    readme: object = files.user_path(base) / "README.md"
    if HUB_ID.fullmatch(str(base)) and not Path(base).is_dir():
        readme = try_to_load_from_cache(str(base), "README.md")
    try:
        text = files.read_text(Path(readme)) if isinstance(readme, str | Path) else ""
        head = _CARD_FIELDS.match(text)
        # The other fields of a card may be of any kind and size.
        fields = read_fields("\n".join(_LICENCES.findall(head[1] if head else "")), readme)
    except MidspanError:
        return "unknown"
    return str(fields.get("license_name") or fields.get("license") or "unknown")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        MidspanError: If the file is missing or holds something else.
    """
    if not path.exists():
        raise MidspanError(f"{path.name} is missing in {path.parent}")
    value = files.read_json(path)
    if not isinstance(value, dict):
        raise MidspanError(f"{path} does not hold a JSON object")
    return value


def check_not_quantized(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse a folder of quantised weights: they have other names and shapes than the model's.

    Args:
        folder: The checkpoint's folder.
        config: What its config.json holds.

    Raises:
        MidspanError: Naming the method and what to load instead.
    """
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    stated = next((part[key] for part in parts for key in _QUANTIZED_KEYS if part.get(key)), None)
    file = next((name for name in _QUANTIZED_FILES if (folder / name).exists()), None)
    if stated is None and file is None:
        return
    fields = stated if isinstance(stated, dict) else {}
    method = fields.get("quant_method") or _QUANTIZED_FILES.get(str(file), "unnamed method")
    bits = [bits for bits in (4, 8) if fields.get(f"load_in_{bits}bit")]
    width = f" {bits[0]}bit" if bits else ""
    raise MidspanError(
        f"{folder} is quantised ({method}{width}, says {file or 'config.json'}), which is not "
        "read: load the original weights with `midspan align --quantization 4bit`, or for other "
        'verbs with midspan.load(..., quantization="4bit")'
    )


@dataclass(frozen=True)
class TensorFile:
    """The header of one safetensors file.

    Attributes:
        path: The file.
        data_start: Bytes before the first tensor.
        tensors: Header entries: `dtype`, `shape`, `data_offsets` (in bytes after `data_start`).
    """

    path: Path
    data_start: int
    tensors: Mapping[str, Mapping[str, Any]]

    @property
    def shapes(self) -> Shapes:
        """Tensor shapes by key."""
        return {key: tuple(entry["shape"]) for key, entry in self.tensors.items()}


def check_parts(file: Path, fields: Mapping[str, Any]) -> None:
    """Refuse a config.json with more layers or experts than any model has.

    Raises:
        MidspanError: Naming the field.
    """
    groups = (fields, *(value for value in fields.values() if isinstance(value, dict)))
    for group in groups:
        for name in _PARTS:
            count = group.get(name)
            if isinstance(count, int) and count > _MOST_PARTS:
                raise MidspanError(f"{file}: {name} must be at most {_MOST_PARTS}; correct it")


def read_header(path: Path) -> TensorFile:
    """Read a safetensors header and check that all the bytes it promises are there.

    Raises:
        MidspanError: If the file is missing, truncated or no safetensors file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length < size else None
    except FileNotFoundError:
        raise MidspanError(f"weights file {path} is missing") from None
    except OSError as error:
        raise MidspanError(files.refusal("cannot read weights file", path, error)) from error
    except (ValueError, RecursionError) as error:
        raise MidspanError(f"weights file {path} is not a safetensors file") from error
    if not isinstance(header, dict):
        raise MidspanError(f"weights file {path} is truncated or not a safetensors file")
    header.pop("__metadata__", None)
    with border(f"weights file {path} is not a safetensors file"):
        end = 8 + length + _checked_bytes(header)
    if size != end:
        raise MidspanError(f"weights file {path} is truncated: {size} bytes of {end}")
    return TensorFile(path, 8 + length, header)


def _checked_bytes(header: Mapping[str, Mapping[str, Any]]) -> int:
    """Bytes of all tensors, whose entries are as safetensors' specification has them: no holes."""
    position = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        (start, end), shape, dtype = entry["data_offsets"], entry["shape"], entry["dtype"]
        numbers = (start, end, *shape)
        is_whole = all(type(number) is int and number >= 0 for number in numbers)
        if not is_whole or not isinstance(shape, list) or start != position:
            raise ValueError(f"the shape or place of {name} is wrong")
        width = _NUMBER_BYTES.get(dtype)
        if width is None and dtype not in _SMALL_NUMBERS:
            raise ValueError(f"{dtype!r:.20} of {name} is no number format")
        if end < start or (width is not None and math.prod(shape) * width != end - start):
            raise ValueError(f"the bytes of {name} are not those of its shape")
        position = end
    return position


def read_weights(folder: Path) -> list[TensorFile]:
    """The headers of a checkpoint's weights, checked against the index where they are sharded.

    Raises:
        MidspanError: If a file or an indexed tensor is missing.
    """
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.exists() or not index.exists():
        if not single.exists():
            raise MidspanError(_no_weights(folder))
        return [read_header(single)]
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(v, str) for v in weight_map.values()):
        raise MidspanError(f"{index} names no files (weight_map); download it again")
    shards = [read_header(folder / name) for name in sorted(set(weight_map.values()))]
    present = {(key, shard.path.name) for shard in shards for key in shard.tensors}
    missing = sorted(set(weight_map.items()) - present)
    if missing:
        raise MidspanError(f"tensor {missing[0][0]} is not in {missing[0][1]} of {folder}")
    return shards


def _no_weights(folder: Path) -> str:
    message = f"no model.safetensors and no index of shards in {folder}"
    others = sorted(path.name for path in folder.iterdir() if path.suffix in _OTHER_WEIGHTS)
    if not others:
        return message
    return f"{message}; {others[0]} is not read: take the model's safetensors files, or convert it"


def compare_shapes(found: Shapes, expected: Shapes, what: str) -> None:
    """Check that two sets of tensors agree in names and shapes.

    Args:
        found: What the file holds.
        expected: What the model takes.
        what: What is compared, for the message.

    Raises:
        MidspanError: Naming the first tensor that is missing, of no use or of another shape.
    """
    for key in sorted(expected.keys() - found.keys()):
        missing = len(expected.keys() - found.keys())
        raise MidspanError(f"{what}: {missing} tensors are missing, among them {key}")
    for key in sorted(found.keys() - expected.keys()):
        extra = len(found.keys() - expected.keys())
        raise MidspanError(f"{what}: {extra} tensors fit nothing in the model, among them {key}")
    for key, shape in expected.items():
        if found[key] != shape:
            raise MidspanError(f"{what}: {key} has shape {found[key]}, the model needs {shape}")
