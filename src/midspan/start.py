"""Whether this process waits with transformers until something asks for its classes.

A command that decodes a known checkpoint needs none of them, and they take longer to import than a
short answer to decode. Everybody else gets them with `midspan.models`, as its page says.
"""

_waits: list[bool] = []


def wait() -> None:
    """From now on `midspan.models` imports transformers with the first name that is asked for."""
    _waits.append(True)


def waits() -> bool:
    """Whether `wait` was called."""
    return bool(_waits)
