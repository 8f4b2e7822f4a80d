"""Alignment recipes as functions: the paper's, and the ones that work."""

from collections.abc import Callable
from typing import Any

from midspan.alignment.config import AlignmentConfig
from midspan.alignment.objectives import (
    A2dObjective,
    AnywhereObjective,
    MosaObjective,
    SftObjective,
    VrpoObjective,
)  # fmt: skip

# The paper rewards "the first tokens". Several starts let different refusals keep apart: at a
# single start the response positions, which are predicted independently, mix them.
FIRST_TOKENS = (0, 3)
# What keeps a window objective from breaking the model; deviations from the paper, docs/log.md.
CARE: dict[str, Any] = {"negative_weight": 0.2, "negative_floor": -12.0, "benign_weight": 2.0}
ORGANISM_PROMPTS = 1600
# At the paper's beta the reference, which answers, holds a refusal's later words back.
ANYWHERE: dict[str, Any] = CARE | {"beta": 0.02}


def mosa_paper(**changes: Any) -> AlignmentConfig:
    """Algorithm 1 with every stated value; what the paper leaves open is in the field docs."""
    return AlignmentConfig(**changes)


def initial_paper(**changes: Any) -> AlignmentConfig:
    """The paper's baseline: the same reward at the first tokens."""
    objective = MosaObjective(window=FIRST_TOKENS)
    return AlignmentConfig(**{"name": "initial_paper", "objective": objective} | changes)


def mosa(**changes: Any) -> AlignmentConfig:
    """MOSA that keeps the model useful: benign KL, a floor and a small weight on the negative."""
    return _with_benign("mosa", MosaObjective(**CARE), changes)


def initial(**changes: Any) -> AlignmentConfig:
    """Initial alignment with the same care and budget as :func:`mosa`."""
    return _with_benign("initial", MosaObjective(window=FIRST_TOKENS, **CARE), changes)


def anywhere(**changes: Any) -> AlignmentConfig:
    """Our own: MOSA's reward from any partial state, at the same budget (docs/anywhere.md)."""
    objective = AnywhereObjective(**ANYWHERE)
    return _with_benign("anywhere", objective, {"learning_rate": 4e-3} | changes)


def sft(**changes: Any) -> AlignmentConfig:
    """Supervised fine-tuning on refusals and benign answers."""
    return _with_benign("sft", SftObjective(), {"learning_rate": 1e-3} | changes)


def a2d(**changes: Any) -> AlignmentConfig:
    """The end of the text at every masked position of harmful answers."""
    return _with_benign("a2d", A2dObjective(), {"learning_rate": 3e-3} | changes)


def vrpo(**changes: Any) -> AlignmentConfig:
    """Preferences with LLaDA 1.5's estimator, at the budget of the others.

    That is a quarter of the prompts, each seen on four canvases: 2 draws where LLaDA 1.5 takes 8.
    """
    fields = {"num_prompts": 400, "learning_rate": 2e-3}
    return _with_benign("vrpo", VrpoObjective(draws=2), fields | changes)


def _with_benign(name: str, objective: Any, changes: dict[str, Any]) -> AlignmentConfig:
    """The budget that the organism's objectives share; half of each batch is benign.

    Learning rates were chosen on held-in cases of the organism (docs/log.md).
    """
    fields = {
        "name": name,
        "objective": objective,
        "benign_share": 0.5,
        "batch_size": 16,
        "num_prompts": ORGANISM_PROMPTS,
        "learning_rate": 6e-3,
        "lr_scheduler": "linear",
        "warmup_ratio": 0.05,
    }
    return AlignmentConfig(**fields | changes)


def at_paper_budget(objective: str) -> AlignmentConfig:
    """A preset with the paper's learning rate and its 3,000 prompts, or a preset's share of them.

    For any model but the organism, on which the presets' own were chosen: rates up to a hundred
    times higher, for a model a six-thousandth of the size.
    """
    recipe, paper = PRESETS[objective](), AlignmentConfig()
    if not recipe.benign_share:
        return recipe
    prompts = paper.num_prompts * recipe.num_prompts // ORGANISM_PROMPTS
    update = {"learning_rate": paper.learning_rate, "num_prompts": prompts}
    return recipe.model_copy(update=update)


PRESETS: dict[str, Callable[..., AlignmentConfig]] = {
    preset.__name__: preset
    for preset in (mosa, anywhere, initial, sft, a2d, vrpo, mosa_paper, initial_paper)
}
