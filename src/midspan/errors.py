"""The one exception type that midspan raises for what a user can mend."""

import traceback
from collections.abc import Iterable


class MidspanError(ValueError):
    """Bad input: the message is one line that names the field and the fix.

    The command line prints the message without a traceback and exits with status 2.
    """


def not_one_of(field: str, value: object, choices: Iterable[str]) -> MidspanError:
    """The error of a value that is none of the choices, to be raised.

    Args:
        field: Whose value it is; empty in a pydantic validator of the field, which names it.
        value: What the user gave.
        choices: What it may be.
    """
    message = f"must be one of {', '.join(choices) or 'none'}; got {value!r}"
    return MidspanError(f"{field}: {message}" if field else message)


def error_fields(error: Exception) -> dict[str, str]:
    """An error in the code that reads one response, as fields of its record."""
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return {"error": line, "traceback": "".join(traceback.format_exception(error))}
