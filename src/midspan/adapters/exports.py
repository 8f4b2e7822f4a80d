"""Finished runs in the formats of other tools; a format joins with one line."""

from collections.abc import Callable, Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import NamedTuple

from midspan.errors import not_one_of
from midspan.runs.folder import FinishedRun, reading


class Choice(NamedTuple):
    """What of a run is written; empty names take all.

    Attributes:
        model: Of the run, as its tables name it.
        attack: Of the run, as its tables name it.
    """

    model: str = ""
    attack: str = ""


# Writes a run to a path, and yields lines that say what was written and what was left out.
Write = Callable[[FinishedRun, Path, Choice], Iterator[str]]
# Functions as ``module:name``, imported when they are asked for.
FORMATS = {
    "jailbreakbench": "midspan.adapters.jailbreakbench:write",
    "inspect": "midspan.adapters.inspect.export:write",
}


def export(run: str | Path, to: str, output: Path, choice: Choice) -> Iterator[str]:
    """Write a finished run in another tool's format; yields lines that say what became of it.

    Args:
        run: Its folder.
        to: One of `FORMATS`.
        output: A file or a folder, as the format has it.
        choice: What of the run is written.

    Raises:
        MidspanError: There is no such format, the folder is no finished run or is damaged, or the
            format has no place for what it holds.
    """
    if to not in FORMATS:
        raise not_one_of("--to", to, FORMATS)
    finished = FinishedRun.open(run)
    write: Write = resolve_name(FORMATS[to])
    with reading(finished.path):
        yield from write(finished, output, choice)
