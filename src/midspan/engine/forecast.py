"""What an attack can cost at most, before anything is asked."""

import sys
from dataclasses import replace

from midspan.engine.attack import Attack, AttackConfig
from midspan.engine.budget import Budget, Calls, Cost


def forecast(attack: Attack, config: AttackConfig, budget: Budget) -> Cost | None:
    """The most that an attack costs on one behavior; None where it does not say.

    The budget's limit of helper calls is put to each role; together they keep to it too. Its limits
    of tokens and forwards are left out: what a call takes of them is known only afterwards.
    """
    if attack.cost is None:
        return None
    generations = budget.target or sys.maxsize
    calls = budget.helper or sys.maxsize
    cost = attack.cost(config, generations)
    helpers = {
        role: Calls(min(needed.expected, calls), min(needed.maximum, calls))
        for role, needed in cost.helpers.items()
    }
    return replace(
        cost,
        generations=min(cost.generations, generations),
        attempts=min(cost.attempts, generations),
        helpers=helpers,
    )
