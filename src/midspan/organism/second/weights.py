"""The second organism's shipped weights: by which name they load, and how they are written."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from midspan.errors import MidspanError
from midspan.files import disk, read_json
from midspan.models.border import border
from midspan.organism.second import tokenizer
from midspan.organism.weights import shipped_adapter

if TYPE_CHECKING:
    from midspan.models import DiffusionLM

NAME = "organism2"
WEIGHTS = tokenizer.FOLDER
ADAPTERS = WEIGHTS / "adapters"
# The model that safety training starts from.
HELPFUL = "helpful"
# What a shipped model may take, in bytes.
LARGEST = 16_000_000
LARGEST_ADAPTER = 1_500_000
_FILE = "model.safetensors"
_ADAPTER_FILE = "adapter_model.safetensors"
_ADAPTER_CONFIG, _CARD = "adapter_config.json", "README.md"


def resolve(name: str) -> tuple[Path, Path | None]:
    """``organism2``, ``organism2:helpful`` or ``organism2:ADAPTER`` to model and adapter folders.

    Raises:
        MidspanError: The adapter is not among the shipped ones, or no weights are shipped.
    """
    own, colon, variant = name.partition(":")
    is_helpful = variant == HELPFUL
    adapter = shipped_adapter(ADAPTERS, name) if colon and not is_helpful else None
    folder = WEIGHTS / HELPFUL if is_helpful else WEIGHTS
    if not (folder / _FILE).is_file():
        raise MidspanError(
            f"{own} has no shipped weights yet; make them with midspan organism train --second -o "
            "FOLDER and name FOLDER/original"
        )
    return folder, adapter


def check_world(lm: "DiffusionLM") -> None:
    """Check that a model reads and writes the Lantern Isles' tokens.

    Raises:
        MidspanError: Its tokenizer is another one.
    """
    if lm.tokenizer.get_vocab() != tokenizer.load_backend().get_vocab():
        raise MidspanError(
            f"{lm.name} is no model of the second organism's world: its tokenizer is another one; "
            f"give {NAME}, or a folder that midspan organism train --second made"
        )


def export(folder: str | Path, target: str | Path = WEIGHTS) -> Path:
    """Write a trained model as it is shipped: stored in bfloat16, computed with in float32.

    A number in bfloat16 takes half the room, and a core without bfloat16 arithmetic is many times
    slower in it; config.json says float32, so the weights are widened when they are read.

    Args:
        folder: A model's, such as ``FOLDER/original``.
        target: Receives model.safetensors, config.json and the tokenizer's files.

    Returns:
        The file of weights.

    Raises:
        MidspanError: The folder holds no model, what is written would be too large, or the target
            cannot be written.
    """
    import torch

    from midspan.models import load

    lm = load(str(folder), device="cpu")
    state = {name: tensor.to(torch.bfloat16) for name, tensor in lm.model.state_dict().items()}
    size = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    if size > LARGEST:
        raise MidspanError(f"{folder} takes {size / 1e6:.1f} MB; shipped are at most 16 MB")
    target = Path(target)
    with disk("cannot write to", target):
        target.mkdir(parents=True, exist_ok=True)
    with border(f"cannot write {target}", "make room"):
        lm.tokenizer.save_pretrained(target)
        lm.model.save_pretrained(target, state_dict=state)
    return target / _FILE


def export_adapter(folder: str | Path, name: str, target: str | Path = ADAPTERS) -> Path:
    """Write a trained adapter as it is shipped, in bfloat16, under a name of its own.

    The base's weights stay as they are, and the adapter is widened when it is read.

    Args:
        folder: Of the adapter, as alignment leaves it.
        name: By which it loads, behind ``organism2:``.
        target: Receives a folder of this name.

    Returns:
        The file of weights.

    Raises:
        MidspanError: The folder holds no adapter, or one of another base, what is written would be
            too large, or the target cannot be written.
    """
    import torch
    from safetensors.torch import load_file

    from midspan.models.border import write_tensors

    source, target = Path(folder), Path(target) / name
    base = read_json(source / _ADAPTER_CONFIG).get("base_model_name_or_path")
    if base != NAME:
        raise MidspanError(f"{folder} was trained on {base}, not on {NAME}")
    with border(f"cannot read {source / _ADAPTER_FILE}"):
        whole = load_file(source / _ADAPTER_FILE)
    stored = {key: tensor.to(torch.bfloat16) for key, tensor in whole.items()}
    size = sum(tensor.numel() * tensor.element_size() for tensor in stored.values())
    if size > LARGEST_ADAPTER:
        raise MidspanError(f"{folder} takes {size / 1e6:.1f} MB; shipped are at most 1.5 MB")
    with disk("cannot write to", target):
        target.mkdir(parents=True, exist_ok=True)
        for file in (_ADAPTER_CONFIG, _CARD):
            shutil.copy(source / file, target)
    write_tensors(stored, target / _ADAPTER_FILE)
    return target / _ADAPTER_FILE
