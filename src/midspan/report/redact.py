"""Takes out of a report what models wrote; structure, numbers and verdicts stay."""

from dataclasses import replace

from midspan.report.model import Cell, Commit, Lane, Report, Table, Transcript, Turn

_LONGEST = 14  # letters of a blotted word


def withheld(text: str) -> str:
    """What stands in place of a text."""
    return f"[generated text withheld, {len(text)} characters]"


def redacted(report: Report) -> Report:
    """The report as its files may say it: without generated text, if that is to be kept back."""
    if not report.redact:
        return report
    sections = tuple(
        replace(section, tables=tuple(map(_table, section.tables))) for section in report.sections
    )
    players = tuple(
        replace(player, lanes=tuple(map(_lane, player.lanes))) for player in report.players
    )
    transcripts = tuple(map(_transcript, report.transcripts))
    return replace(report, sections=sections, players=players, transcripts=transcripts)


def _table(table: Table) -> Table:
    return replace(table, rows=tuple(tuple(map(_cell, row)) for row in table.rows))


def _cell(cell: Cell | str) -> Cell | str:
    if isinstance(cell, Cell) and cell.generated:
        return replace(cell, text=withheld(cell.text))
    return cell


def _transcript(transcript: Transcript) -> Transcript:
    return replace(transcript, turns=tuple(map(_turn, transcript.turns)))


def _turn(turn: Turn) -> Turn:
    return turn._replace(text=withheld(turn.text)) if turn.generated else turn


def _lane(lane: Lane) -> Lane:
    return replace(lane, commits=tuple(map(_commit, lane.commits)), text=withheld(lane.text))


def _commit(commit: Commit) -> Commit:
    return commit._replace(word="\u2592" * min(len(commit.word), _LONGEST))
