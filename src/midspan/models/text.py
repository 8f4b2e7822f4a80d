"""What a model reads and says as text: chat prompts, phrases, responses."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from midspan.errors import MidspanError
from midspan.models.family import Family, Piece, Special, SpecialTokens
from midspan.models.tokens import merge_plain
from midspan.models.vocabulary import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Scripts that put no space between words: Thai, Lao, Chinese, Japanese, and full-width signs.
_UNSPACED = re.compile("[\u0e00-\u0eff\u2e80-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]")


class Response(NamedTuple):
    """What a response says, and what a reasoning model thought before it."""

    answer: str
    thoughts: str


class TextModel:
    """The text side of a `DiffusionLM`."""

    tokenizer: "PreTrainedTokenizerFast"
    family: Family
    tokens: SpecialTokens

    @property
    def base(self) -> Any:
        """The native model."""
        raise NotImplementedError

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """What the tokenizer's entries are to the model, read once."""
        rows = self.base.get_input_embeddings().num_embeddings
        return Vocabulary(self.tokenizer, self.tokens, rows)

    @property
    def unspelled(self) -> tuple[range, ...]:
        """Rows of the model for which the tokenizer has no entry; none without a tokenizer."""
        return () if self.tokenizer is None else self.vocabulary.unspelled

    def encode_chat(
        self, messages: str | Sequence[Mapping[str, str]], mask: str | None = None
    ) -> list[int]:
        """Ids of a chat prompt up to and including the assistant's header.

        Args:
            messages: Messages with `role` and `content`, or the text of one user message.
            mask: A character, each of which becomes a mask token.

        Raises:
            MidspanError: If a message is no chat message, the tokenizer's chat template refuses
                it, or the tokenizer lacks a token of the chat format.
        """
        pieces = self._chat_pieces(messages)
        if mask is not None:
            pieces = [part for piece in pieces for part in self._masked(piece, mask)]
        return self.vocabulary.encode_pieces(pieces)

    def _masked(self, piece: Piece, mask: str) -> list[Piece]:
        """A piece with a mask token for each of a character."""
        if not isinstance(piece, str) or mask not in piece:
            return [piece]
        name = Special(str(self.tokenizer.convert_ids_to_tokens(self.tokens.mask)))
        parts: list[Piece] = []
        for text in re.split(f"({mask})", piece):
            parts += [name if text == mask else text] if text else []
        return parts

    def chat_text(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The chat prompt as text, the names of special tokens in their places."""
        pieces = self._chat_pieces(messages)
        return "".join(piece if isinstance(piece, str) else piece.token for piece in pieces)

    def encode_marked(self, text: str) -> list[int]:
        """Ids of a text such as `chat_text`'s: the name of a special token is that token."""
        return self.vocabulary.encode_pieces(self.vocabulary.marked_pieces(text))

    def _chat_pieces(self, messages: str | Sequence[Mapping[str, str]]) -> list[Piece]:
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        for message in messages:
            role, content = message.get("role"), message.get("content")
            is_text = isinstance(role, str) and isinstance(content, str)
            if not is_text or not str(role).isidentifier():
                raise MidspanError(
                    f"a chat message needs a role (one word) and content (a text): {message}"
                )
        if self.family.template_first and self.tokenizer.chat_template:
            from midspan.models.templates import template_pieces

            pieces = template_pieces(self.vocabulary, messages, self.family.template_options)
        else:
            pieces = self.family.chat(messages)
        return merge_plain(pieces)

    def encode_text(self, text: str) -> list[int]:
        """Ids of plain text; the name of a special token stays text."""
        return self.vocabulary.encode(text)

    def encode_phrase(self, text: str, start: int = 0, before: int | None = None) -> list[int]:
        """Ids of a phrase that is to be placed or scored in a response, in full; see `encode_at`.

        Raises:
            MidspanError: If the phrase is empty or has words that the vocabulary lacks.
        """
        ids = self.encode_at(text, start, before)
        if not ids:
            raise MidspanError(f"the phrase {text!r} has no tokens")
        if self.tokenizer.unk_token_id in ids:
            raise MidspanError(f"the phrase {text!r} has words that the vocabulary lacks")
        return ids

    def encode_at(self, text: str, start: int, before: int | None = None) -> list[int]:
        """Ids of a text that stands in a response from canvas position `start` on.

        Behind running text the text begins with a space, as words do there: tokenizers of bytes
        have other tokens for a word with a space than for one without. It begins as it is written
        at the response's first token, behind white space, where it brings white space itself, and
        in scripts that put no space between words.

        Args:
            text: The text, such as a phrase to place.
            start: Canvas position of its first token; where it may stand at several, the last.
            before: The token in front of it, where that is known; None for a masked position,
                which is taken to become running text.
        """
        is_behind_text = start > 0 and (before is None or not self._ends_in_space(before))
        takes_space = bool(text) and not text[0].isspace() and not _UNSPACED.match(text)
        is_spaced = is_behind_text and takes_space
        return self._behind_a_word(text) if is_spaced else self.encode_text(text)

    def _ends_in_space(self, token: int) -> bool:
        return str(self.tokenizer.decode([token]))[-1:].isspace()

    def _behind_a_word(self, text: str) -> list[int]:
        """Ids of a text behind a word and a space.

        A word is really put there, since some tokenizers put a space before every text.
        """
        word = self.encode_text("a")
        whole = self.encode_text(f"a {text}")
        is_apart = whole[: len(word)] == word
        return whole[len(word) :] if is_apart else self.encode_text(f" {text}")

    def decode_text(self, ids: Sequence[int]) -> str:
        """The text of a response, cut at the first stop token or text, without special tokens.

        Added tokens that are not special, such as ``<think>``, are text, but for the mask.
        """
        response = takewhile(lambda token: token not in self.tokens.stop, map(int, ids))
        kept = [token for token in response if token not in self.vocabulary.silent]
        text = str(self.tokenizer.decode(kept, clean_up_tokenization_spaces=False))
        if self.family.stop_text is None or self.family.stop_text not in text:
            return text
        return text.partition(self.family.stop_text)[0].rstrip("\n")

    def decode_response(self, ids: Sequence[int], prompt_ids: Sequence[int] = ()) -> Response:
        """The answer of a response, and apart from it what a reasoning model thought.

        Thoughts stand between ``<think>`` and ``</think>``, where the tokenizer has both as tokens.
        Where they do not end, no answer came. They may begin in the prompt, whose template has
        opened them, or with the response, where they end without having been opened, as the
        published parsers have it.

        Args:
            ids: The response, read up to its first stop token.
            prompt_ids: What stands before it.
        """
        marks = self.vocabulary.thoughts
        response = list(takewhile(lambda token: token not in self.tokens.stop, map(int, ids)))
        written = [token for token in prompt_ids if marks and token in marks]
        if marks is None or not (written[-1:] == [marks[0]] or set(marks) & set(response)):
            return Response(self.decode_text(response), "")
        opening, closing = marks
        is_thought = written[-1:] == [opening]
        first = next((token for token in response if token in marks), None)
        is_thought |= first == closing
        answer: list[int] = []
        thoughts: list[int] = []
        for token in response:
            if token in marks:
                is_thought = token == opening
            else:
                (thoughts if is_thought else answer).append(token)
        return Response(self.decode_text(answer).strip(), self.decode_text(thoughts).strip())
