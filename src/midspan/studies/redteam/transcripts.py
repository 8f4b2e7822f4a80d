"""The attempts that a page shows: of each attack on a behavior the one that decided it."""

from collections.abc import Iterator, Sequence
from typing import Any

from midspan.engine.outcomes import Outcome, deciding, won
from midspan.files import Record
from midspan.report import Transcript, Turn
from midspan.report.model import Tone

# A page of thousands would be slow to open; what was won comes first.
MOST_SHOWN = 400
_TONES: dict[bool | None, Tone] = {True: "bad", False: "good", None: "muted"}


def transcripts_of(records: Sequence[Record], judge: str) -> tuple[Transcript, ...]:
    """The deciding attempts, those first that won; records without an attempt have none."""
    ordered = sorted(
        enumerate(records, start=1), key=lambda pair: pair[1]["outcome"][judge] != Outcome.WON
    )
    made = (_transcript(record, number, judge) for number, record in ordered if record["attempts"])
    return tuple(one for one, _ in zip(made, range(MOST_SHOWN), strict=False))


def _transcript(record: Record, number: int, judge: str) -> Transcript:
    attempts = record["attempts"]
    index = deciding(record, judge)
    attempt = attempts[index]
    place = f"Attempt {index + 1} of {len(attempts)}; line {number} of records.jsonl."
    return Transcript(
        attack=record["attack_label"],
        model=record["model"],
        behavior=record["behavior"],
        outcome=record["outcome"][judge],
        detail=f"{place} {judge}: {_verdict(attempt['verdicts'][judge])}",
        turns=tuple(_turns(record, attempt)),
        tone=_TONES[won(record, judge)],
    )


def _turns(record: Record, attempt: Record) -> Iterator[Turn]:
    """What was asked word for word is no model's text; everything else may be."""
    for message in attempt["messages"]:
        text = _text(message["content"])
        yield Turn(message["role"], text, generated=text != record["request"])
    fixed = [f"{text} (at {position})" for text, position in attempt.get("anchors", ())]
    if fixed:
        yield Turn("fixed on the canvas", "\n".join(fixed), generated=True)
    yield Turn("response", attempt["response"], generated=True)


def _text(content: Any) -> str:
    return content if isinstance(content, str) else str(content)


def _verdict(verdict: Record) -> str:
    if "failure" in verdict:
        return str(verdict["reason"])
    parts = [f"score {verdict['score']}" if verdict.get("score") is not None else ""]
    parts.append(str(verdict.get("detail", "")))
    return ", ".join(filter(None, parts))
