"""What a report says, as plain data. This module knows neither HTML nor how a number was made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Outcome = Literal["supported", "refuted", "undecided", "no verdict"]
Tone = Literal["plain", "good", "bad", "muted"]


@dataclass(frozen=True)
class Claim:
    """One claim, what it predicts here, and what was measured.

    ``rule`` is how the outcome was decided, if that was written down before the run. ``short`` is
    the evidence in a few words and ``cases`` the n beside the planned one, for the table.
    """

    text: str
    expected: str
    outcome: Outcome
    evidence: str
    rule: str = ""
    short: str = ""
    cases: str = ""


@dataclass(frozen=True)
class Cell:
    """One table cell; ``note`` is set small beside it, such as ``[2.1, 9.8] n=96``.

    ``generated`` marks text that a model wrote, which a report may have to keep back. ``link`` is
    another page's path, relative to this one.
    """

    text: str
    note: str = ""
    tone: Tone = "plain"
    generated: bool = False
    link: str = ""


@dataclass(frozen=True)
class Table:
    """A table; ``name`` becomes the name of its CSV file (by default made from the title)."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell | str, ...], ...]
    caption: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows, start=1):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.title!r}: row {number} has {len(row)} cells,"
                    f" the header has {len(self.columns)}"
                )


@dataclass(frozen=True)
class Figure:
    """A figure; ``svg`` is trusted markup and comes from ``midspan.report.figures``."""

    title: str
    svg: str
    caption: str
    name: str
    csv: str = ""


class Commit(NamedTuple):
    """A word that came to stand on the canvas; a position may be committed more than once.

    Steps count from 0; step -1 is an anchor. ``is_end`` marks end-of-text tokens.
    """

    position: int
    step: int
    confidence: float
    word: str
    is_end: bool = False


@dataclass(frozen=True)
class Lane:
    """How one model filled its canvas of ``length`` positions; ``verdict`` quotes no response."""

    model: str
    length: int
    commits: tuple[Commit, ...]
    verdict: str
    text: str

    def __post_init__(self) -> None:
        if any(not 0 <= commit.position < self.length for commit in self.commits):
            raise ValueError(f"lane {self.model!r}: a commit lies outside the canvas")


@dataclass(frozen=True)
class Player:
    """Several models that decode the same prompt, side by side; ``reading`` explains verdicts."""

    title: str
    prompt: str
    decoding: str
    lanes: tuple[Lane, ...]
    reading: str = ""


class Turn(NamedTuple):
    """One message of a transcript; ``generated`` marks text that a model wrote."""

    role: str
    text: str
    generated: bool = False


@dataclass(frozen=True)
class Transcript:
    """One attempt of an attack: what was asked, what came back, and what was made of it."""

    attack: str
    model: str
    behavior: str
    outcome: str
    detail: str
    turns: tuple[Turn, ...]
    tone: Tone = "plain"


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs (separated by a blank line), then tables and figures."""

    title: str
    text: str
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True)
class Number:
    """One number that stands for the whole, with what must stand beside it."""

    label: str
    value: str
    note: str
    tone: Tone = "plain"


class Verdict(NamedTuple):
    """The answer in two or three words."""

    text: str
    tone: Tone = "plain"


MOST_NUMBERS = 3  # of a first screen


@dataclass(frozen=True)
class Headline:
    """The first screen: the answer in one sentence, three numbers and one figure.

    Attributes:
        numbers: What stands for the whole.
        figure: The one that shows it.
        text: How to read them.
        sentence: Model, what was tried, worst case and n, so that it can be quoted alone.
        verdict: The answer's word; None where nothing was to be decided.
    """

    numbers: tuple[Number, ...]
    figure: Figure | None = None
    text: str = ""
    sentence: str = ""
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Report:
    """Everything on the page, in its order.

    ``settings`` holds configuration, hardware, versions and seeds; its ``command`` is printed as
    the line that reproduces the report. ``redact`` keeps what models wrote out of every file;
    without it, ``fold`` hides it until the reader opens it. ``headline`` stands before all else.
    ``preliminary`` says why nothing on the page is a result, such as a smoke run.
    """

    title: str
    subtitle: str
    claims: tuple[Claim, ...] = ()
    sections: tuple[Section, ...] = ()
    players: tuple[Player, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    redact: bool = True
    fold: bool = False
    headline: Headline | None = None
    transcripts: tuple[Transcript, ...] = ()
    preliminary: str = ""
