"""What an attack can cost at most, before anything is asked."""

import sys
from dataclasses import replace

from midspan.engine.attack import Attack, AttackConfig
from midspan.engine.budget import Budget, Calls, Cost


def forecast(attack: Attack, config: AttackConfig, budget: Budget) -> Cost | None:
    """The most that an attack costs on one behavior; None where it does not say.

    The budget's limit of helper calls is put to each role; together they keep to it too. Its limit
    of forwards is put to the rows of likelihoods and gradients, not to those of responses, and that
    of tokens is left out: what a response takes of them is known only afterwards.
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
    rows, limit = sum(cost.forward_rows.values()), budget.forwards or sys.maxsize
    share = min(1.0, limit / rows) if rows else 1.0
    return replace(
        cost,
        forward_rows={role: round(share * count) for role, count in cost.forward_rows.items()},
        generations=min(cost.generations, generations),
        attempts=min(cost.attempts, generations),
        helpers=helpers,
    )
