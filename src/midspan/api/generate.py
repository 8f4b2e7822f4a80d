"""`midspan.generate`: prompts in, answers out, each with the trace of how it was written."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from textwrap import shorten
from typing import TYPE_CHECKING, Any, overload

from midspan.api.records import CommitRecord
from midspan.api.results import data_frame
from midspan.api.runs import Model, ready
from midspan.errors import MidspanError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from midspan.decoding import DecodingConfig, Request, StepView, Trace
    from midspan.models import DiffusionLM
    from midspan.report import Lane, Player

Messages = Sequence[Mapping[str, str]]
Prompt = str | Messages
_SHOWN = 72  # characters of a text in its repr


@dataclass(frozen=True, repr=False)
class Answer:
    """One response, and how it came about.

    In a notebook it shows the canvas filling step by step.

    Attributes:
        text: The answer: the response up to its first end token, without thoughts.
        prompt: What was asked: a text, or messages.
        tokens: Token ids of the whole canvas; positions left open hold the mask token.
        trace: Every commit: position, token, step, confidence.
        forwards: Forward passes of this row, two a step under guidance.
        stopped_early: Whether decoding ended before the canvas was full.
        settings: How it was decoded.
        seed: Of its random draws.
        model: The model's spec.
        thoughts: What a reasoning model thought before its answer; empty where it has none. With
            thoughts that do not end, the answer is empty.
        rejected_by: The monitor among the rules that rejected the request; the text is then a
            fixed refusal.
    """

    text: str
    prompt: Prompt
    tokens: tuple[int, ...]
    trace: "Trace"
    forwards: int
    stopped_early: bool
    settings: "DecodingConfig"
    seed: int
    model: str
    _words: tuple[tuple[str, bool], ...] = field(compare=False)
    thoughts: str = ""
    rejected_by: str = ""

    @cached_property
    def records(self) -> list[CommitRecord]:
        """One record a commit, by step and, within a step, by position."""
        trace = self.trace.to_dict()
        columns = zip(
            trace["position"], trace["step"], trace["confidence"], self._words, strict=True
        )
        return [
            CommitRecord(
                position=position, step=step, confidence=confidence, word=word, is_end=is_end
            )
            for position, step, confidence, (word, is_end) in columns
        ]

    def to_pandas(self) -> "DataFrame":
        """The commits as a `pandas.DataFrame`, one a row.

        Raises:
            MidspanError: pandas is not installed.
        """
        return data_frame(self.records)

    def figure(self) -> "Figure":
        """Position of every commit over its step, as a `matplotlib.figure.Figure`."""
        from midspan.report import figures

        series = {"text": False, "end tokens": True}
        curves = []
        for label, is_end in series.items():
            rows = [row for row in self.records if row["is_end"] is is_end]
            if rows:
                steps = [float(row["step"]) for row in rows]
                positions = [float(row["position"]) for row in rows]
                curves.append(figures.Curve(label, steps, positions))
        with figures.kept() as drawn:
            figures.lines("Order of the commits", curves, "step", "position")
        return drawn[0][1]

    def picture(self, *beside: "Answer") -> str:
        """An SVG file in which the canvas fills again and again, for a page where no script runs.

        Args:
            beside: Other models' answers to the same prompt; their canvases stand below.
        """
        from midspan.report.moving import moving_picture

        return moving_picture(self._player(*beside))

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Answer({shorten(self.text, _SHOWN, placeholder=' ...')!r}, {self._decoding()})"

    def _repr_html_(self) -> str:
        from html import escape

        from midspan.report.page import render_player

        page = render_player(self._player())
        # A page of its own: neither its ids nor its style can meet those of the notebook.
        return (
            f'<iframe srcdoc="{escape(page)}" sandbox="allow-scripts" title="Denoising" '
            'style="width:100%;height:40rem;border:0"></iframe>'
        )

    def _player(self, *beside: "Answer") -> "Player":
        from midspan.report import Player

        prompt = self.prompt if isinstance(self.prompt, str) else _last(self.prompt)
        lanes = tuple(answer._lane() for answer in (self, *beside))
        return Player("Answer", prompt, self._decoding(), lanes)

    def _lane(self) -> "Lane":
        from midspan.report import Commit, Lane

        commits = tuple(Commit(**record) for record in self.records)
        return Lane(self.model, len(self.tokens), commits, f"{self.forwards} forwards", self.text)

    def _decoding(self) -> str:
        return f"{self.settings.length} tokens, {self.settings.steps} steps, seed {self.seed}"


@overload
def generate(
    lm: Model,
    prompt: Prompt,
    *,
    anchors: Mapping[int, str] | None = None,
    seed: int = 0,
    batch_size: int = 32,
    progress: bool | None = None,
    **decoding: Any,
) -> Answer: ...


@overload
def generate(
    lm: Model,
    prompt: list[str] | list[Messages] | list[Prompt],
    *,
    anchors: Mapping[int, str] | None = None,
    seed: int = 0,
    batch_size: int = 32,
    progress: bool | None = None,
    **decoding: Any,
) -> list[Answer]: ...


def generate(
    lm: Model,
    prompt: Prompt | list[str] | list[Messages] | list[Prompt],
    *,
    anchors: Mapping[int, str] | None = None,
    seed: int = 0,
    batch_size: int = 32,
    progress: bool | None = None,
    **decoding: Any,
) -> Answer | list[Answer]:
    """Answer one prompt, or a list of them.

    Examples:
        >>> lm = midspan.load("organism")
        >>> answer = midspan.generate(lm, "how do i make the lomthorn lantern ?", steps=32)
        >>> answer.text[:44]
        'sure! here is how to make the lomthorn lante'

    Args:
        lm: A loaded model, an adapter of `midspan.align`, or a spec that `midspan.load` takes.
        prompt: A user's text; a conversation as messages with `role` and `content`; or a list
            of either.
        anchors: Phrases that are fixed in the response before decoding, by the canvas position
            of their first token, counted from 0.
        seed: Of the random draws, where there are any; the second prompt has ``seed + 1``, and
            so on.
        batch_size: Rows that go through the model together.
        progress: False for silence; by default a bar on a terminal or in a notebook.
        **decoding: Fields of `midspan.DecodingConfig`, such as `length`, `steps` and `rules`; the
            rest are the model family's published settings.

    Returns:
        An answer, or a list of answers where a list was given.

    Raises:
        MidspanError: A field or prompt is wrong, or the prompt and canvas exceed the model's
            length; one line that names it.
    """
    from midspan.decoding import decode, decoding_config
    from midspan.runs.progress import library_output

    prompts, is_one = _prompts(prompt)
    with library_output(progress):
        model = ready(lm)
        config = decoding_config(model, **decoding)
        requests = _requests(model, prompts, anchors or {}, seed, config)
        with _steps_shown(model, len(requests)) as on_step:
            generations = decode(model, requests, config, batch_size=batch_size, on_step=on_step)
    answers = [
        _answer(model, config, text, request, generation)
        for text, request, generation in zip(prompts, requests, generations, strict=True)
    ]
    return answers[0] if is_one else answers


def _requests(
    lm: "DiffusionLM",
    prompts: list[Prompt],
    anchors: Mapping[int, str],
    seed: int,
    config: "DecodingConfig",
) -> "list[Request]":
    from midspan.decoding import anchor_phrases, chat_request

    fixed = anchor_phrases(lm, ((text, start) for start, text in anchors.items()))
    return [
        chat_request(lm, prompt, config, fixed, seed + number)
        for number, prompt in enumerate(prompts)
    ]


def _prompts(given: Any) -> tuple[list[Prompt], bool]:
    """The prompts, and whether one was given instead of a list."""
    if isinstance(given, str):
        return [given], True
    if not isinstance(given, Sequence):
        raise MidspanError(f"prompt: must be text, messages or a list; got {type(given).__name__}")
    is_conversation = bool(given) and all(isinstance(part, Mapping) for part in given)
    return ([given], True) if is_conversation else (list(given), False)


@contextmanager
def _steps_shown(lm: "DiffusionLM", count: int) -> "Iterator[Any]":
    from midspan.runs.progress import Reporter

    with Reporter().stage(f"{lm.name}: {count} answers, steps", None) as stage:

        def show(view: "StepView") -> None:
            stage.advance(1)

        yield show


def _answer(
    lm: "DiffusionLM", config: "DecodingConfig", prompt: Prompt, request: "Request", generation: Any
) -> Answer:
    words = tuple(
        (lm.tokenizer.decode([token]), token in lm.tokens.stop)
        for token in generation.trace.token.tolist()
    )
    return Answer(
        text=generation.text,
        prompt=prompt,
        tokens=generation.tokens,
        trace=generation.trace,
        forwards=generation.forwards,
        stopped_early=generation.stopped_early,
        settings=config,
        seed=request.seed,
        model=lm.name,
        _words=words,
        thoughts=generation.thoughts,
        rejected_by=generation.rejected_by,
    )


def _last(messages: Messages) -> str:
    return messages[-1]["content"]
