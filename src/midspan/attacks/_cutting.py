"""From an answer to parts of it that a response may be made to say."""

import re

_SENTENCE_END = re.compile(r"[.!?:]$")


def beginnings(text: str, most: int) -> list[str]:
    """The first line with one, two, ... words of the second."""
    lines = list(re.finditer(r"\S[^\n]*", text))
    if len(lines) < 2:
        return [text]
    words = list(re.finditer(r"\S+", lines[1][0]))[:most]
    return [text[: lines[1].start() + word.end()] for word in words]


def middles(text: str, window: tuple[int, int]) -> list[str]:
    """The sentences that begin in a window of words; the last may be cut off and counts too."""
    words = text.split()
    first, last = window
    ends = [number for number, word in enumerate(words, 1) if _SENTENCE_END.search(word)]
    starts = [number for number in ends if first <= number <= last and number < len(words)]
    bounds = [
        (start, min([end for end in ends if end > start], default=len(words))) for start in starts
    ]
    return [" ".join(words[start:end]) for start, end in bounds]
