"""Prompt templates of published graders, in which names in braces stand for what is graded."""

import re
from string import Formatter

from midspan.data.behaviors import Behavior
from midspan.errors import MidspanError

# As StrongREJECT, PAIR and HarmBench call them.
_REQUEST = ("forbidden_prompt", "prompt", "behavior", "goal", "attack_prompt")
_RESPONSE = ("response", "target_response", "generation")
_NAMES = (*_REQUEST, *_RESPONSE, "context")


def check_template(template: str, where: str, response: bool = True) -> str:
    """The template itself, if it can be filled.

    Args:
        template: Names in braces; braces that are meant as such are doubled.
        where: First in the message.
        response: Whether the response must be among them; a system turn may go without.

    Raises:
        MidspanError: A placeholder is unknown, or that of the response missing.
    """
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise MidspanError(f"{where}: {error}; double braces that are no placeholder") from error
    used = [name for _, name, form, conversion in parts if name is not None]
    plain = all(not form and not conversion for _, _, form, conversion in parts)
    if unknown := [name for name in used if name not in _NAMES]:
        raise MidspanError(
            f"{where}: {{{unknown[0]}}} is no placeholder ({', '.join(_NAMES)}); double braces "
            "that are meant as such"
        )
    if not plain:
        raise MidspanError(f"{where}: placeholders are names alone, such as {{response}}")
    if response and not set(used) & set(_RESPONSE):
        raise MidspanError(f"{where}: one of {', '.join(_RESPONSE)} must stand in braces")
    return template


def fill_template(template: str, behavior: Behavior, response: str) -> str:
    """A checked template about a response.

    Where it has no place for a context, this stands before the request, as the target had it.
    """
    apart = any(name == "context" for _, name, _, _ in Formatter().parse(template))
    request = behavior.text if apart else behavior.prompt
    values = dict.fromkeys(_REQUEST, request) | dict.fromkeys(_RESPONSE, response)
    return template.format(**values, context=behavior.context)


def card_template(card: str, name: str) -> str | None:
    """A template of HarmBench's model card, which holds them as Python's texts, by its name."""
    found = re.search(rf"\"{name}\":\s*'''(.*?)'''", card, re.DOTALL)
    return found[1] if found else None
