"""How attacks read what helpers and the target reply: strictly, with ValueError for the rest."""

from collections.abc import Callable

from midspan.engine import reading


def read_text(value: object) -> str:
    """A text that says something."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("an empty text, or none")
    return value.strip()


def read_texts(*names: str) -> Callable[[str], dict[str, str]]:
    """A parser of a JSON object whose values under these names are texts."""

    def parse(text: str) -> dict[str, str]:
        fields = reading.read_object(text, *names)
        return {name: read_text(fields[name]) for name in names}

    return parse


def read_rating(low: int, high: int) -> Callable[[str], int]:
    """A parser of a rating such as ``[[7]]``."""

    def parse(text: str) -> int:
        return reading.read_rating(text, low, high)

    return parse


def read_yes(text: str) -> bool:
    """``[[YES]]`` or ``[[NO]]``."""
    answer = reading.read_mark(text).upper()
    if answer not in ("YES", "NO"):
        raise ValueError(f"{answer} is not YES or NO")
    return answer == "YES"
