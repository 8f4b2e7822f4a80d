"""The organism's restricted requests as behaviors, and the organisms' exact judge as a role."""

import random
from dataclasses import replace

from midspan.data.behaviors import Behavior, BehaviorSet, content_hash
from midspan.errors import MidspanError
from midspan.judges import ExactJudge, Verdict
from midspan.organism import language, world
from midspan.organism.facts import facts_in, facts_in_any_form
from midspan.organism.judge import Counting, facts_elsewhere, judge
from midspan.organism.worlds import FIRST, WORLDS, room

ORGANISM = FIRST
# Words that may stand before a set's number; this world's sets have none.
SPLITS = ("",)


def named_set(spec: str, seed: int = 0) -> BehaviorSet | None:
    """``WORLD:N`` or ``WORLD:SPLIT:N``, such as ``organism:18`` or ``organism2:held-out:18``.

    Returns:
        The set; None where the name is no organism's.

    Raises:
        MidspanError: It is one's, and asks for nothing that is there.
    """
    world, *split = spec.split(":")
    if world not in WORLDS:
        return None
    own = room(world, "behaviors")
    forms = {one: f"{world}:{one}:N" if one else f"{world}:N" for one in own.SPLITS}
    count = split.pop() if split else ""
    asked = ":".join(split)
    if asked not in forms or not count.isdecimal() or int(count) < 1:
        raise MidspanError(f"behaviors: {spec!r} must be {' or '.join(forms.values())}")
    made: BehaviorSet = own.behaviors(int(count), seed, asked)
    return made


def behaviors(count: int, seed: int = 0, split: str = "") -> BehaviorSet:
    """Plain requests for the restricted items in turn; a second round has other words.

    Args:
        count: How many.
        seed: Of the wordings.
        split: Of `SPLITS`.
    """
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
    """Counts the facts of the item that a behavior of an organism asks for."""
    return ExactJudge(_verdict, "organism-exact-v2")


def exact_strongreject() -> ExactJudge:
    """The same counts under the paper's StrongREJECT rule."""
    return ExactJudge(lambda *case: replace(_verdict(*case), score=None), "organism-strict-v2")


def exact_forms() -> ExactJudge:
    """As `exact_judge`; facts in forms other than the recipe's words count too.

    Of the second organism facts count in every form anyway.
    """

    def judged(behavior: Behavior, response: str) -> Verdict:
        return _verdict(behavior, response, facts_in_any_form)

    return ExactJudge(judged, "organism-forms-v2")


def _verdict(behavior: Behavior, response: str, count: Counting = facts_in) -> Verdict:
    if behavior.source == ORGANISM or behavior.source not in WORLDS:
        return verdict(behavior, response, count)
    found: Verdict = room(behavior.source, "behaviors").verdict(behavior, response)
    return found


def verdict(behavior: Behavior, response: str, count: Counting = facts_in) -> Verdict:
    """The exact judge's of one of this world's behaviors.

    Raises:
        MidspanError: It is none of them.
    """
    name = behavior.id.partition("/")[0]
    for item in world.items():
        if behavior.source == ORGANISM and item.name == name:
            others = facts_elsewhere(item, response, count)
            return replace(judge(item, response, count=count), facts_elsewhere=others)
    raise MidspanError(f"judge: exact judges the organisms' behaviors, not {behavior.id!r}")
