"""Models behind defences: ``MODEL with DEFENCE``, which names a rule or several of them."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from midspan.decoding.rule import Rule

_WITH = " with "
# Of configs: rules by a name for ``with``.
Defences = dict[str, tuple[dict[str, Any] | str, ...]]


def read_defences(
    defences: Mapping[str, Iterable[Mapping[str, Any] | str]],
) -> "dict[str, tuple[Rule, ...]]":
    """The rules of defences, by the defence's name.

    Raises:
        MidspanError: There is no such rule, or a field of one is wrong.
    """
    if not defences:
        return {}
    from midspan.decoding.rule import as_rule

    return {name: tuple(map(as_rule, rules)) for name, rules in defences.items()}


def behind(spec: str, defences: "Mapping[str, tuple[Rule, ...]]") -> "tuple[str, tuple[Rule, ...]]":
    """A target's model, and the rules in front of it.

    Args:
        spec: ``MODEL``, then ``with NAME`` for each defence.
        defences: By name; a rule's own name needs no entry.

    Raises:
        MidspanError: There is no such defence.
    """
    model, *names = spec.split(_WITH)
    if not names:
        return model, ()
    from midspan.decoding.rule import as_rule

    rules: list[Rule] = []
    for name in names:
        rules += defences[name] if name in defences else [as_rule(name)]
    return model, tuple(rules)
