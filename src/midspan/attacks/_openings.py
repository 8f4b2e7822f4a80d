"""Which opening of a response an attack works towards."""

from midspan.data.behaviors import Behavior

# It fits any request, and so says nothing about this one.
GENERIC = "Sure, here is"


def opening_of(behavior: Behavior, chosen: str | None, generic: str) -> str:
    """The one chosen for all behaviors, or else the behavior's own, or else a generic one."""
    return chosen or behavior.opening or generic
