"""Where a budget ends an attack: at its limit, not one call behind it."""

import pytest

from midspan.engine.budget import Budget, Ledger
from midspan.engine.calls import Chat, user


def granted(ledger, role="target"):
    (count,) = ledger.grant([Chat(role, (user("x"),))])
    return count is not None


@pytest.mark.parametrize("limit", ["tokens", "forwards"])
def test_a_limit_of_cost_ends_at_the_limit_itself(limit):
    ledger = Ledger(Budget(**{limit: 10}))
    for spent in (4, 5):  # of both roles together
        assert granted(ledger)
        ledger.book(
            "target" if spent == 4 else "helper", **{"tokens": 0, "forwards": 0, limit: spent}
        )
    assert granted(ledger)  # 9 of 10
    ledger.book("target", **{"tokens": 0, "forwards": 0, limit: 1})
    assert not granted(ledger) and not granted(ledger, "helper")
    other = "forwards" if limit == "tokens" else "tokens"
    free = Ledger(Budget(**{limit: 10}))
    free.book("target", **{limit: 0, other: 99})
    assert granted(free)


@pytest.mark.parametrize(("field", "role"), [("target", "target"), ("helper", "evaluator")])
def test_a_limit_of_calls_is_of_its_own_kind(field, role):
    ledger = Ledger(Budget(**{field: 2}))
    assert [granted(ledger, role) for _ in range(3)] == [True, True, False]
    assert granted(ledger, "attacker" if field == "target" else "target")
    assert ledger.usage[role].calls == 2
