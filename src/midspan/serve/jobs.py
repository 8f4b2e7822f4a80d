"""One request on its way through the server, and what its client is told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from midspan.decoding import Generation, Hook
from midspan.decoding.chat import folded, unfolded
from midspan.models import DiffusionLM
from midspan.serve.answers import Choice, choice_of
from midspan.serve.errors import ApiError
from midspan.serve.prepare import Prepared
from midspan.serve.progress import Frames, Text, may_be_taken_back
from midspan.serve.wire import ChatRequest, CompletionRequest


@dataclass(frozen=True)
class Began:
    """The first row has a place, or all was answered at once."""


@dataclass(frozen=True)
class Piece:
    """A step's news of one choice.

    Attributes:
        choice: Its number.
        text: What is added to its text.
        frame: What the step did, where frames were asked for.
    """

    choice: int
    text: str
    frame: dict[str, Any] | None = None


@dataclass(frozen=True)
class Finished:
    """A choice is whole.

    Attributes:
        choice: Its number.
        text: What is added to its text.
        answer: The choice.
    """

    choice: int
    text: str
    answer: Choice


@dataclass(frozen=True)
class Done:
    """All choices are whole.

    Attributes:
        choices: They.
        prepared: What the request came to.
        prompt_tokens: Tokens of all prompts.
    """

    choices: tuple[Choice, ...]
    prepared: Prepared
    prompt_tokens: int


@dataclass(frozen=True)
class Failed:
    """There will be no answer.

    Attributes:
        error: Why.
    """

    error: ApiError


Event: TypeAlias = Began | Piece | Finished | Done | Failed


@dataclass(eq=False)
class Job:
    """A request.

    Attributes:
        id: Its id.
        client: Who asks.
        asked: What is asked.
        lm: The model.
        deadline: When its time is over, on the monotonic clock.
        tell: Takes events, from the worker's thread.
        arrived: When it came, on the monotonic clock.
    """

    id: str
    client: str
    asked: ChatRequest | CompletionRequest
    lm: DiffusionLM
    deadline: float
    tell: Callable[[Event], None]
    arrived: float


@dataclass(frozen=True)
class Place:
    """Which canvas of a job a row is.

    Attributes:
        job: The job.
        choice: The answer that it is for.
        copy: Which of the prompts that are answered in one's place.
    """

    job: "Running"
    choice: int
    copy: int


@dataclass(eq=False)
class Running:
    """A job that was prepared, and what is known of its answers.

    Attributes:
        job: The job.
        prepared: What it came to.
        hooks: Its rules at work, for a batch that is begun for it.
        rows: Its rows that are not done, by number.
        has_begun: Whether one of them has had a place.
    """

    job: Job
    prepared: Prepared
    hooks: Sequence[Hook]
    rows: set[int] = field(default_factory=set)
    has_begun: bool = False
    texts: list[Text] = field(default_factory=list)
    frames: list[Frames] = field(default_factory=list)
    _choices: dict[int, Choice] = field(default_factory=dict)
    _copies: dict[int, dict[int, Generation]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Prepare what is told while the canvases fill."""
        job, config = self.job, self.prepared.config
        for number, request in enumerate(self.prepared.requests):
            held = may_be_taken_back(config) or request.copies is not None
            text = Text(job.lm, request, self.prepared.limit, job.asked.stops, held)
            self.texts.append(text)
            self.frames.append(Frames(job.lm, number))
            self._copies[number] = {}

    @property
    def is_streamed(self) -> bool:
        """Whether the client is told of every step."""
        return bool(self.job.asked.stream)

    @property
    def has_frames(self) -> bool:
        """Whether every step is an event."""
        return self.job.asked.midspan.frames

    @property
    def prompt_tokens(self) -> int:
        """Of all prompts, each counted once whatever its choices."""
        choices = self.job.asked.n or 1
        return sum(len(request.prompt_ids) for request in self.prepared.requests[::choices])

    def is_watched(self, choice: int) -> bool:
        """Whether steps matter before the canvas is done."""
        if self.has_frames:
            return self.prepared.requests[choice].copies is None
        told = self.is_streamed or bool(self.job.asked.stops)
        return told and not self.texts[choice].is_held

    def take(self, choice: int, copy: int, generation: Generation) -> None:
        """Take in one filled canvas."""
        self._copies[choice][copy] = generation
        request = self.prepared.requests[choice]
        if len(self._copies[choice]) == len(unfolded([request])):
            self.complete(choice)

    def complete(self, choice: int) -> None:
        """Make an answer of its canvases, and tell the client."""
        lm, prepared = self.job.lm, self.prepared
        request, parts = prepared.requests[choice], self._copies[choice]
        decoded = [parts[copy] for copy in sorted(parts)]
        (generation,) = folded(lm, [request], prepared.config.length, decoded)
        answer = choice_of(lm, request, generation, prepared.limit, self.job.asked.stops)
        self._choices[choice] = answer
        self.job.tell(Finished(choice, self.texts[choice].finish(answer.text), answer))
        if len(self._choices) == len(prepared.requests):
            choices = tuple(self._choices[number] for number in range(len(prepared.requests)))
            self.job.tell(Done(choices, prepared, self.prompt_tokens))
