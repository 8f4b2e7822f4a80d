"""The samples probe's section: a table of responses, and the denoising player."""

from collections.abc import Sequence

from midspan.files import Record
from midspan.probes.context import grouped
from midspan.probes.samples import SamplesConfig
from midspan.report import Cell, Commit, Lane, Player, Section, Table


def samples_section(records: Sequence[Record], config: SamplesConfig) -> Section:
    """What became of every response."""
    rows = tuple(
        (
            row["model"], row["decoding"], row["request_kind"], row["prompt"], row["phrase"] or "-",
            "-" if row["start"] is None else str(row["start"]), outcome(row),
            Cell(row["response"], generated=True),
        )
        for row in records
    )  # fmt: skip
    columns = (
        "model", "decoding", "requests", "prompt", "phrase", "at", "judged", "response",
    )  # fmt: skip
    return Section(
        "Single responses",
        "A few requests on every model, to be watched in the player. They prove nothing.",
        tables=(Table("Responses", columns, rows, name="responses"),),
    )


def sample_players(records: Sequence[Record]) -> tuple[Player, ...]:
    """Models side by side on the same canvas."""
    return tuple(
        Player(
            f"A {rows[0]['request_kind']} request" + (f", a phrase at {start}" if phrase else ""),
            rows[0]["prompt"],
            decoding,
            tuple(_lane(row) for row in rows),
        )
        for (_, phrase, start, decoding), rows in grouped(
            records, "id", "phrase", "start", "decoding"
        ).items()
    )


def outcome(row: Record) -> str:
    """The judge's word."""
    return "answered" if row["success"] else "refused" if row["refusal"] else "no answer"


def _lane(row: Record) -> Lane:
    score = "" if row["score"] is None else f": score {row['score']}"
    return Lane(
        model=row["model"],
        length=row["length"],
        commits=tuple(Commit(*commit) for commit in row["commits"]),
        verdict=outcome(row) + score,
        text=row["response"],
    )
