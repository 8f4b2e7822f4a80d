"""Direct request: the behavior as it stands, asked once. The floor under every attack."""

from midspan.engine.attack import Attack, AttackConfig, AttackState, Steps
from midspan.engine.budget import Cost
from midspan.engine.calls import Chat, user


class DirectConfig(AttackConfig):
    """There is nothing to set."""


def run(state: AttackState, config: DirectConfig) -> Steps:
    """Ask once."""
    yield from state.ask([Chat("target", (user(state.behavior.prompt),))])
    return "exhausted"


def cost(config: DirectConfig, limit: int) -> Cost:
    """One response."""
    return Cost(generations=1, attempts=1)


ATTACK = Attack("direct", run, DirectConfig, cost=cost, counts="any")
