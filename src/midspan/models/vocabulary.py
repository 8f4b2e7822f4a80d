"""What a tokenizer's entries are to a model, read once: whole vocabularies take tenths of a second.

Shapes: V rows of the model's embedding, which may be more than the tokenizer's entries.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from midspan.data.text import whole_text
from midspan.errors import MidspanError
from midspan.models.family import Piece, Special, SpecialTokens
from midspan.models.tokens import control_ids, encode_plain, silent_ids, token_id

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_THOUGHTS = ("<think>", "</think>")
# Characters of what chat formats write themselves, roles and line breaks: worth remembering.
_SHORT = 32


class Vocabulary:
    """A tokenizer's entries, sorted by what they are.

    Args:
        tokenizer: The tokenizer.
        tokens: The model's special tokens.
        num_rows: Rows of the model's embedding, V.
    """

    def __init__(
        self, tokenizer: "PreTrainedTokenizerFast", tokens: SpecialTokens, num_rows: int
    ) -> None:
        self.tokenizer = tokenizer
        self.control = control_ids(tokenizer, tokens)
        self.silent = silent_ids(tokenizer, tokens)
        self._num_rows = num_rows
        self._encode_short = lru_cache(maxsize=1024)(self._encode)

    @cached_property
    def thoughts(self) -> tuple[int, int] | None:
        """The added tokens around the thoughts of a reasoning model; None where it has none."""
        opening, closing = (token_id(self.tokenizer, text) for text in _THOUGHTS)
        if opening is None or closing is None or not {opening, closing} <= self.control:
            return None
        return opening, closing

    @cached_property
    def control_names(self) -> re.Pattern[str]:
        """Finds the name of a control token, the longest one where several begin."""
        tokens = self.tokenizer.convert_ids_to_tokens(sorted(self.control))
        names = sorted(filter(None, tokens), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, names)) or "(?!)")

    @cached_property
    def unspelled(self) -> tuple[range, ...]:
        """Rows of the model for which the tokenizer has no entry, in runs.

        Published embeddings are padded (Dream: 152,064 rows, 151,667 entries), and a vocabulary may
        have holes.
        """
        known = set(self._entries.values())
        return _runs([row for row in range(self._num_rows) if row not in known])

    @cached_property
    def _entries(self) -> dict[str, int]:
        entries: dict[str, int] = self.tokenizer.get_vocab()
        return entries

    @cached_property
    def plain_V(self) -> Tensor:
        """True for entries that are neither special nor unknown."""
        barred = self.control | {self.tokenizer.unk_token_id}
        kept = [i for i in self._entries.values() if i not in barred and i < self._num_rows]
        return self._marked(kept)

    @cached_property
    def printable_V(self) -> Tensor:
        """True for plain entries of printable ASCII."""
        texts = self._texts.items()
        return self._marked([i for i, text in texts if text.isascii() and text.isprintable()])

    @cached_property
    def spaces(self) -> frozenset[int]:
        """Plain entries that end in white space."""
        return frozenset(i for i, text in self._texts.items() if text[-1:].isspace())

    @cached_property
    def _texts(self) -> dict[int, str]:
        """The text of each plain entry."""
        ids = self.plain_V.nonzero()[:, 0].tolist()
        return dict(zip(ids, self.tokenizer.batch_decode([[i] for i in ids]), strict=True))

    def _marked(self, ids: Sequence[int]) -> Tensor:
        marked_V = torch.zeros(self._num_rows, dtype=torch.bool)
        marked_V[torch.tensor(ids, dtype=torch.long)] = True
        return marked_V

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; see `encode_plain`. What is no text in it is U+FFFD (`whole_text`)."""
        text = whole_text(text)
        return list((self._encode_short if len(text) <= _SHORT else self._encode)(text))

    def _encode(self, text: str) -> list[int]:
        return encode_plain(self.tokenizer, text, self.control)

    def marked_pieces(self, text: str) -> list[Piece]:
        """The pieces of a text in which the name of a special token is that token."""
        pieces: list[Piece] = []
        end = 0
        for found in self.control_names.finditer(text):
            pieces += [text[end : found.start()], Special(found[0])]
            end = found.end()
        return [piece for piece in (*pieces, text[end:]) if piece]

    def encode_pieces(self, pieces: Iterable[Piece]) -> list[int]:
        """Ids of a chat prompt: special pieces by name, plain pieces as plain text.

        Raises:
            MidspanError: If the tokenizer lacks a special token of the chat format.
        """
        ids: list[int] = []
        for piece in pieces:
            if isinstance(piece, str):
                ids += self.encode(piece)
                continue
            token = token_id(self.tokenizer, piece.token)
            if token is None:
                raise MidspanError(
                    f"the tokenizer has no {piece.token} token, which the chat needs"
                )
            ids.append(token)
        return ids


def _runs(numbers: Sequence[int]) -> tuple[range, ...]:
    """Ascending numbers as ranges."""
    runs: list[range] = []
    for number in numbers:
        if runs and runs[-1].stop == number:
            runs[-1] = range(runs[-1].start, number + 1)
        else:
            runs.append(range(number, number + 1))
    return tuple(runs)
