"""Lays a report into a run folder: the pages, and tables and figures as plain files."""

from collections.abc import Iterable
from pathlib import Path

from midspan.files import write_atomic
from midspan.report.latex import table_latex
from midspan.report.markdown import report_markdown
from midspan.report.model import Claim, Figure, Report, Table
from midspan.report.page import render
from midspan.report.redact import redacted
from midspan.report.svg import standalone
from midspan.report.tables import slug, table_csv, transcripts_csv


def write(report: Report, folder: Path) -> Path:
    """Write everything, the page last, so that a page never points to missing files."""
    report = redacted(report)
    tables = tables_of(report)
    figures = [report.headline.figure] if report.headline and report.headline.figure else []
    figures += [figure for section in report.sections for figure in section.figures]
    figure_names = file_names(figures)
    for table, name in zip(tables, file_names(tables), strict=True):
        _put(folder / "tables" / f"{name}.csv", table_csv(table))
        _put(folder / "tables" / f"{name}.tex", table_latex(table, name))
    for figure, name in zip(figures, figure_names, strict=True):
        _put(folder / "figures" / f"{name}.svg", standalone(figure.svg))
        if figure.csv:
            _put(folder / "figures" / f"{name}.csv", figure.csv)
    if report.transcripts:
        _put(folder / "tables" / "transcripts.csv", transcripts_csv(report.transcripts))
    _put(folder / "report.md", report_markdown(report, figure_names))
    path = folder / "report.html"
    _put(path, render(report))
    return path


def tables_of(report: Report) -> list[Table]:
    """Every table of a report's sections, and its claims as one more."""
    tables = [table for section in report.sections for table in section.tables]
    return [*tables, _claims_table(report.claims)] if report.claims else tables


def _put(path: Path, text: str) -> None:
    """A page is made anew from the records where a power cut takes it."""
    write_atomic(path, text, durable=False)


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


def _claims_table(claims: Iterable[Claim]) -> Table:
    rows = tuple((c.text, c.outcome, c.expected, c.evidence, c.rule) for c in claims)
    return Table("Claims", ("claim", "outcome", "expected", "measured", "rule"), rows)
