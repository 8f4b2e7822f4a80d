"""Best of n: the behavior as it stands, sampled n times. What chance alone gives an attack.

The sampling floor of repeated attempts, without the augmentations of Best-of-N Jailbreaking (arXiv
2412.03556): an attack that asks the target n times has to beat it.
"""

from pydantic import Field

from midspan.engine.attack import Attack, AttackConfig, AttackState, Steps
from midspan.engine.budget import Cost
from midspan.engine.calls import Chat, user
from midspan.engine.capabilities import Need


class BestOfNConfig(AttackConfig):
    """Ours; no paper gives any.

    Attributes:
        n: Samples; an attack's number of target calls makes it the floor of that attack.
        temperature: Of the target, whatever the study's own; at 0 all samples would be one.
    """

    n: int = Field(10, ge=1)
    temperature: float = Field(1.0, gt=0)


def run(state: AttackState, config: BestOfNConfig) -> Steps:
    """Ask n times in one batch."""
    call = Chat("target", (user(state.behavior.prompt),), temperature=config.temperature)
    yield from state.ask([call] * config.n)
    return "exhausted"


def cost(config: BestOfNConfig, limit: int) -> Cost:
    """All samples."""
    return Cost(generations=config.n, attempts=config.n)


def needs(config: BestOfNConfig) -> frozenset[Need]:
    """Answers that differ."""
    return frozenset({"draws"} if config.n > 1 else {"chat"})


ATTACK = Attack("best_of_n", run, BestOfNConfig, cost=cost, counts="any", needs=needs)
