"""How attacks read what helpers and the target reply: strictly, with ValueError for the rest."""

import json
import re
from collections.abc import Callable
from typing import Any

_MARK = re.compile(r"\[\[\s*([A-Za-z0-9]+)\s*\]\]")
_DECODER = json.JSONDecoder(strict=False)  # Models break lines inside strings.


def read_object(text: str, *names: str) -> dict[str, Any]:
    """The first JSON object in a text that has all names; text around it is not looked at."""
    for start in (match.start() for match in re.finditer(r"\{", text)):
        try:
            value, _ = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if all(name in value for name in names):
            return value
    raise ValueError(f"no JSON object with {', '.join(names)}")


def read_text(value: object) -> str:
    """A text that says something."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("an empty text, or none")
    return value.strip()


def read_texts(*names: str) -> Callable[[str], dict[str, str]]:
    """A parser of a JSON object whose values under these names are texts."""

    def parse(text: str) -> dict[str, str]:
        fields = read_object(text, *names)
        return {name: read_text(fields[name]) for name in names}

    return parse


def read_rating(low: int, high: int) -> Callable[[str], int]:
    """A parser of a rating such as ``[[7]]``."""

    def parse(text: str) -> int:
        rating = int(_marked(text))
        if not low <= rating <= high:
            raise ValueError(f"{rating} is not in {low} to {high}")
        return rating

    return parse


def read_yes(text: str) -> bool:
    """``[[YES]]`` or ``[[NO]]``."""
    answer = _marked(text).upper()
    if answer not in ("YES", "NO"):
        raise ValueError(f"{answer} is not YES or NO")
    return answer == "YES"


def _marked(text: str) -> str:
    marks = set(_MARK.findall(text))
    if len(marks) != 1:
        raise ValueError(f"wanted one value in [[ ]], got {len(marks)}")
    return str(marks.pop())
