"""The report: one HTML file that a researcher shows to others, with its tables and figures.

Importing this room loads neither matplotlib nor Jinja2.
"""

from pathlib import Path

from midspan.report.model import (
    Cell,
    Claim,
    Figure,
    Lane,
    Player,
    Report,
    Section,
    Table,
)

__all__ = [
    "Cell",
    "Claim",
    "Figure",
    "Lane",
    "Player",
    "Report",
    "Section",
    "Table",
    "write_report",
]


def write_report(report: Report, folder: Path) -> Path:
    """Write ``report.html``, ``tables/*.csv`` and ``figures/*``; return the path of the page."""
    from midspan.report.write import write

    return write(report, folder)
