"""The page of a study that trained adapters, and what it measured of them in their cards."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from midspan.alignment.card import add_measurements
from midspan.report import Report, Table, write_report
from midspan.report.markdown import escape, table_markdown
from midspan.report.styles import one_report
from midspan.runs.folder import FinishedRun
from midspan.runs.kinds import kind_of


def write_page_and_cards(folder: Path, base: str, adapters: Mapping[str, Sequence[Path]]) -> Path:
    """Write the page of a finished run, and its tables into the cards of its adapters.

    A card has its adapter's column beside that of the base. The report is made once for both: its
    figures take longer than all the rest.

    Args:
        folder: The run's.
        base: What heads the base's column.
        adapters: Adapter folders by what heads their column; several share one where it pools them.

    Returns:
        The page's path.
    """
    run = FinishedRun.open(folder)
    with one_report():
        report = kind_of(run).report(run)
        page = write_report(report, run.path)
    for label, folders in adapters.items():
        text = _measurements(report, base, label)
        for adapter in folders:
            add_measurements(adapter, text)
    return page


def _measurements(report: Report, base: str, label: str) -> str:
    parts = [f"{escape(report.title)}. {escape(report.subtitle)}"]
    for section in report.sections:
        for table in section.tables:
            if {base, label} <= set(table.columns):
                parts += [f"### {escape(section.title)}: {escape(table.title)}"]
                parts += [table_markdown(_columns(table, base, label)), escape(table.caption)]
    parts.append("\n".join(f"- {escape(limit)}" for limit in report.limits))
    parts.append(f"By: `{report.settings['command']}`")
    return "\n\n".join(part for part in parts if part)


def _columns(table: Table, base: str, label: str) -> Table:
    """The first column, which names the rows, and those of two models."""
    kept = (0, table.columns.index(base), table.columns.index(label))
    rows = tuple(tuple(row[index] for index in kept) for row in table.rows)
    return replace(table, columns=tuple(table.columns[index] for index in kept), rows=rows)
