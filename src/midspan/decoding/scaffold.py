"""Text with holes: what an infilling attack gives, and the canvas that a model fills of it.

A hole is written ``[4]`` for four tokens or ``[3 words]`` for so many words. A scaffold stands in
the response, or in the user's turn, where the canvas then begins inside the prompt.
"""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple

from midspan.errors import MidspanError
from midspan.models.text import TextModel

Messages = Sequence[Mapping[str, str]]

HOLE = re.compile(r"\[(\d+)( words?)?\]")
# Tokens of a word where no text of the scaffold says better, as English has them.
_TOKENS_OF_A_WORD = 4 / 3
# Stands for one mask token in a chat message.
_MASK = "\N{OBJECT REPLACEMENT CHARACTER}"
# Canvases that begin in the user's turn have lengths in these steps, so that many share a batch.
_LENGTH_STEP = 32


class Hole(NamedTuple):
    """Tokens to be filled."""

    tokens: int


def parse_scaffold(lm: TextModel, text: str) -> list[str | Hole]:
    """Texts and holes in turn; what stands beside a hole has its space in the hole.

    Words become tokens at the rate that the scaffold's own text has in this model's vocabulary.

    Raises:
        MidspanError: There is no hole, or one of no tokens.
    """
    words = HOLE.sub(" ", text).split()
    rate = len(lm.encode_text(" ".join(words))) / len(words) if words else _TOKENS_OF_A_WORD
    parts: list[str | Hole] = []
    end = 0
    for hole in HOLE.finditer(text):
        parts.append(text[end : hole.start()].rstrip(" "))
        count = int(hole[1])
        parts.append(Hole(math.ceil(count * max(rate, 1.0)) if hole[2] else count))
        end = hole.end()
    parts.append(text[end:])
    holes = [part for part in parts if isinstance(part, Hole)]
    if not holes or not all(hole.tokens for hole in holes):
        raise MidspanError(f"scaffold: must have holes such as [4] or [3 words]; got {text!r}")
    return [part for part in parts if part]


def scaffold_anchors(lm: TextModel, text: str) -> tuple[dict[int, int], int]:
    """A scaffold in the response: its anchors, and the tokens that it takes, holes included.

    Raises:
        MidspanError: It has no hole, or words that the vocabulary lacks.
    """
    anchors, _, position = _laid_out(lm, text)
    return anchors, position


def hole_positions(lm: TextModel, text: str) -> list[range]:
    """Where the holes of a scaffold in the response are, in turn.

    Raises:
        MidspanError: As `scaffold_anchors`.
    """
    return _laid_out(lm, text)[1]


def _laid_out(lm: TextModel, text: str) -> tuple[dict[int, int], list[range], int]:
    """A scaffold's words, its holes, and where it ends."""
    anchors: dict[int, int] = {}
    holes: list[range] = []
    position = 0
    for part in parse_scaffold(lm, text):
        if isinstance(part, Hole):
            holes.append(range(position, position + part.tokens))
            position += part.tokens
            continue
        ids = lm.encode_text(part)
        if lm.tokenizer.unk_token_id in ids:
            raise MidspanError(f"scaffold: {part!r} has words that the vocabulary lacks")
        anchors |= dict(enumerate(ids, position))
        position += len(ids)
    return anchors, holes, position


class UserCanvas(NamedTuple):
    """A canvas that begins in the user's turn (DIJA's channel).

    Attributes:
        prompt_ids: What stands before it.
        anchors: All of it that is no hole: words, and the header of the answer.
        length: Its tokens.
        spans: Where its own text stands: the scaffold, then the response where there is one.
    """

    prompt_ids: tuple[int, ...]
    anchors: dict[int, int]
    length: int
    spans: tuple[range, ...]

    def text(self, lm: TextModel, tokens: Sequence[int]) -> str:
        """The filled scaffold and the response, end tokens left out."""
        scaffold, *response = ([tokens[position] for position in span] for span in self.spans)
        texts = [lm.decode_text([token for token in scaffold if token not in lm.tokens.stop])]
        texts += map(lm.decode_text, response)
        return "\n".join(filter(None, (text.strip() for text in texts)))


def user_canvas(lm: TextModel, messages: Messages, text: str, extend: int = 0) -> UserCanvas:
    """A scaffold behind the last message, in the user's own turn.

    Its text is what tells the prompt with it from the prompt without it. (DIJA's code takes the
    response to begin at the count of equal positions of both, which can cut words off.)

    Args:
        lm: The model.
        messages: The conversation; the last is the user's.
        text: The scaffold.
        extend: Tokens of the response behind the header; DIJA has none.

    Raises:
        MidspanError: The scaffold has no hole, or the last message is not the user's.
    """
    if not messages or messages[-1].get("role") != "user":
        raise MidspanError("scaffold: the last message must be the user's")
    *before, last = messages
    said = last["content"].replace(_MASK, "\N{REPLACEMENT CHARACTER}")
    masked = "".join(
        _MASK * part.tokens if isinstance(part, Hole) else part for part in parse_scaffold(lm, text)
    )
    whole = lm.encode_chat([*before, {**last, "content": said + masked}], _MASK)
    plain = lm.encode_chat([*before, {**last, "content": said}])
    first = min(_common(whole, plain), whole.index(_mask(lm)))
    last_of_text = len(whole) - _common(whole[::-1], plain[::-1])
    total = len(whole) + extend
    length = min(-(-(total - first) // _LENGTH_STEP) * _LENGTH_STEP, total - 1)
    begin = total - length
    anchors = {
        position - begin: token
        for position, token in enumerate(whole)
        if position >= begin and token != _mask(lm)
    }
    spans = [range(first - begin, last_of_text - begin)]
    if extend:
        spans.append(range(len(whole) - begin, length))
    return UserCanvas(tuple(whole[:begin]), anchors, length, tuple(spans))


def _mask(lm: TextModel) -> int:
    assert lm.tokens.mask is not None
    return lm.tokens.mask


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Tokens that two sequences begin with in common."""
    pairs = zip(first, second, strict=False)
    return len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
