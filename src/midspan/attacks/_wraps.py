"""Requests as they stand, and in the words that somebody puts around them."""

from midspan.engine.calls import Message, user

HOLE = "{request}"


def check_wraps(wraps: tuple[str, ...]) -> tuple[str, ...]:
    """The same.

    Raises:
        ValueError: One has no place for the request.
    """
    for wrap in wraps:
        if HOLE not in wrap:
            raise ValueError(f"{wrap!r} has no {HOLE}")
    return wraps


def asked(request: str, wraps: tuple[str, ...]) -> list[tuple[Message, ...]]:
    """The plain request, then the wrapped ones, each as a conversation."""
    return [(user(wrap.replace(HOLE, request)),) for wrap in (HOLE, *wraps)]
