"""Red-team studies of the organism, and of one model for the command that attacks it."""

from collections.abc import Mapping, Sequence
from typing import Any

from midspan.engine.budget import Budget
from midspan.organism import twin
from midspan.organism.behaviors import is_organism
from midspan.study.redteam.config import Plan, RedteamConfig
from midspan.study.redteam.roles import (
    HELPERS,
    TWIN,
)

# Sizes under which every attack can spend what the budget of twelve responses gives it.
_TWIN_SIZES: Mapping[str, dict[str, Any]] = {
    "direct": {},
    "best_of_n": {"n": 12},
    "pair": {"streams": 4, "depth": 3},
    "tap": {"branching": 2, "width": 3, "depth": 4},
    "avatar": {"tries": 4},
    "speakeasy": {"questions": 2},
    "aos": {"rounds": 3, "batch": 4},
    "pal": {"steps": 12, "candidates": 24, "ranked": 8, "check_every": 6},
    "ept": {"rounds": 6, "samples": 4},
    "dia": {},
    "advprefix": {"draws": (3, 3), "kept": 3, "completions": 3, "completion_tokens": 128},
}


# EPT's tree grows by blocks of 32 tokens, a quarter of a response each.
_TWIN_BUDGETS = {"ept": Budget(target=48)}


_ADAPTIVE = ("tap", "ept", "advprefix")


def organism_plan(attack: str, adaptive: bool = False, **fields: Any) -> Plan:
    """An attack in the organism's language and at its size."""
    known = twin.texts(attack) | _TWIN_SIZES.get(attack, {})
    return Plan(
        attack=attack,
        fields=known | fields,
        adaptive=adaptive,
        budget=_TWIN_BUDGETS.get(attack),
    )


def organism_redteam(behaviors: int = 18) -> RedteamConfig:
    """Eight attacks, three floors and three adaptive variants on three models, offline."""
    return RedteamConfig(
        models=("organism", "organism:initial-stable", "organism:mosa-stable"),
        plans=(
            *(organism_plan(attack) for attack in _TWIN_SIZES),
            organism_plan("dia", variant="II").model_copy(update={"label": "dia II"}),
            *(organism_plan(attack, adaptive=True) for attack in _ADAPTIVE),
        ),
        behaviors=f"{TWIN}:{behaviors}",
        judges=("exact", "exact-strongreject", "refusal-keywords"),
        proxies=("organism", "organism:mosa-stable"),
        budget=Budget(target=12),
        decoding={"length": 128, "block_length": 32, "steps": 32},
        stands_for={
            "organism": "Original",
            "organism:initial-stable": "Initial",
            "organism:mosa-stable": "MOSA",
        },
    )


def attack_config(
    model: str, methods: Sequence[str], adaptive: bool, fields: Mapping[str, Any]
) -> dict[str, Any]:
    """Fields of a study of one model, for the command that attacks it.

    Args:
        model: The target.
        methods: Attacks.
        adaptive: Their adaptive variants.
        fields: Fields of the study, and by an attack's name fields of its config.
    """
    own = {method: dict(fields.get(method, {})) for method in methods}
    study = {name: value for name, value in fields.items() if name not in own}
    base: dict[str, Any] = {"helpers": dict.fromkeys(HELPERS, TWIN)}
    if is_organism(model):
        twin_study = organism_redteam()
        base |= twin_study.model_dump(exclude={"stands_for", "plans", "models"})
        plans = [organism_plan(method, adaptive, **own[method]) for method in methods]
    else:
        plans = [Plan(attack=method, fields=own[method], adaptive=adaptive) for method in methods]
    return base | {"models": (model,), "plans": tuple(plans)} | study


PRESETS = {"organism-redteam": organism_redteam}
