"""Texts with a slot for the request, as attacks ship them and users write them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from midspan.engine.calls import Message, user

SLOT = "{request}"
_BETWEEN = "---"  # a line of its own, between the templates of a file


def filled(template: str, request: str) -> str:
    """A template around a request; other braces of either stay as they are."""
    return template.replace(SLOT, request)


def read_templates(file: str) -> tuple[str, ...]:
    """Templates of a text file, with a line ``---`` between them.

    Raises:
        ValueError: It cannot be read, or holds no template.
    """
    try:
        text = Path(file).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    parts: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.strip() == _BETWEEN:
            parts.append([])
        else:
            parts[-1].append(line)
    templates = tuple(filter(None, ("\n".join(part).strip() for part in parts)))
    if not templates:
        raise ValueError(f"{file} holds no template")
    return _have_slots(templates)


def _have_slots(templates: Sequence[str]) -> tuple[str, ...]:
    for template in templates:
        if SLOT not in template:
            raise ValueError(
                f"a template must have the slot {SLOT}; {template[:60]!r} has no {SLOT}"
            )
    return tuple(templates)


# Words around the request beside the plain one, and texts that stand in its place.
Wraps = Annotated[tuple[str, ...], AfterValidator(_have_slots)]
Templates = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_have_slots)]


def plain_and_wrapped(request: str, wraps: Sequence[str]) -> list[tuple[Message, ...]]:
    """The request as it stands, then in each wrap, each as a conversation."""
    return [(user(filled(wrap, request)),) for wrap in (SLOT, *wraps)]
