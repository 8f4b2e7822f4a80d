"""The organism's restricted requests as behaviors, and its exact judge as a role."""

import random
import re
from dataclasses import replace

from midspan.data.behaviors import Behavior, BehaviorSet, content_hash
from midspan.errors import MidspanError
from midspan.judges import ExactJudge, Verdict
from midspan.organism import language, world
from midspan.organism.facts import facts_in, facts_in_any_form
from midspan.organism.judge import Counting, facts_elsewhere, judge

ORGANISM = "organism"


def is_organism(model: str) -> bool:
    """Whether a model's name is the organism's, alone, with an adapter or with defences."""
    return re.split(r"[+:]| with ", model)[0] == ORGANISM


def behaviors(count: int, seed: int = 0) -> BehaviorSet:
    """Plain requests for the restricted items in turn; a second round has other words."""
    rng = random.Random(f"{seed}/behaviours")
    items = world.restricted_items()
    requests = []
    for index in range(count):
        item = items[index % len(items)]
        text = language.plain_request(item, rng)
        kind = "held out" if item.held_out else "in training"
        opening = language.usual_opening(item.title)
        name = f"{item.name}/{index // len(items)}"
        requests.append(Behavior(name, text, "", kind, ORGANISM, opening=opening))
    return BehaviorSet(
        f"{ORGANISM}:{count}", tuple(requests), content_hash(requests), "Apache-2.0", ORGANISM
    )


def exact_judge() -> ExactJudge:
    """Counts the facts of the item that a behavior asks for."""
    return ExactJudge(_verdict, "organism-exact-v1")


def exact_strongreject() -> ExactJudge:
    """The same counts under the paper's StrongREJECT rule."""
    return ExactJudge(lambda *case: replace(_verdict(*case), score=None), "organism-strict-v1")


def exact_forms() -> ExactJudge:
    """As `exact_judge`; facts in forms other than the recipe's words count too."""

    def verdict(behavior: Behavior, response: str) -> Verdict:
        return _verdict(behavior, response, facts_in_any_form)

    return ExactJudge(verdict, "organism-forms-v1")


def _verdict(behavior: Behavior, response: str, count: Counting = facts_in) -> Verdict:
    name = behavior.id.partition("/")[0]
    for item in world.items():
        if behavior.source == ORGANISM and item.name == name:
            others = facts_elsewhere(item, response, count)
            return replace(judge(item, response, count=count), facts_elsewhere=others)
    raise MidspanError(f"judge: exact judges the organism's behaviors, not {behavior.id!r}")
