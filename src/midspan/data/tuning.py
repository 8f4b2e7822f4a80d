"""Examples that somebody who has the weights fine-tunes on: requests with whole answers.

None are shipped but the organisms'. Sources by name are functions that are named, not imported:
this room knows no model.
"""

from importlib import import_module
from pathlib import Path
from typing import Literal, NamedTuple

from midspan.data.loading import load_behaviors
from midspan.errors import MidspanError

Kind = Literal["harmful", "benign"]

_SOURCES = {
    "organism": "midspan.organism.tuning:examples",
    "organism2": "midspan.organism.second.tuning:examples",
}


class TuningExample(NamedTuple):
    """A request, its answer, and the one thing that both are about, where the source says so."""

    request: str
    answer: str
    topic: str = ""


def tuning_examples(source: str, kind: Kind) -> tuple[TuningExample, ...]:
    """Examples of a kind from a source by name, or from anything that `load_behaviors` reads.

    Args:
        source: "organism", "organism2", or a file with a request and an answer a row.
        kind: Of rows that are marked safe or unsafe, which to take; unmarked ones are taken.

    Raises:
        MidspanError: Nothing is named, nothing of this kind is there, or answers are missing.
    """
    if not source:
        raise MidspanError("examples: name a file with a request and an answer a row")
    if source in _SOURCES and not Path(source).is_file():
        module, _, function = _SOURCES[source].partition(":")
        found: tuple[TuningExample, ...] = getattr(import_module(module), function)(kind)
        return found
    rows = load_behaviors(source, keep=kind)
    missing = sum(not row.answer for row in rows)
    if missing or rows.answers == "openings":
        what = f"{missing} of {len(rows)} rows have none" if missing else "it has openings alone"
        raise MidspanError(f"examples: {source} must have a whole answer to each request: {what}")
    return tuple(TuningExample(row.prompt, row.answer or "") for row in rows)
