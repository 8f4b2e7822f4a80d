"""Texts compared and chosen by what they say: normal form, hashes, splits, subsets.

Order in a file, letter case, white space and punctuation decide nothing here.
"""

import hashlib
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from midspan.errors import MidspanError

# Halves of a character outside the basic plane, which UTF-8 cannot hold, and NUL, which files and
# terminals do not.
_UNWRITABLE = re.compile("[\ud800-\udfff\x00]")

Item = TypeVar("Item")

_APOSTROPHES = str.maketrans("", "", "'\u2019")


def normalise(text: str) -> str:
    """Compatible Unicode characters, case, punctuation and white space made equal.

    A text of nothing but punctuation (Morse code) keeps it.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_APOSTROPHES)
    folded = unicodedata.normalize("NFKC", folded)
    words = "".join(
        character if unicodedata.category(character)[0] in "LMN" else " " for character in folded
    )
    return " ".join(words.split()) or " ".join(folded.split())


def digest(text: str, salt: str = "") -> str:
    """A hash of the normal form, in hexadecimal; another salt gives another order."""
    return hashlib.sha256(f"{salt}\0{normalise(text)}".encode()).hexdigest()


def split(
    items: Iterable[Item], share: float, salt: str, key: Callable[[Item], str] = str
) -> tuple[list[Item], list[Item]]:
    """Items in a share chosen by hash, and the others; each part keeps the given order.

    An item's side depends on its text, the share and the salt alone, so texts that are equal in
    normal form are never on both sides, and a smaller share lies within a larger one.

    Args:
        items: Texts, or anything that `key` gives the text of.
        share: Expected share of the first part, between 0 and 1.
        salt: Names the split; independent splits have different salts.
        key: The text of an item.
    """
    if not 0 < share < 1:
        raise MidspanError(f"share: {share} is not between 0 and 1")
    inside: list[Item] = []
    outside: list[Item] = []
    for item in items:
        position = int(digest(key(item), salt)[:16], 16) / 2**64
        (inside if position < share else outside).append(item)
    return inside, outside


def choose(
    items: Sequence[Item], count: int, salt: str, key: Callable[[Item], str] = str
) -> list[Item]:
    """The `count` items with the smallest hashes, in the order given.

    Fewer are a part of more, and the order of the items does not matter.
    """
    if not 0 < count <= len(items):
        raise MidspanError(f"subset: {count} is not between 1 and {len(items)}, which there are")
    ranked = sorted(range(len(items)), key=lambda index: digest(key(items[index]), salt))
    return [items[index] for index in sorted(ranked[:count])]


def whole_values(value: Any) -> Any:
    """A value of JSON with whole texts and names in it, and None for what is no finite number."""
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {whole_values(key): whole_values(item) for key, item in value.items()}
    return [whole_values(item) for item in value] if isinstance(value, list) else value


def whole_text(text: str) -> str:
    """A text without lone surrogates and NUL: U+FFFD stands for each; pairs become a character."""
    if text.isascii() and "\x00" not in text:
        return text
    if _UNWRITABLE.search(text) is None:
        return text
    paired = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return paired.replace("\x00", "\ufffd")
