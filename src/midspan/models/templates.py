"""A tokenizer's chat template, rendered so that a user's text never becomes a special token."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jinja2.exceptions import TemplateError, TemplateSyntaxError

from midspan.errors import MidspanError
from midspan.models.family import Message, Piece
from midspan.models.vocabulary import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_PRIVATE_USE = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))


def template_pieces(
    vocabulary: Vocabulary, messages: Sequence[Message], options: Mapping[str, object]
) -> list[Piece]:
    """The pieces of the tokenizer's own chat template, with the contents as plain text.

    The template gets the contents as they are, so that it may trim them, drop turns or strip the
    thoughts of earlier ones. Where a content holds the name of a special token, a private-use
    character stands for the name while the template is rendered, unless the template acts on it.

    Args:
        vocabulary: Of the tokenizer.
        messages: Messages with role and content.
        options: Keyword arguments of the template.

    Raises:
        MidspanError: If the template refuses the messages or does not parse, if it leaves out the
            last message, or if it acts on the name of a special token in a content in such a way
            that its own tokens cannot be told from the content's.
    """
    contents = [message["content"] for message in messages]
    free = _free_characters("".join(contents))
    template = _Template(vocabulary.tokenizer, [m["role"] for m in messages], options)
    template, frame = _framed(template, [next(free) for _ in messages])
    found = vocabulary.control_names.findall
    names = dict.fromkeys(
        (i, name) for i, content in enumerate(contents) for name in found(content)
    )
    stand_in = {name: next(free) for _, name in names}
    text = _rendered(template, contents, list(names), stand_in)
    written = Counter(found(text)) - Counter(found(frame))
    if written:
        raise MidspanError(
            f"messages: the tokenizer's chat template acts on {min(written)} in a message, so that "
            "its own tokens cannot be told from the message's; take it out of the message"
        )
    return [
        _restored(piece, stand_in) if isinstance(piece, str) else piece
        for piece in vocabulary.marked_pieces(text)
    ]


@dataclass(frozen=True)
class _Template:
    """A tokenizer's chat template and the roles of a conversation."""

    tokenizer: "PreTrainedTokenizerFast"
    roles: Sequence[str]
    options: Mapping[str, object]
    in_parts: bool = False

    def render(self, contents: Sequence[str]) -> str:
        """The prompt of these contents.

        Raises:
            MidspanError: If the template refuses them, or does not parse.
        """
        messages: list[dict[str, Any]] = [
            {"role": role, "content": [{"type": "text", "text": text}] if self.in_parts else text}
            for role, text in zip(self.roles, contents, strict=True)
        ]
        try:
            text = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, **self.options
            )
        except (TemplateError, TypeError, ValueError) as error:
            fault = "does not take them"
            if isinstance(error, TemplateSyntaxError):
                fault = f"does not parse (line {error.lineno})"
            reason = " ".join(str(error).split())
            raise MidspanError(
                f"messages: the tokenizer's chat template {fault}: {reason}"
            ) from error
        return str(text)


def _framed(template: _Template, marks: Sequence[str]) -> tuple[_Template, str]:
    """The template in the form that places the contents, and what it writes around marks.

    Some templates take contents as lists of parts alone, and write nothing for a text.
    """
    in_parts = _Template(template.tokenizer, template.roles, template.options, in_parts=True)
    refusal: MidspanError | None = None
    frames: list[tuple[_Template, str]] = []
    for form in (template, in_parts):
        try:
            frame = form.render(marks)
        except MidspanError as error:
            refusal = refusal or error
            continue
        if all(mark in frame for mark in marks):
            return form, frame
        frames.append((form, frame))
    if not frames:
        assert refusal is not None
        raise refusal
    form, frame = max(frames, key=lambda pair: sum(mark in pair[1] for mark in marks))
    if marks[-1] not in frame:
        raise MidspanError(
            "messages: the tokenizer's chat template leaves out the last message, whose role is "
            f"{template.roles[-1]!r}"
        )
    return form, frame


def _rendered(
    template: _Template,
    contents: Sequence[str],
    names: Sequence[tuple[int, str]],
    stand_in: Mapping[str, str],
) -> str:
    """The prompt, with stand-ins for the names in contents that the template does not act on.

    Args:
        template: The template.
        contents: The contents.
        names: Which content holds which name of a special token.
        stand_in: A character for each name.
    """

    def with_hidden(hidden: Collection[tuple[int, str]]) -> str:
        changed = list(contents)
        # As they were found: the longest first.
        for index, name in sorted(hidden, key=lambda pair: -len(pair[1])):
            changed[index] = changed[index].replace(name, stand_in[name])
        return template.render(changed)

    text = with_hidden(names)
    if not names:
        return text
    wanted = template.render(contents)
    if _restored(text, stand_in) == wanted:
        return text
    hidden: list[tuple[int, str]] = []
    for name in names:
        if _restored(with_hidden([*hidden, name]), stand_in) == wanted:
            hidden.append(name)
    return with_hidden(hidden)


def _restored(text: str, stand_in: Mapping[str, str]) -> str:
    for name, character in stand_in.items():
        text = text.replace(character, name)
    return text


def _free_characters(text: str) -> Iterator[str]:
    """Private-use characters that a text does not hold."""
    used = set(text)
    return (chr(code) for codes in _PRIVATE_USE for code in codes if chr(code) not in used)
