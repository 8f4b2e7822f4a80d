"""A suffix inside a chat prompt: where its tokens stand, and whether they survive as text.

Shapes: V vocabulary.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os.path import commonprefix

from torch import Tensor

from midspan.errors import MidspanError
from midspan.models.model import DiffusionLM
from midspan.models.text import TextModel

# A user message, or the turns of a conversation, that hold a suffix.
Conversation = str | Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class SuffixPrompt:
    """A chat prompt with free tokens, those of its suffix.

    Attributes:
        conversation: From a suffix to the conversation that holds it; an empty suffix leaves no
            white space behind.
        ids: The whole prompt.
        free: Positions of the suffix in it.
    """

    conversation: Callable[[str], Conversation]
    ids: tuple[int, ...]
    free: range

    @classmethod
    def create(
        cls, lm: DiffusionLM, conversation: Callable[[str], Conversation], suffix: str
    ) -> "SuffixPrompt":
        """The prompt with its first suffix.

        Raises:
            MidspanError: If the suffix does not add tokens of its own to the conversation.
        """
        without = lm.encode_chat(conversation(""))
        ids = lm.encode_chat(conversation(suffix))
        begin = len(commonprefix([without, ids]))
        end = len(ids) - len(commonprefix([without[::-1], ids[::-1]]))
        added = len(ids) - len(without)
        if added < 1 or end - begin > added:
            raise MidspanError(
                f"suffix: {suffix!r} has no tokens of its own in the prompt; "
                "begin with another suffix"
            )
        return cls(conversation, tuple(ids), range(begin, begin + added))

    @property
    def suffix_ids(self) -> tuple[int, ...]:
        """The free tokens."""
        return self.ids[self.free.start : self.free.stop]

    def with_suffix(self, suffix_ids: Sequence[int]) -> "SuffixPrompt":
        """The same prompt with other free tokens."""
        ids = (*self.ids[: self.free.start], *suffix_ids, *self.ids[self.free.stop :])
        return replace(self, ids=ids)

    def text(self, lm: DiffusionLM) -> str:
        """The free tokens as text."""
        return str(lm.tokenizer.decode(self.suffix_ids, clean_up_tokenization_spaces=False))

    def surviving_text(self, lm: DiffusionLM) -> str | None:
        """A suffix whose conversation becomes this very prompt; None where there is none."""
        text = self.text(lm)
        # The tokens may take in white space beside the suffix, which the conversation has already.
        for form in dict.fromkeys((text, text.strip())):
            if lm.encode_chat(self.conversation(form)) == list(self.ids):
                return form
        return None

    def survives(self, lm: DiffusionLM) -> bool:
        """Whether some text becomes this very prompt."""
        return self.surviving_text(lm) is not None


def append_suffix(request: str, suffix: str) -> str:
    """A user message that ends in a suffix, with one space before it where it brings none."""
    if not suffix:
        return request
    return request + suffix if suffix[:1].isspace() else f"{request} {suffix}"


def allowed_tokens(lm: TextModel, ascii_only: bool = True) -> Tensor:
    """Tokens that a suffix may hold, [V]: no special ones, and none that the tokenizer lacks.

    Computed once a model; not to be changed in place.

    Raises:
        MidspanError: If none are left.
    """
    vocabulary = lm.vocabulary
    allowed_V = vocabulary.printable_V if ascii_only else vocabulary.plain_V
    if not allowed_V.any():
        raise MidspanError("ascii_only: the vocabulary has no such token; switch it off")
    return allowed_V
