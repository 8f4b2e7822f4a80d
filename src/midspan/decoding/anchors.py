"""Phrases as anchors: tokens that a canvas holds from the start."""

from collections.abc import Iterable, Mapping

from midspan.errors import MidspanError
from midspan.models.text import TextModel


def anchor_phrase(
    lm: TextModel, text: str, start: int, others: Mapping[int, int] | None = None
) -> dict[int, int]:
    """Anchors that fix a phrase from canvas position `start` on.

    Behind running text it begins with a space; see `DiffusionLM.encode_phrase`.

    Args:
        lm: The model.
        text: The phrase.
        start: Canvas position of its first token.
        others: Anchors that stand already, one of which may be in front of the phrase.

    Raises:
        MidspanError: If the phrase is empty or starts before the canvas.
    """
    ids = lm.encode_phrase(text, start, (others or {}).get(start - 1))
    if start < 0:
        raise MidspanError(f"anchors: position {start} is before the canvas; start at 0 or later")
    return dict(enumerate(ids, start))


def anchor_phrases(lm: TextModel, phrases: Iterable[tuple[str, int]]) -> dict[int, int]:
    """Anchors that fix several phrases, each from its canvas position on.

    Raises:
        MidspanError: If a phrase is empty, starts before the canvas or meets another.
    """
    anchors: dict[int, int] = {}
    for text, start in sorted(phrases, key=lambda phrase: phrase[1]):
        anchors = merge_anchors(anchors, anchor_phrase(lm, text, start, anchors))
    return anchors


def merge_anchors(*parts: Mapping[int, int]) -> dict[int, int]:
    """All anchors in one mapping.

    Raises:
        MidspanError: If two parts claim the same position.
    """
    merged: dict[int, int] = {}
    for part in parts:
        overlap = sorted(merged.keys() & part.keys())
        if overlap:
            raise MidspanError(f"anchors overlap at canvas position {overlap[0]}; move one phrase")
        merged |= part
    return merged
