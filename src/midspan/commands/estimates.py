"""How long commands take: what was measured on the organism, and what a dry run finds here."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import typer

from midspan.commands.ends import Call, given_words

if TYPE_CHECKING:
    from midspan.studies.paper.part_forecasts import Forecast

# Minutes on two idle cores, by the words that a command has; the documentation says the same.
MINUTES = {
    "demo": 5,
    "demo --smoke": 1,
    "demo --full": 20,
    "study --preset demo": 5,
    "study --preset demo-smoke": 1,
    "study --preset demo-full": 20,
    "study --preset organism": 30,
    "study --preset organism-redteam": 8,
    "study --preset organism-weights": 10,
    "study --preset objectives": 70,
    "study --preset recovery-alignment": 40,
    "study --preset pieces": 40,
    "study --preset samplers": 90,
    "study --preset ablations": 240,
    "align organism": 2,
    "audit organism": 5,
    "audit organism:psa": 5,
    "organism train": 25,
}

# Options by which a command takes another time.
_SIZED = frozenset({"--tier", "--num-prompts", "--steps", "--second", "--config", "--part",
                    "--defence", "--behaviors"})  # fmt: skip


def minutes(words: Sequence[str]) -> int | None:
    """What a command took on two idle cores; None where it was not measured.

    Args:
        words: Of the command, behind ``midspan``.
    """
    found = [name for name in MINUTES if _is_of(words, *name.split())]
    return MINUTES[max(found, key=len)] if found and not set(words) & _SIZED else None


def _is_of(words: Sequence[str], command: str, *rest: str) -> bool:
    """Whether words are a command's; what is no option stands at once behind its name."""
    behind = [command] if not rest or rest[0].startswith("-") else [command, rest[0]]
    return list(words[: len(behind)]) == behind and set(rest) <= set(words)


def on_two_cores(*words: str) -> str:
    """The same as people say it; empty where it was not measured."""
    known = minutes(words)
    return f"about {known} min on two idle cores" if known else ""


def dry_run(
    what: str, estimate: "Callable[[], list[Forecast]]", note: str = "", width: int = 1
) -> None:
    """Print what a command would take, and say which one runs it.

    Args:
        what: Of the first line.
        estimate: Measures rates, and returns rows.
        note: What else is to be known of the table.
        width: Processes at a time.
    """
    from midspan.report.tables import table_text
    from midspan.studies.paper.forecast import forecast_table

    call = Call(f"Estimates {what}, and runs none of it", "measures rates here first")
    rows = estimate()
    table = forecast_table(rows)
    typer.echo(f"{table_text(table)}\n\n{table.caption} {note}".rstrip())
    if width > 1 and len(rows) > 1:
        hours = max(sum(row.hours for row in rows) / width, max(row.hours for row in rows))
        typer.echo(f"With {width} processes at a time: {hours:.2f} hours at best.")
    words = given_words("--dry-run")
    known = on_two_cores(*words[1:])
    measured = f" Measured: {known}." if known else ""
    call.end(f"Nothing was run.{measured}", *words)
