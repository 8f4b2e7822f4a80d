"""Comparisons of alignment objectives: all of them, one with changes, other decodings."""

from typing import Any

from midspan.alignment import PRESETS, PsaObjective, psa
from midspan.alignment.presets import PSA_REGULARIZATION
from midspan.studies.organism.cases import Sizes
from midspan.studies.organism.objectives.config import ObjectivesConfig, stress_decodings

COMPARED = ("initial-stable", "mosa-stable", "psa", "sft", "a2d", "vrpo")
# One change each to PSA: of its objective, of its budget.
OBJECTIVE_CHANGES: dict[str, dict[str, Any]] = {
    "clean-canvases": {"partial_answer": {"share": 0.0}},
    "share-0.3": {"partial_answer": {"share": 0.3}},
    "share-1.0": {"partial_answer": {"share": 1.0}},
    "prefix-only": {"partial_answer": {"prefix": 1.0, "runs": 0.0}},
    "span-only": {"partial_answer": {"span": 1.0, "runs": 0.0}},
    "scattered-only": {"partial_answer": {"scattered": 1.0, "runs": 0.0}},
    "no-begun": {"begun": 0.0},
    "refusal-drawn": {"refusal": "drawn"},
    "any-start": {"gap_starts": None},
    "beta-0.05": {"beta": 0.05},
    "no-negative": {"negative_weight": 0.0},
    "clean-benign": {"partial_benign": False},
    "benign-kl-0.5": {"benign_weight": 0.5},
}
# PSA against pieces, other forms and refusals of what is only mentioned (docs/results/psa.md).
AGAINST_PIECES: dict[str, Any] = {
    "refusal": "shortest",
    "unrefused": True,
    "apart": 0.2,
    "forms": 0.2,
    "mentioned": 0.35,
    "negative_weight": 0.4,
}
BUDGET_CHANGES: dict[str, dict[str, Any]] = {
    "100-steps": {"num_prompts": 800},
    "400-steps": {"num_prompts": 3200},
}


def objectives() -> ObjectivesConfig:
    """All objectives, three seeds: the table of docs/results/psa.md."""
    return ObjectivesConfig(recipes={name: PRESETS[name]() for name in COMPARED}, mentions=6)


def recovery_alignment() -> ObjectivesConfig:
    """Recovery Alignment on the cases of `objectives`, so that its columns stand beside theirs.

    It is no row there: a step decodes, and a training takes about twice the others' time.
    """
    return objectives().model_copy(update={"recipes": {"recovery": PRESETS["recovery"]()}})


def ablations() -> ObjectivesConfig:
    """PSA beside itself with one change each, on the cells that tell them apart.

    Without benign prompts there is no benign KL: the same harmful prompts a step, and no others.
    """
    recipes = {"psa": psa()}
    for name, changes in OBJECTIVE_CHANGES.items():
        objective = PsaObjective(**PSA_REGULARIZATION | changes)
        recipes[name] = psa(name=name, objective=objective)
    harmful_alone = PsaObjective(**PSA_REGULARIZATION | {"benign_weight": 0.0})
    budget = {"benign_share": 0.0, "batch_size": recipes["psa"].num_harmful}
    recipes["no-benign"] = psa(name="no-benign", objective=harmful_alone, **budget)
    for name, changes in BUDGET_CHANGES.items():
        recipes[name] = psa(name=name, **changes)
    sizes = Sizes(plain=1, wraps=18, prefill=1, benign=36, utility=4)
    return ObjectivesConfig(recipes=recipes, sizes=sizes, stress=18, mentions=6)


def samplers() -> ObjectivesConfig:
    """All objectives in other decodings: other steps, sampled, without the end of the text."""
    usual = objectives()
    others = tuple(name for name in stress_decodings() if name not in usual.decodings)
    sizes = Sizes(plain=1, wraps=3, prefill=1, benign=4, utility=2)
    return usual.model_copy(
        update={"decodings": others, "sizes": sizes, "stress": 4, "mentions": 2}
    )


def pieces() -> ObjectivesConfig:
    """PSA beside the variant against answers in pieces, on held-in cases: to choose by.

    The variant also at half the budget, at which docs/results/psa.md measured it.
    """
    variant = PsaObjective(**PSA_REGULARIZATION | AGAINST_PIECES)
    recipes = {
        "psa": psa(),
        "psa-pieces": psa(name="psa-pieces", objective=variant),
        "psa-pieces-half": psa(
            name="psa-pieces-half", objective=variant, batch_size=8, num_prompts=800
        ),
    }
    return ObjectivesConfig(recipes=recipes, mentions=12, held_in=True)
