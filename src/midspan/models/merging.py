"""Adapters for programs that know nothing of midspan: merged into the base, or renamed for it."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from midspan.errors import MidspanError
from midspan.files import PUBLISHED_FILE, disk, name_beside, publish, sync_folder, write_atomic
from midspan.models.adapters import (
    PEFT_PREFIX,
    Adapter,
    native_keys,
    read_adapter,
    with_modules,
)
from midspan.models.base_layers import saved_base_layers
from midspan.models.border import border, write_tensors
from midspan.models.checkpoint import read_json, read_weights, resolve_folder
from midspan.models.family import family_for, family_of
from midspan.models.loading import load
from midspan.models.sources import Source, parse_spec

# Files that hold weights or say where they are: the base's must not lie beside the merged ones.
_WEIGHTS = (".safetensors", ".index.json", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack")


def merge(spec: str, output: str | Path) -> Path:
    """Write a model with its adapter merged into the weights, in the published format.

    Raises:
        MidspanError: The model has no adapter, the output folder exists, or head and embeddings are
            one weight and the adapter is on one of them.
    """
    source = _with_adapter(spec)
    with _new_folder(Path(output)) as folder:
        lm = load(spec, device="cpu")
        if lm.shares_adapted_weights:
            raise MidspanError(
                f"{spec}: head and embeddings are one weight (tie_word_embeddings), and the "
                "adapter is on one of them alone: merged, it would act on both"
            )
        merged = lm.model.merge_and_unload(safe_merge=True)
        with border(f"cannot write the merged model to {output}"):
            merged.save_pretrained(folder)
            _take_files(resolve_folder(source.base), folder)
            _state_blocks(folder / "config.json", merged.config)
    return Path(output)


def _take_files(base: Path, merged: Path) -> None:
    """Replace all that was written beside the weights by the base's own files.

    What loads the base then loads the result: its generation_config.json may state the mask id,
    which transformers' own would not.
    """
    for path in merged.iterdir():
        if not path.name.endswith(_WEIGHTS):
            path.unlink()
    for path in sorted(base.iterdir()):
        if path.is_file() and not path.name.endswith(_WEIGHTS):
            shutil.copy(path, merged)


def _state_blocks(file: Path, config: Any) -> None:
    """Write into a base's config.json the blocks that its name alone stated."""
    fields, in_blocks = read_json(file), family_for(config.model_type).in_blocks
    if in_blocks is not None and in_blocks is family_of(config) and "block_size" not in fields:
        stated = json.dumps({**fields, "block_size": config.block_size}, indent=2)
        write_atomic(file, stated, PUBLISHED_FILE)


def publish_adapter(spec: str, output: str | Path) -> Path:
    """Write an adapter under the module names of the base's published class.

    Plain PEFT puts it on the class that the checkpoint's own remote code defines.

    Raises:
        MidspanError: The model has no adapter, a tensor has no single published counterpart, or
            ranks or scales go by patterns of names that change.
    """
    source = _with_adapter(spec)
    lm = load(spec, device="cpu")
    model_class, base_layers = lm.family.model_class, saved_base_layers(lm.model)
    assert source.adapter is not None
    adapter = read_adapter(source.adapter, model_class, str(source.base))
    stored = [key for file in read_weights(resolve_folder(source.base)) for key in file.tensors]
    names = {
        native.removesuffix(".weight"): key.removesuffix(".weight")
        for key, native in native_keys(model_class, stored).items()
    }
    renamed: dict[str, Any] = {}
    modules: dict[str, str] = {}
    for key, tensor in load_file(adapter.folder / "adapter_model.safetensors").items():
        # Loading has found them to be the base's own.
        if adapter.keys[key] in base_layers:
            continue
        native, _, part = adapter.keys[key].removeprefix(PEFT_PREFIX).partition(".lora_")
        if native not in names:
            raise MidspanError(f"{spec}: {native} is no module of the published class by itself")
        renamed[f"{PEFT_PREFIX}{names[native]}.lora_{part}"] = tensor
        modules[native] = names[native]
    config = json.dumps(_published_config(adapter, modules, spec), indent=2, sort_keys=True)
    with _new_folder(Path(output)) as folder:
        write_tensors(renamed, folder / "adapter_model.safetensors")
        write_atomic(folder / "adapter_config.json", config, PUBLISHED_FILE)
    return Path(output)


def _published_config(adapter: Adapter, modules: dict[str, str], spec: str) -> dict[str, Any]:
    """The configuration under published names, which `modules` has by native ones."""
    for field in ("rank_pattern", "alpha_pattern"):
        if adapter.config.get(field) and any(old != new for old, new in modules.items()):
            raise MidspanError(
                f"{spec}: {field} with native module names is not written; midspan merge takes it"
            )
    return with_modules(adapter.config, modules.values())


def _with_adapter(spec: str) -> Source:
    source = parse_spec(spec)
    if source.adapter is None:
        raise MidspanError(f"{spec} has no adapter; write BASE+ADAPTER")
    return source


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """A folder that appears under its name only when it is complete."""
    temporary = name_beside(path)
    with disk("cannot write to", path):
        if path.exists():
            raise MidspanError(f"{path} exists; choose another -o folder")
        temporary.mkdir(parents=True)
    try:
        yield temporary
        with disk("cannot write to", path):
            for file in temporary.iterdir():
                publish(file)
            temporary.rename(path)
            sync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
