"""What a model wrote, read as it was asked for: JSON objects and marks in [[ ]], thoughts apart.

Lenient about how it is written: models break lines inside strings, leave backslashes as they are,
talk around their answer and think aloud before it. Strict about what is said: what can be read in
two ways is a `ValueError`, never the likelier of the two.
"""

import json
import re
from bisect import bisect
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from midspan.data.text import whole_text

_ESCAPE_OR_STRAY = re.compile(r'(\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))|\\')
# A brace where an object begins, or (no group) was meant to; other braces belong to prose.
_BEGINNING = re.compile(r"""\{\s*(?:(["}])|'|\w+\s*:)""")
_TAG = re.compile(r"<(/?)(?:think|thinking|thought|thoughts|reasoning)>|\[(/?)THINK\]", re.I)
_MARK = re.compile(r"\[\[([^\[\]]*)\]\]")


class _Found(NamedTuple):
    """An object and its place in the text."""

    start: int
    end: int
    value: dict[str, Any]


def spoken(text: str) -> str:
    """A text without thoughts: what follows the last closing tag, up to one that never closes."""
    start, end = _outside_thoughts(text, ())
    return text[start:end]


def read_object(text: str, *names: str) -> dict[str, Any]:
    """The first JSON object of a text that has all names, itself or within another one.

    What comes after it is not looked at: models go on and play the next turns too.

    Raises:
        ValueError: There is none before the first one that is not well-formed.
    """
    objects, fault = _outermost(text)
    for value in objects:
        for inner in _nested(value):
            if all(name in inner for name in names):
                return inner
    raise fault or ValueError(f"no JSON object with {', '.join(names)}")


def read_only_object(text: str) -> dict[str, Any]:
    """The only JSON object of a text.

    Raises:
        ValueError: There is none, a second one, or one that is not well-formed: another one beside
            that may be quoted in it. Or two names of the object differ in case alone.
    """
    objects, fault = _outermost(text)
    if fault is not None:
        raise fault
    objects = [value for value in objects if value]
    if len(objects) != 1:
        raise ValueError(f"wanted one JSON object, got {len(objects)}")
    if len({name.strip().casefold() for name in objects[0]}) < len(objects[0]):
        raise ValueError("names that differ in case alone")
    return objects[0]


def read_mark(text: str) -> str:
    """The one value in [[ ]] of a text; it may stand there several times.

    Raises:
        ValueError: There is none, or there are several.
    """
    marks = {mark.strip() for mark in _MARK.findall(spoken(text))}
    if len(marks) != 1:
        raise ValueError(f"wanted one value in [[ ]], got {len(marks)}")
    return str(marks.pop())


def read_rating(text: str, low: int, high: int) -> int:
    """A whole number in [[ ]], such as ``[[7]]``.

    Raises:
        ValueError: There is no such number, or it is out of range.
    """
    mark = read_mark(text)
    if re.fullmatch("[0-9]+", mark) is None or not low <= int(mark) <= high:
        raise ValueError(f"{mark!r} is not a whole number from {low} to {high}")
    return int(mark)


def unrepeated(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs; for `json`'s `object_pairs_hook`.

    Raises:
        ValueError: A name stands there twice.
    """
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise ValueError(f"{name!r} stands there twice")
        fields[name] = value
    return fields


def _outermost(text: str) -> tuple[list[dict[str, Any]], ValueError | None]:
    """The objects of a text but for those among thoughts, up to the first fault; and the fault."""
    text = _without_leading_thoughts(_ESCAPE_OR_STRAY.sub(_doubled, text))
    found: list[_Found] = []
    fault = None
    try:
        for one in _scan(text):
            found.append(one._replace(value=_whole(one.value)))
    except RecursionError:
        fault = ValueError("JSON nested too deeply")
    except ValueError as error:
        fault = error
    start, end = _outside_thoughts(text, found)
    return [one.value for one in found if start <= one.start < end], fault


def _scan(text: str) -> Iterator[_Found]:
    beginning = _BEGINNING.search(text)
    while beginning is not None:
        if beginning[1] is None:
            raise ValueError("a JSON object without quoted names")
        value, end = _DECODER.raw_decode(text, beginning.start())
        yield _Found(beginning.start(), end, value)
        beginning = _BEGINNING.search(text, end)


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


_DECODER = json.JSONDecoder(strict=False, object_pairs_hook=unrepeated, parse_constant=_no_number)


def _doubled(backslash: re.Match[str]) -> str:
    return backslash[1] or r"\\"


def _without_leading_thoughts(text: str) -> str:
    """Thoughts at the start are cut before braces are looked for: drafts are seldom well-formed."""
    opening = _TAG.match(text.lstrip())
    if opening is None or _closes(opening):
        return text
    closing = next(filter(_closes, _TAG.finditer(text)), None)
    return text[closing.end() :] if closing else ""


def _outside_thoughts(text: str, found: Sequence[_Found]) -> tuple[int, int]:
    """Where thoughts have ended, and where they begin anew; a tag within an object is a part of it.

    Templates often give the opening tag, so that the text has the closing one alone.
    """
    starts = [one.start for one in found]

    def is_inside(tag: re.Match[str]) -> bool:
        before = bisect(starts, tag.start())
        return before > 0 and tag.start() < found[before - 1].end

    tags = [tag for tag in _TAG.finditer(text) if not is_inside(tag)]
    start = next((tag.end() for tag in reversed(tags) if _closes(tag)), 0)
    end = next((tag.start() for tag in tags if tag.start() >= start), len(text))
    return start, end


def _closes(tag: re.Match[str]) -> bool:
    return "/" in tag[0]


def _nested(value: dict[str, Any] | list[Any]) -> Iterator[dict[str, Any]]:
    """The objects of a value, outer ones first."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            yield from _nested(inner)


def _whole(value: Any) -> Any:
    """The same with whole texts: an escape may spell half a character."""
    match value:
        case str():
            return whole_text(value)
        case list():
            return [_whole(inner) for inner in value]
        case dict():
            return unrepeated([(whole_text(name), _whole(inner)) for name, inner in value.items()])
    return value
