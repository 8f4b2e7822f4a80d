"""The second organism's shipped weights: by which name they load, and how they are written."""

from pathlib import Path
from typing import TYPE_CHECKING

from midspan.errors import MidspanError
from midspan.files import disk
from midspan.models.border import border
from midspan.organism.second import tokenizer

if TYPE_CHECKING:
    from midspan.models import DiffusionLM

NAME = "organism2"
WEIGHTS = tokenizer.FOLDER
# The model that safety training starts from.
HELPFUL = "helpful"
# What a shipped model may take, in bytes.
LARGEST = 16_000_000
_FILE = "model.safetensors"


def resolve(name: str) -> tuple[Path, None]:
    """``organism2`` or ``organism2:helpful`` to its folder; there are no adapters of them.

    Raises:
        MidspanError: An adapter is asked for, or no weights are shipped.
    """
    own, colon, variant = name.partition(":")
    if colon and variant != HELPFUL:
        raise MidspanError(
            f"{name}: no adapter of {own} is shipped; name {own}:{HELPFUL}, the model before its "
            f"safety training, or a folder, {own}+FOLDER"
        )
    folder = WEIGHTS / HELPFUL if colon else WEIGHTS
    if not (folder / _FILE).is_file():
        raise MidspanError(
            f"{own} has no shipped weights yet; make them with midspan organism train --second -o "
            "FOLDER and name FOLDER/original"
        )
    return folder, None


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
