"""Lays a report into a run folder: the page, and its tables and figures as plain files."""

from collections.abc import Iterable
from pathlib import Path

from midspan.engine.journal import write_atomic
from midspan.report.model import Figure, Report, Table
from midspan.report.page import render
from midspan.report.tables import slug, table_csv


def write(report: Report, folder: Path) -> Path:
    """Write everything, the page last, so that a page never points to missing files."""
    tables = [table for section in report.sections for table in section.tables]
    figures = [figure for section in report.sections for figure in section.figures]
    table_names, figure_names = file_names(tables), file_names(figures)
    for table, name in zip(tables, table_names, strict=True):
        write_atomic(folder / "tables" / f"{name}.csv", table_csv(table))
    for figure, name in zip(figures, figure_names, strict=True):
        write_atomic(folder / "figures" / f"{name}.svg", figure.svg)
        if figure.csv:
            write_atomic(folder / "figures" / f"{name}.csv", figure.csv)
    path = folder / "report.html"
    write_atomic(path, render(report))
    return path


def file_names(items: Iterable[Table | Figure]) -> list[str]:
    """One safe file name each; a second one of the same name gets the suffix ``-2``."""
    names: list[str] = []
    for item in items:
        base = slug(item.name or item.title)
        name, number = base, 1
        while name in names:
            number += 1
            name = f"{base}-{number}"
        names.append(name)
    return names
