"""The report: one HTML page that a researcher shows to others, with everything on it as files.

Importing this room loads neither matplotlib nor Jinja2.
"""

from pathlib import Path

from midspan.report.model import (
    Cell,
    Claim,
    Commit,
    Figure,
    Headline,
    Lane,
    Number,
    Player,
    Report,
    Section,
    Table,
    Transcript,
    Turn,
    Verdict,
)

__all__ = [
    "Cell",
    "Claim",
    "Commit",
    "Figure",
    "Headline",
    "Lane",
    "Number",
    "Player",
    "Report",
    "Section",
    "Table",
    "Transcript",
    "Turn",
    "Verdict",
    "write_report",
]


def write_report(report: Report, folder: Path) -> Path:
    """Write ``report.html`` and ``.md``, ``tables/*`` and ``figures/*``; return the page's path."""
    from midspan.report.write import write

    return write(report, folder)
