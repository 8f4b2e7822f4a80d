"""TrajHijack (arXiv 2604.08557): a committed refusal is masked again and a prefix stands instead.

The abstract alone could be read: what is masked again, and when, are ours (the rule `rewrite`).
"""

from pydantic import Field

from midspan.attacks._openings import GENERIC, opening_of
from midspan.engine.attack import Attack, AttackConfig, AttackState, Steps
from midspan.engine.budget import Cost
from midspan.engine.calls import Chat, user
from midspan.engine.capabilities import Need


class TrajHijackConfig(AttackConfig):
    """The prefix with re-masking, the paper's strongest without gradients.

    Attributes:
        markers: Texts that tell a refusal once they are committed.
        opening: The prefix, for all behaviors; None takes each one's own; empty masks alone.
        generic_opening: For behaviors that have none.
        everything: Mask all that is committed again.
        times: How often a response is rewritten.
    """

    markers: tuple[str, ...] = Field(("sorry", "cannot", "can't", "unable"), min_length=1)
    opening: str | None = None
    generic_opening: str = Field(GENERIC, min_length=1)
    everything: bool = False
    times: int = Field(1, ge=1)


def run(state: AttackState, config: TrajHijackConfig) -> Steps:
    """One response."""
    from midspan.decoding.rule import as_rule

    prefix = config.opening
    if prefix is None:
        prefix = opening_of(state.behavior, None, config.generic_opening)
    fields = {"markers": config.markers, "everything": config.everything, "times": config.times}
    rule = as_rule({"rule": "rewrite", "prefix": prefix, **fields})
    yield from state.ask([Chat("target", (user(state.behavior.prompt),), rules=(rule,))])
    return "exhausted"


def cost(config: TrajHijackConfig, limit: int) -> Cost:
    """One response."""
    return Cost(generations=1, attempts=1)


def needs(config: TrajHijackConfig) -> frozenset[Need]:
    """A rule."""
    return frozenset({"rules"})


ATTACK = Attack("trajhijack", run, TrajHijackConfig, counts="any", cost=cost, needs=needs)
