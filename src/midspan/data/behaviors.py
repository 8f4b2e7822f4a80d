"""Requests to attack with, to align on, or to keep answering. Files are not known here."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Answers = Literal["whole", "openings"]


@dataclass(frozen=True)
class Behavior:
    """One request.

    Attributes:
        id: Unique in its set; the authors' name for it, or else a hash of the request.
        text: The request as its authors wrote it.
        context: What the request is about, when it is not in it (HarmBench).
        category: The authors' kind of harm.
        source: Name of the set or file.
        answer: An answer that the data has; its set says whether whole or its start.
        opening: How a response that fulfils it begins, where the data say so (AdvBench,
            JailbreakBench); attacks work towards it.
    """

    id: str
    text: str
    context: str = ""
    category: str = ""
    source: str = ""
    answer: str | None = None
    opening: str = ""

    @property
    def prompt(self) -> str:
        """What a model is asked: a context comes first, as HarmBench's own pipeline joins it."""
        return f"{self.context}\n\n---\n\n{self.text}" if self.context else self.text


@dataclass(frozen=True)
class Example:
    """A prompt and the answer that the data gives, if any."""

    prompt: str
    answer: str | None


@dataclass(frozen=True)
class Mentioning(Example):
    """A harmless prompt that mentions a harmful request, and its answer.

    Attributes:
        withheld: The answer to what is mentioned, which is not to be had beside this prompt.
    """

    withheld: str


@dataclass(frozen=True)
class BehaviorSet:
    """Behaviors, and what is needed to have the same ones again.

    Attributes:
        name: As it was asked for.
        behaviors: In the order of the file.
        sha256: `content_hash` of these behaviors.
        licence: Of the texts; "unknown" for a file of one's own.
        source: Page or file they come from.
        left_out: How many rows were not taken, and why; one line a reason.
        answers: What the answers are, where there are any.
    """

    name: str
    behaviors: tuple[Behavior, ...]
    sha256: str
    licence: str
    source: str
    left_out: tuple[str, ...] = ()
    answers: Answers = "whole"

    def __len__(self) -> int:
        return len(self.behaviors)

    def __iter__(self) -> Iterator[Behavior]:
        return iter(self.behaviors)

    def prompts(self) -> tuple[str, ...]:
        """Every different prompt, in order: a set with several answers to each repeats them."""
        return tuple(dict.fromkeys(behavior.prompt for behavior in self))

    def examples(self) -> tuple[Example, ...]:
        """Prompts with their answers, row by row."""
        return tuple(Example(behavior.prompt, behavior.answer) for behavior in self)

    def summary(self) -> str:
        """One line that says what this is, without any of its text."""
        parts = [f"{len(self)} behaviors", f"sha256 {self.sha256[:16]}", self.licence, self.source]
        return f"{self.name}: {', '.join([*parts, *self.left_out])}"


def content_hash(behaviors: Iterable[Behavior]) -> str:
    """A SHA-256 of requests and contexts; order, ids, answers and file format do not matter."""
    lines = (json.dumps([behavior.text, behavior.context]) for behavior in behaviors)
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
