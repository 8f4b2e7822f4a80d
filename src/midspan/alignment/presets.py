"""Alignment recipes as functions: the paper's, and the ones that work."""

from collections.abc import Callable
from typing import Any

from midspan.alignment.config import AlignmentConfig
from midspan.alignment.objectives import (
    A2dObjective,
    AnyObjective,
    MosaObjective,
    PsaObjective,
    RecoveryObjective,
    SftObjective,
    VrpoObjective,
)  # fmt: skip

# The paper rewards "the first tokens". Several starts let different refusals keep apart: at a
# single start the response positions, which are predicted independently, mix them.
FIRST_TOKENS = (0, 3)
# What keeps a window objective from breaking the model; deviations from the paper, docs/log.md.
REGULARIZATION: dict[str, Any] = {
    "negative_weight": 0.2, "negative_floor": -12.0, "benign_weight": 2.0,
}  # fmt: skip
# At the paper's beta the reference, which answers, holds a refusal's later words back.
PSA_REGULARIZATION: dict[str, Any] = REGULARIZATION | {"beta": 0.02}
ORGANISM_PROMPTS = 1600
# Of the paper's two recipes on the organism: what the shipped adapters were trained with.
ORGANISM_PAPER_BATCH = 8
# The second organism's one budget for all: steps, prompts a step, canvas. Its answers of the usual
# length end before the canvas does.
ORGANISM2_STEPS = 150
_ORGANISM2_FIELDS: dict[str, Any] = {"batch_size": 8, "response_length": 96}
# By four tries each on held-in requests (docs/results/second-objectives.md). Recovery was not tried
# yet. The paper's two recipes keep its rate: at those that were tried MOSA answers nothing.
ORGANISM2_RATES: dict[str, float] = {
    "mosa": 5e-5,
    "initial": 5e-5,
    "mosa-stable": 3e-3,
    "initial-stable": 3e-4,
    "psa": 1.7e-3,
    "sft": 3e-3,
    "a2d": 1e-3,
    "vrpo": 3e-4,
    "recovery": 3e-3,
}
# As tables and figures have them.
LABELS = {
    "mosa": "MOSA",
    "initial": "Initial",
    "mosa-stable": "MOSA (stable)",
    "initial-stable": "Initial (stable)",
    "psa": "PSA",
    "sft": "SFT",
    "a2d": "A2D",
    "vrpo": "VRPO",
    "recovery": "Recovery",
}


def mosa(**changes: Any) -> AlignmentConfig:
    """MOSA as the paper has it: Algorithm 1 with every value that is stated.

    What the paper leaves open is in the docs of the fields. It has no benign prompts. Its batch of
    2, one prompt for each of the paper's two GPUs, makes 1,500 steps of one epoch: Figure 7 shows
    more than 500. The organism's shipped adapter had 8 (:func:`on_organism`).

    Args:
        changes: Fields of the config that differ.

    Example:
        >>> mosa().num_steps
        1500
    """
    return AlignmentConfig(**changes)


def initial(**changes: Any) -> AlignmentConfig:
    """Initial Alignment, the paper's baseline: MOSA's reward at the first tokens.

    Args:
        changes: Fields of the config that differ.

    Example:
        >>> initial(seed=1).objective.window
        (0, 3)
    """
    objective = MosaObjective(window=FIRST_TOKENS)
    return AlignmentConfig(**{"name": "initial", "objective": objective} | changes)


def mosa_stable(**changes: Any) -> AlignmentConfig:
    """MOSA that keeps the model useful: benign KL, a floor and a small weight on the negative.

    Args:
        changes: Fields of the config that differ.

    Example:
        >>> mosa_stable(learning_rate=1e-4).num_benign
        8
    """
    return _with_benign("mosa-stable", MosaObjective(**REGULARIZATION), changes)


def initial_stable(**changes: Any) -> AlignmentConfig:
    """Initial Alignment with the regularization and budget of :func:`mosa_stable`.

    Args:
        changes: Fields of the config that differ.

    Example:
        >>> initial_stable().objective.benign_weight
        2.0
    """
    objective = MosaObjective(window=FIRST_TOKENS, **REGULARIZATION)
    return _with_benign("initial-stable", objective, changes)


def psa(**changes: Any) -> AlignmentConfig:
    """Partial-State Alignment: MOSA's reward from any partial state, at the same budget.

    It is this project's own (docs/methods/psa.md), and needs answers to harmful and benign prompts.

    Args:
        changes: Fields of the config that differ.

    Example:
        >>> psa().objective.partial_answer.share
        0.7
    """
    objective = PsaObjective(**PSA_REGULARIZATION)
    return _with_benign("psa", objective, {"learning_rate": 4e-3} | changes)


def sft(**changes: Any) -> AlignmentConfig:
    """Supervised fine-tuning on refusals and benign answers.

    Args:
        changes: Fields of the config that differ.

    Example:
        >>> sft(num_prompts=80).num_steps
        10
    """
    return _with_benign("sft", SftObjective(), {"learning_rate": 1e-3} | changes)


def a2d(**changes: Any) -> AlignmentConfig:
    """A2D: the end of the text at every masked position of harmful answers.

    Args:
        changes: Fields of the config that differ.

    Example:
        >>> a2d().objective.needs_answers
        (True, True)
    """
    return _with_benign("a2d", A2dObjective(), {"learning_rate": 3e-3} | changes)


def vrpo(**changes: Any) -> AlignmentConfig:
    """Preferences with LLaDA 1.5's estimator, at the budget of the others.

    That is a quarter of the prompts, each seen on four canvases: 2 draws where LLaDA 1.5 takes 8.
    What loses counts with the end-of-text tokens behind it, as in what docs/results/psa.md
    measured; on other models than the organism :func:`at_paper_budget` counts the text alone.

    Args:
        changes: Fields of the config that differ.

    Example:
        >>> vrpo().objective.draws
        2
    """
    fields = {"num_prompts": 400, "learning_rate": 2e-3}
    return _with_benign("vrpo", VrpoObjective(draws=2, rejected="canvas"), fields | changes)


def recovery(**changes: Any) -> AlignmentConfig:
    """Recovery Alignment at a small scale: GRPO from begun harmful answers, t growing.

    The paper takes about 2,500 steps; here the organism's budget is a quarter of the others'
    prompts, as each is completed several times.

    Args:
        changes: Fields of the config that differ.

    Example:
        >>> recovery().num_steps
        100
    """
    objective = RecoveryObjective(
        num_completions=4, t_min=0, t_max=16, steps=12, block_length=32, benign_weight=2.0
    )
    fields = {"num_prompts": 400, "batch_size": 8}
    return _with_benign("recovery", objective, fields | changes)


def _with_benign(name: str, objective: AnyObjective, changes: dict[str, Any]) -> AlignmentConfig:
    """The budget that the organism's objectives share; half of each batch is benign.

    Learning rates were chosen on held-in cases of the organism (docs/log.md).
    """
    fields: dict[str, Any] = {
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


def on_organism(objective: str, **changes: Any) -> AlignmentConfig:
    """A preset as the organism's shipped adapters and its studies have it.

    That is the preset itself, but for the paper's two recipes: they took batches of 8 there.

    Args:
        objective: Name of the preset.
        changes: Fields of the config that differ.
    """
    if objective in ("mosa", "initial"):
        changes = {"batch_size": ORGANISM_PAPER_BATCH} | changes
    return PRESETS[objective](**changes)


def on_organism2(objective: str, **changes: Any) -> AlignmentConfig:
    """A preset as the second organism's shipped adapters and its comparison have it.

    Every objective takes the same number of steps; those whose samples are several canvases, or
    are completed several times, take a quarter of them, as on the first organism. A training of 150
    steps takes some 90 seconds of a core.

    Args:
        objective: Name of the preset.
        changes: Fields of the config that differ.

    Example:
        >>> on_organism2("mosa-stable").num_steps
        150
    """
    recipe = PRESETS[objective](**_ORGANISM2_FIELDS)
    steps = ORGANISM2_STEPS
    if recipe.benign_share:
        steps = steps * recipe.num_prompts // ORGANISM_PROMPTS
    fields = _ORGANISM2_FIELDS | {
        "learning_rate": ORGANISM2_RATES[objective],
        "num_prompts": steps * recipe.num_harmful,
    }
    return PRESETS[objective](**fields | changes)


def at_paper_budget(objective: str) -> AlignmentConfig:
    """A preset with the paper's learning rate and its 3,000 prompts, or a preset's share of them.

    A step has the paper's number of harmful prompts, and as many benign ones as the preset has. For
    any model but the organism, on which the presets' own were chosen: rates up to a hundred times
    higher, for a model a six-thousandth of the size.
    """
    recipe, paper = PRESETS[objective](), AlignmentConfig()
    if not recipe.benign_share:
        return recipe
    prompts = paper.num_prompts * recipe.num_prompts // ORGANISM_PROMPTS
    update: dict[str, Any] = {
        "learning_rate": paper.learning_rate,
        "num_prompts": prompts,
        "batch_size": round(paper.batch_size / (1 - recipe.benign_share)),
    }
    if isinstance(recipe.objective, VrpoObjective):
        update["objective"] = recipe.objective.model_copy(update={"rejected": "text"})
    if isinstance(recipe.objective, RecoveryObjective):
        kept = recipe.objective.benign_weight
        update["objective"] = RecoveryObjective(benign_weight=kept)
    return recipe.model_copy(update=update)


PRESETS: dict[str, Callable[..., AlignmentConfig]] = {
    preset.__name__.replace("_", "-"): preset
    for preset in (mosa, initial, mosa_stable, initial_stable, psa, sft, a2d, vrpo, recovery)
}
