"""Prefilling: words of an answer are fixed in the response, at its beginning or anywhere in it.

The attack that a diffusion model's bidirectional attention makes possible at any position; at
position 0 it is the one of the autoregressive world.
"""

from pydantic import Field

from midspan.attacks._openings import GENERIC, opening_of
from midspan.engine.attack import Attack, AttackConfig, AttackState, Steps
from midspan.engine.budget import Cost
from midspan.engine.calls import Anchor, Chat, user
from midspan.engine.capabilities import Need


class PrefillConfig(AttackConfig):
    """No paper gives more than the first position.

    Attributes:
        positions: Canvas positions, one response each.
        opening: What is fixed, for all behaviors; None takes each one's own.
        generic_opening: For behaviors that have none.
    """

    positions: tuple[int, ...] = Field((0,), min_length=1)
    opening: str | None = Field(None, min_length=1)
    generic_opening: str = Field(GENERIC, min_length=1)


def run(state: AttackState, config: PrefillConfig) -> Steps:
    """One response a position."""
    text = opening_of(state.behavior, config.opening, config.generic_opening)
    asked = (user(state.behavior.prompt),)
    calls = [Chat("target", asked, anchors=(Anchor(text, start),)) for start in config.positions]
    yield from state.ask(calls)
    return "exhausted"


def cost(config: PrefillConfig, limit: int) -> Cost:
    """One response a position."""
    return Cost(generations=len(config.positions), attempts=len(config.positions))


def needs(config: PrefillConfig) -> frozenset[Need]:
    """A prefix at the first position, anchors elsewhere."""
    return frozenset({"anchors" if any(config.positions) else "prefix"})


ATTACK = Attack("prefill", run, PrefillConfig, counts="any", cost=cost, needs=needs)
