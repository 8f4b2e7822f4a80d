"""The one exception type that midspan raises for what a user can mend."""

import re
import traceback
from collections.abc import Iterable
from difflib import get_close_matches

_BREAK = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*")
_UNSHOWN = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x9f]")


class MidspanError(ValueError):
    """Bad input: the message is one line that names the field and the fix.

    The command line prints the message without a traceback and exits with status 2. What a message
    quotes from files and servers may hold line breaks and control characters; it is shown without.
    """

    def __init__(self, message: object = "") -> None:
        """An error with this message."""
        super().__init__(_UNSHOWN.sub("\N{REPLACEMENT CHARACTER}", _BREAK.sub(" ", str(message))))


def not_one_of(field: str, value: object, choices: Iterable[str]) -> MidspanError:
    """The error of a value that is none of the choices, to be raised.

    Args:
        field: Whose value it is; empty in a pydantic validator of the field, which names it.
        value: What the user gave.
        choices: What it may be.
    """
    known = list(choices)
    message = f"must be one of {', '.join(known) or 'none'}; got {value!r}{nearest(value, known)}"
    return MidspanError(f"{field}: {message}" if field else message)


def nearest(value: object, choices: Iterable[str]) -> str:
    """The end of a message: ``; did you mean X?``, or nothing where no choice is near."""
    by_lower = {choice.lower(): choice for choice in choices}
    near = get_close_matches(str(value).lower(), by_lower, n=1)
    return f"; did you mean {by_lower[near[0]]}?" if near else ""


def error_fields(error: Exception) -> dict[str, str]:
    """An error in the code that reads one response, as fields of its record."""
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return {"error": line, "traceback": "".join(traceback.format_exception(error))}
