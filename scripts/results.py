"""Writes tables and figures of finished runs into a page of results, beside command and revision.

Run: python scripts/results.py docs/results/probes.md [--runs FOLDER]

A page names what it shows in comments; what stands behind one, up to `<!-- end of results ... -->`,
is written anew:

    <!-- results
    run: order                                  # a run folder within FOLDER, by default runs
    table: order                                # its name or its title on the run's page, or Claims
    columns: [model, decoding, tau]             # all of them where none are named
    rows: {requests: [plain, benign]}           # all of them where none are named
    figures: ["Position by step, one block"]    # by their titles
    -->

The last line holds a digest of what was written: `tests/docs/test_result_blocks.py` fails where
somebody has edited a number. `--check` says which blocks were, and needs no run.
"""

import argparse
import hashlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from midspan.frozen import FrozenConfig
from midspan.report import Figure, Report, Table
from midspan.report.markdown import table_markdown
from midspan.report.svg import standalone
from midspan.report.write import tables_of
from midspan.runs.folder import FinishedRun
from midspan.runs.kinds import read_report

BLOCK = re.compile(
    r"(?P<head><!-- results\n(?P<spec>.*?)-->\n)(?P<body>.*?)"
    r"<!-- end of results(?: (?P<digest>[0-9a-f]{12}))? -->",
    re.DOTALL,
)


class Shown(FrozenConfig):
    """What one block shows of a run.

    Attributes:
        run: Its folder, within the folder of runs.
        table: Name or title of a table; "" for none.
        columns: Columns to show, in this order; none for all.
        rows: By column, the cells whose rows are shown; none for all.
        figures: Titles of figures.
    """

    run: str
    table: str = ""
    columns: tuple[str, ...] = ()
    rows: Mapping[str, tuple[str, ...]] = {}
    figures: tuple[str, ...] = ()


def digest(body: str) -> str:
    """The first twelve digits of a block's SHA-256."""
    return hashlib.sha256(body.encode()).hexdigest()[:12]


def edited(page: str) -> list[str]:
    """The runs whose blocks do not hold what was written."""
    blocks = BLOCK.finditer(page)
    return [read(block).run for block in blocks if digest(block["body"]) != block["digest"]]


def read(block: re.Match[str]) -> Shown:
    """What a block asks for."""
    fields: dict[str, Any] = yaml.safe_load(block["spec"])
    return Shown(**fields)


def chosen(table: Table, shown: Shown) -> Table:
    """A table's wanted columns and rows.

    Raises:
        SystemExit: It has no such column, or no such row.
    """
    columns = shown.columns or table.columns
    missing = {*columns, *shown.rows} - {*table.columns}
    if missing:
        sys.exit(f"{shown.run}: no column {min(missing)}; there are {', '.join(table.columns)}")
    place = {name: table.columns.index(name) for name in table.columns}
    rows = [
        tuple(row[place[name]] for name in columns)
        for row in table.rows
        if all(text(row[place[name]]) in wanted for name, wanted in shown.rows.items())
    ]
    if not rows:
        sys.exit(f"{shown.run}: {table.title} has no such row")
    return Table(table.title, columns, tuple(rows), table.caption, table.name)


def text(cell: object) -> str:
    """A cell's words, without its note."""
    return getattr(cell, "text", str(cell))


def table_of(report: Report, shown: Shown) -> Table:
    """The table of a report that a block names.

    Raises:
        SystemExit: There is none.
    """
    tables = tables_of(report)
    found = [table for table in tables if shown.table in (table.name, table.title)]
    if not found:
        names = ", ".join(table.title for table in tables)
        sys.exit(f"{shown.run}: no table {shown.table}; there are {names}")
    return chosen(found[0], shown)


def figures_of(report: Report, shown: Shown) -> list[Figure]:
    """The figures of a report that a block names.

    Raises:
        SystemExit: One is missing.
    """
    figures = [figure for section in report.sections for figure in section.figures]
    if report.headline and report.headline.figure:
        figures.insert(0, report.headline.figure)
    by_title = {figure.title: figure for figure in figures}
    missing = [title for title in shown.figures if title not in by_title]
    if missing:
        sys.exit(f"{shown.run}: no figure {missing[0]}; there are {'; '.join(by_title)}")
    return [by_title[title] for title in shown.figures]


def origin(run: FinishedRun) -> str:
    """The line that says what a block was made by."""
    said = run.origin
    machine = f"{said.get('cpu', 'an unknown processor')}, midspan {said['version: midspan']}"
    return f"Made by `{said['command']}` at revision `{said['source revision'][:12]}` ({machine})."


def body(shown: Shown, runs: Path, folder: Path) -> str:
    """What stands in a block; figures are written beside the page, into ``folder``/figures."""
    run = FinishedRun.open(runs / shown.run)
    report = read_report(run)
    parts = []
    for figure in figures_of(report, shown):
        name = "-".join(re.findall(r"[a-z0-9]+", f"{shown.run} {figure.title}".lower()))
        (folder / "figures").mkdir(exist_ok=True)
        (folder / "figures" / f"{name}.svg").write_text(standalone(figure.svg), encoding="utf-8")
        parts.append(f"![{figure.title}](figures/{name}.svg)\n\n*{figure.title}. {figure.caption}*")
    if shown.table:
        parts.append(table_markdown(table_of(report, shown)))
    return "\n" + "\n\n".join([*parts, origin(run)]) + "\n\n"


def written(page: str, runs: Path, folder: Path) -> str:
    """A page with its blocks written from the runs that are there; the others stay."""

    def one(block: re.Match[str]) -> str:
        shown = read(block)
        if not (runs / shown.run / "records.jsonl").is_file():
            print(f"kept: {shown.run} (no finished run in {runs / shown.run})", file=sys.stderr)
            return block[0]
        made = body(shown, runs, folder)
        return f"{block['head']}{made}<!-- end of results {digest(made)} -->"

    return BLOCK.sub(one, page)


def main() -> None:
    """Rewrite the pages, or say which blocks were edited."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    faults = []
    for path in args.pages:
        page = path.read_text(encoding="utf-8")
        if args.check:
            faults += [f"{path}: the block of {run} was edited by hand" for run in edited(page)]
        else:
            path.write_text(written(page, args.runs, path.parent), encoding="utf-8")
    print("\n".join(faults), end="\n" if faults else "")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
