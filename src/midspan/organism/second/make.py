"""The second organism's whole training: helpful-only, then safety, in one resumable command."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from midspan.organism.finished import RECORD, WEIGHTS
from midspan.organism.second.loop import training_device
from midspan.organism.second.safety import SafetyConfig, train_safety
from midspan.organism.second.training import TrainConfig, train

HELPFUL, ORIGINAL = "helpful", "original"
# Finished groups, of how many, the stage's name and the loss in nats a token.
OnGroup = Callable[[int, int, str, float], None]


def configured(seed: int = 0, causal: bool = False) -> tuple[TrainConfig, SafetyConfig]:
    """What is trained by default: on a GPU five times the samples, in larger batches."""
    config, safety = TrainConfig(seed=seed, causal=causal), SafetyConfig(seed=seed, causal=causal)
    if training_device().type == "cpu":
        return config, safety
    size, tokens, every = 512, 16384, 50
    return (
        replace(config, groups=1500, group_size=size, batch_tokens=tokens, checkpoint_every=every),
        replace(safety, groups=150, group_size=size, batch_tokens=tokens, checkpoint_every=every),
    )


def make(
    folder: str | Path,
    config: TrainConfig | None = None,
    safety: SafetyConfig | None = None,
    on_group: OnGroup | None = None,
) -> Path:
    """Train ``folder/helpful`` and from it ``folder/original``; what is finished is kept.

    Args:
        folder: Receives both model folders.
        config: Of the helpful-only model.
        safety: Of the safety training; seed and kind of model are the helpful one's.
        on_group: Told of every finished group, of the groups of both trainings.

    Raises:
        MidspanError: A folder holds another training, or cannot be written.
    """
    folder = Path(folder)
    usual, usual_safety = configured()
    config = config or usual
    safety = replace(safety or usual_safety, seed=config.seed, causal=config.causal)
    total = config.groups + safety.groups

    def told(before: int) -> Callable[[int, str, float], None] | None:
        if on_group is None:
            return None
        return lambda done, stage, loss: on_group(before + done, total, stage, loss)

    helpful, original = folder / HELPFUL, folder / ORIGINAL
    if not _is_unrecorded(helpful):
        train(config, helpful, told(0))
    if not _is_unrecorded(original):
        train_safety(safety, helpful, original, told(config.groups))
    return original


def _is_unrecorded(folder: Path) -> bool:
    """Whether a finished model does not say which training it came from; it is kept."""
    return (folder / WEIGHTS).is_file() and not (folder / RECORD).is_file()
