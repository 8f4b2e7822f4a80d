"""What a task is: items, a prompt of each, and a verdict on what a model says. Decodes nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from midspan.errors import MidspanError
from midspan.frozen import FrozenConfig

if TYPE_CHECKING:
    from midspan.data.behaviors import Behavior
    from midspan.decoding import DecodingConfig
    from midspan.engine.calls import Reply
    from midspan.engine.roles import Role

Message = Mapping[str, str]
Verdict = dict[str, Any]


class Preset(FrozenConfig):
    """Everything that moves a score beside the model; printed with every score.

    Attributes:
        name: "llada" (the authors' OpenCompass settings for Instruct), "lm-eval" (that harness's
            prompts and filters, version 0.4.13), or a task's own.
        prompt: The prompt's format, in words.
        shots: Worked examples before each question.
        length: Tokens of the canvas; 0 where answers are scored by likelihood.
        block_length: Tokens of a block.
        steps: Steps over the whole canvas.
        eos_policy: What becomes of end tokens; see `DecodingConfig`.
        until: Texts that end a response; all from the first of them on is cut.
        samples: Responses to each item, with seeds of their own.
        temperature: 0 takes the likeliest token.
        draws: Monte-Carlo draws of a likelihood of several tokens.
    """

    name: str
    prompt: str
    shots: int = Field(0, ge=0)
    length: int = Field(0, ge=0)
    block_length: int | None = None
    steps: int = Field(0, ge=0)
    eos_policy: str = "model"
    until: tuple[str, ...] = ()
    samples: int = Field(1, ge=1)
    temperature: float = Field(0.0, ge=0)
    draws: int = Field(128, ge=1)

    @property
    def by_likelihood(self) -> bool:
        """Whether options are scored instead of generated."""
        return self.length == 0

    def decoding(self, lm: Any, overrides: Mapping[str, Any] | None = None) -> "DecodingConfig":
        """The decoding of this preset for a model; families with a sampler of their own keep it.

        Args:
            lm: A `DiffusionLM` or a `Family`.
            overrides: Fields of a `DecodingConfig` that go before the preset's.
        """
        from midspan.decoding import decoding_config

        family = getattr(lm, "family", lm)
        fields: dict[str, Any] = {
            "length": self.length,
            "steps": self.steps,
            "eos_policy": self.eos_policy,
            "temperature": self.temperature,
        }
        sampler = {**family.decoding_defaults, **(overrides or {})}.get("sampler", "llada")
        if sampler == "llada":
            fields["block_length"] = self.block_length
        return decoding_config(lm, **fields | dict(overrides or {}))


class AsServed(Preset):
    """A preset whose fields of decoding do not count: what the caller leaves open is the family's.

    So the task is decoded as attacks decode their target.
    """

    def decoding(self, lm: Any, overrides: Mapping[str, Any] | None = None) -> "DecodingConfig":
        """The family's decoding under the caller's fields."""
        from midspan.decoding import decoding_config

        return decoding_config(lm, **dict(overrides or {}))


@dataclass(frozen=True)
class Item:
    """One question.

    Attributes:
        id: Unique within its task.
        fields: What the task knows of it.
        group: The part of the task that it belongs to, such as a subject.
    """

    id: str
    fields: Mapping[str, Any]
    group: str = ""


@dataclass(frozen=True)
class Prompt:
    """What the model reads.

    Attributes:
        messages: A conversation; without `chat`, one message that is given as plain text.
        prefix: The beginning of the response.
        chat: Whether the model's chat format is put around the messages.
    """

    messages: tuple[Message, ...]
    prefix: str = ""
    chat: bool = True


@dataclass(frozen=True)
class Measure:
    """A figure of a task: the share of responses with a true field in their verdict.

    A field that is None is not known, as where a judge's answer cannot be read.

    Attributes:
        name: Row of the table.
        field: Key of the verdict.
        group: Only items of this group; None for all.
        by_group: Report the mean of the groups' shares as well.
    """

    name: str
    field: str = "success"
    group: str | None = None
    by_group: bool = False

    def counts(self, record: Mapping[str, Any]) -> bool:
        """Whether a record is of its group."""
        return self.group in (None, record["group"])

    def of(self, record: Mapping[str, Any]) -> bool | None:
        """Whether a record has it; None where that is not known, as without a verdict."""
        outcome = record["verdict"].get(self.field)
        return None if outcome is None else bool(outcome)


@dataclass(frozen=True)
class Judged:
    """A judge whose verdicts make a task's score.

    Attributes:
        name: As tables state it.
        open: Gives the judge, the same one each time.
        request: What an item asks for, as the judge reads it.
        score: The verdict's fields, from an item, its response and what the judge said. Where it
            said nothing they are "failure" and "reason" alone.
    """

    name: str
    open: Callable[[], "Role"]
    request: Callable[[Item], "Behavior"]
    score: Callable[[Item, str, "Reply"], Verdict]


@dataclass(frozen=True)
class Task:
    """Items under a preset.

    Attributes:
        name: What users call it.
        preset: Settings.
        items: In the published order.
        prompt: The prompt of an item with its first so many shots.
        score: The verdict on a response, or on the index of the likeliest option.
        measures: Its figures; the first is the headline.
        options: For likelihood: the answers among which the model chooses.
        source: Where the items came from, their count and hash.
        costly: Whether verdicts are worth a place in the journal.
        judged: Scores instead of `score`.
        judged_by: Who scores, where that is a choice; stated with every score.
    """

    name: str
    preset: Preset
    items: tuple[Item, ...]
    prompt: Callable[[Item, int], Prompt]
    score: Callable[[Item, str], Verdict]
    measures: tuple[Measure, ...] = (Measure("accuracy"),)
    options: Callable[[Item], tuple[str, ...]] | None = None
    source: str = ""
    costly: bool = False
    judged: Judged | None = None
    judged_by: str = ""

    def __post_init__(self) -> None:
        if not self.items:
            raise MidspanError(f"{self.name}: no items")

    @property
    def title(self) -> str:
        """Name and preset."""
        return f"{self.name} ({self.preset.name})"


def user(text: str) -> Message:
    """A user's message."""
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    """An assistant's message."""
    return {"role": "assistant", "content": text}


def system(text: str) -> Message:
    """A system message."""
    return {"role": "system", "content": text}


def cut(text: str, until: tuple[str, ...]) -> str:
    """The text before the first of several stops, wherever it stands, be it at the very end."""
    ends = [start for stop in until if stop and (start := text.find(stop)) >= 0]
    return text[: min(ends, default=len(text))]


def preset_of(presets: Mapping[str, Preset], task: str, name: str) -> Preset:
    """A task's preset by name.

    Raises:
        MidspanError: Naming those that there are.
    """
    if name not in presets:
        raise MidspanError(f"--preset: {task} has {', '.join(presets)}, not {name!r}")
    return presets[name]
