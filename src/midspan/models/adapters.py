"""PEFT adapters on native models, also those trained on the published classes.

PEFT applies what fits and reports the rest in a return value that nobody reads, so an adapter
with published key names would be applied in part. Here every tensor must find its place.
"""

import dataclasses
import hashlib
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from transformers.conversion_mapping import get_checkpoint_conversion_mapping
from transformers.core_model_loading import WeightRenaming

from midspan.errors import MidspanError
from midspan.models.base_layers import (
    check_not_resized,
    saved_base_layers,
    vocabulary_rows,
    without_base_layers,
)
from midspan.models.border import border
from midspan.models.checkpoint import (
    Shapes,
    compare_shapes,
    read_header,
    read_json,
    resolve_folder,
)
from midspan.models.digest import weights_digest
from midspan.models.model import DiffusionLM
from midspan.models.native import empty_model
from midspan.models.sources import registered_folder
from midspan.served import HUB_ID

# Owners of the published models of all families, as the hub spells them in lower case.
_PUBLISHERS = (
    *("gsai-ml", "dream-org", "apple", "gen-verse", "inclusionai", "jetlm", "google"),
    *("dllm-hub", "efficient-large-model"),
)
_CONVERT = (
    'python -c "import torch, safetensors.torch as s; s.save_file(torch.load('
    "'adapter_model.bin', weights_only=True), 'adapter_model.safetensors')\""
)
# What PEFT puts before a module's own name.
PEFT_PREFIX = "base_model.model."


@dataclass(frozen=True)
class Adapter:
    """An adapter folder, read but for its tensors.

    Attributes:
        folder: Where it lies.
        config: Its adapter_config.json, in native module names.
        keys: Key in the file to native key.
        shapes: Tensor shapes by native key.
        digest: A hash of configuration and weights.
        misfit: How the message begins where it does not fit; of an adapter that names another
            base, this fact.
    """

    folder: Path
    config: dict[str, Any]
    keys: dict[str, str]
    shapes: Shapes
    digest: str
    misfit: str


def native_keys(model_class: type[Any], keys: Iterable[str]) -> dict[str, str]:
    """Native names of published checkpoint keys, by key; native keys stay as they are."""
    # Asked for once: each answer is a deep copy of all conversions of the class.
    conversions = get_checkpoint_conversion_mapping(model_class.__name__) or []
    # An adapter on a tensor that is split or merged has no place here, and is refused as such.
    renamings = [one for one in conversions if isinstance(one, WeightRenaming)]
    named = {}
    for key in keys:
        name = key
        for renaming in renamings:
            name, _ = renaming.rename_source_key(name)
        named[key] = name
    return named


def read_adapter(spec: str | Path, model_class: type[Any], base: str) -> Adapter:
    """Read an adapter's configuration and header, renamed to native names.

    Args:
        spec: A folder or a hub id.
        model_class: The native class that is to take it.
        base: The name of the model that is to take it, a registered one as it is written.

    Raises:
        MidspanError: If files are missing, or the adapter belongs to another base model.
    """
    folder = resolve_folder(spec)
    config = read_json(folder / "adapter_config.json")
    trained_on = str(config.get("base_model_name_or_path") or "")
    place = str(registered_folder(base) or base)
    if is_another_model(trained_on, place):
        raise MidspanError(
            f"adapter {spec} was trained on {trained_on}, not on {place}; if these are one model, "
            f"set base_model_name_or_path in its adapter_config.json to {place}"
        )
    _check_registered(spec, trained_on, base)
    file = read_header(_weights_file(folder))
    names = native_keys(model_class, (key.removeprefix(PEFT_PREFIX) for key in file.tensors))
    keys = {key: PEFT_PREFIX + names[key.removeprefix(PEFT_PREFIX)] for key in file.tensors}
    if any(old != new for old, new in keys.items()):
        config = _native_config(config, sorted(keys.values()), spec)
    digest = hashlib.sha256((folder / "adapter_config.json").read_bytes())
    digest.update(weights_digest([file]).encode())
    shapes = {keys[key]: shape for key, shape in file.shapes.items()}
    misfit = f"adapter {spec} does not fit this model"
    if trained_on and last_name(trained_on) not in map(last_name, (base, place)):
        misfit = (
            f"adapter {spec} was made for {trained_on} (its adapter_config.json) and does not fit "
            f"{base}"
        )
    return Adapter(folder, config, keys, shapes, digest.hexdigest(), misfit)


def last_name(name: str) -> str:
    """A model's own name, without the folders or the owner that it lies under."""
    return Path(name).name.casefold()


def _check_registered(spec: str | Path, trained_on: str, base: str) -> None:
    """Refuse an adapter of another registered model; warn of another variant of the same one.

    Two variants have the same shapes, so that nothing else would tell.
    """
    folders = registered_folder(trained_on), registered_folder(base)
    if None in folders or folders[0] == folders[1]:
        return
    said = f"adapter {spec} was trained on {trained_on}, and the model is {base}"
    if trained_on.partition(":")[0] != base.partition(":")[0]:
        raise MidspanError(
            f"{said}; load it on {trained_on}, or an adapter that was trained on {base}"
        )
    warnings.warn(f"{said}, other weights: what it was trained for may not hold", stacklevel=5)


def is_another_model(trained_on: str, base: str) -> bool:
    """Whether an adapter names another model on the hub than its base; asked without a network.

    "models/LLaDA" may be a folder of the machine that trained the adapter. A name counts as a hub
    id where its owner publishes models of a known family or owns the base, or where this machine
    has it in the hub's cache; case does not matter, as on the hub. Any other name is a place, and
    the adapter's shapes alone decide.

    Args:
        trained_on: The adapter's base_model_name_or_path.
        base: The name of the model that is to take it.
    """
    from huggingface_hub import try_to_load_from_cache

    names = trained_on.casefold(), base.casefold()
    if names[0] == names[1] or any(
        not HUB_ID.fullmatch(name) or Path(name).exists() for name in (trained_on, base)
    ):
        return False
    owner, owner_of_base = (name.partition("/")[0] for name in names)
    cached = isinstance(try_to_load_from_cache(trained_on, "config.json"), str)
    return cached or owner in (*_PUBLISHERS, owner_of_base)


def _weights_file(folder: Path) -> Path:
    file, pickled = folder / "adapter_model.safetensors", folder / "adapter_model.bin"
    if pickled.exists() and not file.exists():
        raise MidspanError(
            f"adapter_model.safetensors is missing in {folder}: adapter_model.bin, a pickle, is "
            f"not read; there, {_CONVERT}"
        )
    return file


def _native_config(config: dict[str, Any], keys: list[str], spec: str | Path) -> dict[str, Any]:
    """Target the modules that the renamed tensors name."""
    for field in ("rank_pattern", "alpha_pattern", "modules_to_save"):
        if config.get(field):
            raise MidspanError(f"adapter {spec}: {field} with published module names is not read")
    names = (key.removeprefix(PEFT_PREFIX) for key in keys if ".lora_" in key)
    return with_modules(config, {name.partition(".lora_")[0] for name in names})


def with_modules(config: dict[str, Any], modules: Iterable[str]) -> dict[str, Any]:
    """An adapter_config.json that targets these modules in full names: suffixes may mean others."""
    unset = {"exclude_modules": None, "layers_to_transform": None, "layers_pattern": None}
    return {**config, **unset, "target_modules": sorted(modules)}


def check_adapter(adapter: Adapter, meta_model: Any) -> None:
    """Check that the adapter fits a model in full; the model (on the meta device) is changed.

    Raises:
        MidspanError: Naming a tensor without a place, or a place without a tensor.
    """
    from peft import get_peft_model_state_dict

    found = {key.removeprefix(PEFT_PREFIX): shape for key, shape in adapter.shapes.items()}
    check_not_resized(found, vocabulary_rows(meta_model), adapter.folder)
    wrapped = _wrap(meta_model, adapter)
    expected = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    shapes = {key: tuple(tensor.shape) for key, tensor in expected.items()}
    extra = saved_base_layers(wrapped)
    shapes |= {key: extra[key] for key in extra.keys() & adapter.shapes.keys()}
    compare_shapes(adapter.shapes, shapes, adapter.misfit)


def apply_adapter(model: Any, adapter: Adapter) -> Any:
    """Attach a checked adapter; returns the `PeftModel`, in evaluation mode.

    Its weights take the model's number format, a quantised one's compute format: PEFT leaves them
    in single precision, and changes the format of all that goes through every adapted layer.

    Raises:
        MidspanError: A layer under the adapter is offloaded, or the base's own layers differ.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict
    from peft.tuners.tuners_utils import BaseTunerLayer

    wrapped = _wrap(model, adapter)
    own_places = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    offloaded = sorted(key for key, tensor in own_places.items() if tensor.is_meta)
    if offloaded:
        # PEFT would put its tensors beside the offloaded ones, on no device, and lose their values.
        raise MidspanError(
            f"adapter {adapter.folder}: {offloaded[0].removeprefix(PEFT_PREFIX)} is on a layer "
            "that device_map offloads, which takes no adapter; load what `midspan merge` writes"
        )
    stored = load_file(adapter.folder / "adapter_model.safetensors")
    renamed = {adapter.keys[key]: tensor for key, tensor in stored.items()}
    own = without_base_layers(wrapped, renamed, adapter.folder)
    result = set_peft_model_state_dict(wrapped, own)
    if result.unexpected_keys:
        raise MidspanError(f"adapter {adapter.folder}: {result.unexpected_keys[0]} fits nothing")
    for layer in wrapped.modules():
        if isinstance(layer, BaseTunerLayer):
            for name in layer.adapter_layer_names:
                getattr(layer, name).to(model.dtype)
    return wrapped.eval()


def _wrap(model: Any, adapter: Adapter) -> Any:
    from peft import PeftConfig, get_peft_model

    with border(adapter.misfit):
        changes = {"inference_mode": True, "base_model_name_or_path": None}
        config = PeftConfig.from_peft_type(**{**adapter.config, **changes})
        # Virtual tokens would shift every position of the canvas.
        if config.is_prompt_learning:
            raise MidspanError(f"adapter {adapter.folder}: {config.peft_type} is not supported")
        return get_peft_model(model, config)


def attach_adapter(lm: DiffusionLM, spec: str | Path) -> DiffusionLM:
    """Put an adapter on a loaded model, in place; no other adapter may be attached.

    Args:
        lm: The model; its network is changed.
        spec: An adapter folder or hub id.

    Returns:
        The same model with the adapter on, under a new fingerprint.

    Raises:
        MidspanError: If the adapter does not fit in full.
    """
    if hasattr(lm.model, "peft_config"):
        raise MidspanError(f"{lm.name} has an adapter already: load the base model to take another")
    adapter = read_adapter(spec, lm.family.model_class, lm.name)
    check_adapter(adapter, empty_model(lm.family.model_class, lm.base.config))
    return dataclasses.replace(
        lm,
        model=apply_adapter(lm.model, adapter),
        name=f"{lm.name}+{spec}",
        fingerprint=combine_fingerprint(lm.fingerprint, adapter),
    )


def combine_fingerprint(fingerprint: str, adapter: Adapter) -> str:
    """The fingerprint of a model with an adapter on."""
    return hashlib.sha256((fingerprint + adapter.digest).encode()).hexdigest()[:16]
