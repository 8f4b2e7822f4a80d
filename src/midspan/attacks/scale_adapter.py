"""Scaling the adapter: the target's alignment at a share of its strength, and the plain request.

An alignment that is shipped as an adapter can be taken off, and anywhere between. Ours; a merged
model is not covered, since nothing in it says what was added.
"""

from typing import Annotated

from pydantic import Field

from midspan.attacks._slots import Wraps, plain_and_wrapped
from midspan.engine.attack import Attack, AttackConfig, AttackState, Steps
from midspan.engine.budget import Cost
from midspan.engine.calls import Chat
from midspan.engine.capabilities import Need
from midspan.engine.tampering import AdapterScaling


class ScaleAdapterConfig(AttackConfig):
    """Ours.

    Attributes:
        factors: Shares of the adapter's strength, one response each; 0 is the model without it.
        wraps: Words around the request, with ``{request}`` in them; as many responses again each.
    """

    factors: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = Field(
        (0.0, 0.25, 0.5, 0.75), min_length=1
    )
    wraps: Wraps = ()


def run(state: AttackState, config: ScaleAdapterConfig) -> Steps:
    """One response a factor and wording."""
    turns = plain_and_wrapped(state.behavior.prompt, config.wraps)
    yield from state.ask(
        [
            Chat("target", turn, tampering=AdapterScaling(factor=factor))
            for factor in config.factors
            for turn in turns
        ]
    )
    return "exhausted"


def cost(config: ScaleAdapterConfig, limit: int) -> Cost:
    """One response a factor and wording."""
    count = len(config.factors) * (1 + len(config.wraps))
    return Cost(generations=count, attempts=count)


def needs(config: ScaleAdapterConfig) -> frozenset[Need]:
    """Weights."""
    return frozenset({"weights"})


ATTACK = Attack(
    "scale_adapter",
    run,
    ScaleAdapterConfig,
    counts="any",
    cost=cost,
    changes="adapter",
    needs=needs,
)
