"""Which opening of a response an attack works towards."""

from midspan.data.behaviors import Behavior

# For behaviors whose set names none; it fits any request, and so says nothing about this one.
GENERIC = "Sure, here is"


def opening_of(behavior: Behavior, chosen: str | None) -> str:
    """The one that the user chose, or else the behavior's own, or else a generic one."""
    return chosen or behavior.opening or GENERIC
