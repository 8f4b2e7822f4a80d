"""``midspan report`` and ``midspan compare``: what finished runs say."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from midspan.commands.ends import Call, typed
from midspan.commands.names import checked_path

if TYPE_CHECKING:
    from midspan.report import Report

Run = Annotated[
    Path,
    typer.Argument(help="Folder of a finished run.", show_default=False, callback=checked_path),
]
Open = Annotated[bool, typer.Option("--open", help="Open the page in a browser.")]


def report(
    run: Annotated[
        Path,
        typer.Argument(
            help="Folder of a finished run, or of several runs.",
            show_default=False,
            callback=checked_path,
        ),
    ],
    include_generations: Annotated[
        bool,
        typer.Option(
            "--include-generations",
            help="Write what real models generated too, folded in the page.",
        ),
    ] = False,
    open_page: Open = False,
) -> None:
    """Write the report of a finished run anew: page, Markdown, LaTeX, CSV and figures.

    A folder that lm-eval wrote with --output_path has a report too. Of a folder of runs an
    index.html is written, with what each of them found.
    What a real model wrote is left out by default; what the organism wrote is harmless and stands.
    """
    from midspan.report import write_report
    from midspan.report.styles import one_report
    from midspan.runs.folder import RUN_FILE
    from midspan.runs.overview import find_runs, write_overview

    call = Call(f"Writes the report of {typed(run)} anew", "seconds; minutes for a large study")
    if not (run / RUN_FILE).exists() and find_runs(run):
        path = write_overview(run)
    else:
        with one_report():
            page = _report_of(run)
            if include_generations and page.redact:
                page = replace(page, redact=False, fold=True)
            path = write_report(page, run)
    typer.echo(path)
    if open_page:
        _show(path)
    shown = run.parent if open_page else run
    call.end(f"The page is {typed(path)}", "midspan", "report", "--open", shown)


def _report_of(run: Path) -> "Report":
    from midspan.adapters.lm_eval_page import is_lm_eval, report_of
    from midspan.runs.folder import FinishedRun
    from midspan.runs.kinds import read_report

    return report_of(run) if is_lm_eval(run) else read_report(FinishedRun.open(run))


def _show(path: Path) -> None:
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        typer.echo(f"No browser was found; open {path}", err=True)


def compare(
    first: Run,
    second: Run,
    everything: Annotated[bool, typer.Option("--all", help="Also cells without a change.")] = False,
    markdown: Annotated[
        Path | None, typer.Option(help="Write all cells as Markdown to this file.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Write a page to this HTML file.")] = None,
    open_page: Annotated[
        bool,
        typer.Option("--open", help="Open the page in a browser; compare.html without --page."),
    ] = False,
) -> None:
    """Which cells changed from one run to another, with tests; same decoding settings only."""
    from midspan.commands.ends import command_line
    from midspan.files import write_atomic
    from midspan.report.markdown import table_markdown
    from midspan.report.tables import table_text
    from midspan.runs.compare import change_table, compare_runs
    from midspan.runs.folder import FinishedRun

    call = Call(f"Compares {typed(first)} with {typed(second)}, cell by cell", "seconds")
    runs = FinishedRun.open(first), FinishedRun.open(second)
    changes = compare_runs(*runs)
    table = change_table(changes, everything)
    typer.echo(table_text(table) if table.rows else "No cell changed.")
    typer.echo(f"\n{table.caption}")
    if markdown is not None:
        whole = change_table(changes, everything=True)
        text = f"# {first} and {second}\n\n{table_markdown(whole)}\n\n{whole.caption}\n"
        write_atomic(markdown, text)
    if page is None and open_page:
        page = Path("compare.html")
    if page is not None:
        from midspan.report.page import render
        from midspan.runs.compare_page import comparison_page

        write_atomic(page, render(comparison_page(*runs, changes, command_line())))
        typer.echo(page)
        if open_page:
            _show(page)
    if open_page:
        call.end(f"The page is {typed(page or '')}", "midspan", "report", "--open", second)
    else:
        call.end("The changes are above.", "midspan", "compare", first, second, "--open")
