"""What attacks took of the shipped models: a dry run of the same part need not try them out.

`benchmarks/attack_costs.py` writes the file. It holds for these weights, attacks and settings
alone; a part that differs in one of them is tried out by a pilot.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from midspan.alignment import PRESETS as RECIPES
from midspan.journal.journal import key_of
from midspan.organism.behaviors import ORGANISM
from midspan.organism.weights import ADAPTERS
from midspan.studies.paper.config import ORIGINAL, PaperConfig
from midspan.studies.redteam.config import RedteamConfig

if TYPE_CHECKING:
    from midspan.models import DiffusionLM

FILE = Path(__file__).with_name("known_costs.json")


class Known(NamedTuple):
    """What the attacks of a part took of one model, a behavior.

    Attributes:
        responses: Of the target.
        forwards: Rows through its network.
        work: All their time, judges and scripts included, in forwards of a row as `Rate` measures
            them: another machine's seconds follow from its own rate.
    """

    responses: float
    forwards: float
    work: float


def setting_of(part: RedteamConfig) -> str:
    """A key of all that moves a part's cost on a model, but for which behaviors there are.

    PAL's gradients cost the same of every proxy of this size.
    """
    return key_of(
        attacks=[spec.model_dump(mode="json", exclude={"label"}) for spec in part.attacks],
        budget=part.budget.model_dump(mode="json"),
        decoding=part.decoding,
        helpers=part.helpers,
        judges=part.judges,
        batch_size=part.batch_size,
        proxies=bool(part.proxies),
    )


def known_costs(part: RedteamConfig, config: PaperConfig, lm: "DiffusionLM") -> list[Known] | None:
    """Of every model of a part; None where the base is not known.

    A model that the file lacks is taken to hold as long as the base, as a pilot takes it.

    Args:
        part: Attacks in a study.
        config: The study.
        lm: Its base, loaded.
    """
    if part.behaviors.partition(":")[0] != ORGANISM or part.defences:
        return None
    stored = read_costs()
    costs = stored["parts"].get(setting_of(part), {}).get("costs", {})
    if stored["fingerprint"] != lm.fingerprint or ORGANISM not in costs:
        return None
    names = [_shipped(label, config) for label in part.models]
    return [Known(*costs.get(name, costs[ORGANISM])) for name in names]


@cache
def read_costs() -> Mapping[str, Any]:
    """The file: the base's fingerprint, and by a part's key the cost on each shipped model."""
    found: Mapping[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def _shipped(label: str, config: PaperConfig) -> str | None:
    """The shipped model that a label is, or is trained like; None where there is none."""
    if label == ORIGINAL:
        return ORGANISM
    recipe = config.trainings.get(label)
    names = [name for name, make in RECIPES.items() if recipe == make()]
    return f"{ORGANISM}:{names[0]}" if names and (ADAPTERS / names[0]).is_dir() else None
