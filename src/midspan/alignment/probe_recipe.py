"""What every probe during training looks at, whatever the objective is."""

from midspan.alignment.config import AlignmentConfig
from midspan.alignment.objectives import MosaObjective, WindowObjective

# Prompts of each kind.
NUM_PROBED = 4


def probe_recipe(config: AlignmentConfig, *, has_benign: bool) -> AlignmentConfig:
    """One batch on clean canvases: a refusal in the window, KL per token on benign prompts.

    Args:
        config: The training's own.
        has_benign: Whether there are benign prompts; the training's objective may ignore them.
    """
    window = (0, config.response_length - 1)
    if isinstance(config.objective, WindowObjective):
        window = config.objective.window
    changes = {
        "objective": MosaObjective(
            window=window, beta=0, benign_weight=float(has_benign), kl_reduction="mean"
        ),
        "benign_share": 0.5 if has_benign else 0.0,
        "batch_size": NUM_PROBED * (2 if has_benign else 1),
        "micro_batch_size": None,
        "num_prompts": NUM_PROBED,
    }
    return config.model_copy(update=changes)
