"""``midspan report`` and ``midspan compare``: what finished runs say."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from midspan.commands.names import checked_path

Run = Annotated[
    Path,
    typer.Argument(help="Folder of a finished run.", show_default=False, callback=checked_path),
]


def report(
    run: Run,
    include_generations: Annotated[
        bool,
        typer.Option(
            "--include-generations",
            help="Write what real models generated too, folded in the page.",
        ),
    ] = False,
) -> None:
    """Write the report of a finished run anew: page, Markdown, LaTeX, CSV and figures.

    A folder that lm-eval wrote with --output_path has a report too.
    What a real model wrote is left out by default; what the organism wrote is harmless and stands.
    """
    from midspan.adapters.lm_eval_page import is_lm_eval, report_of
    from midspan.report import write_report
    from midspan.runs.folder import FinishedRun
    from midspan.runs.kinds import read_report

    page = report_of(run) if is_lm_eval(run) else read_report(FinishedRun.open(run))
    if include_generations and page.redact:
        page = replace(page, redact=False, fold=True)
    typer.echo(write_report(page, run))


def compare(
    first: Run,
    second: Run,
    everything: Annotated[bool, typer.Option("--all", help="Also cells without a change.")] = False,
    markdown: Annotated[
        Path | None, typer.Option(help="Write all cells as Markdown to this file.")
    ] = None,
) -> None:
    """Which cells changed from one run to another, with tests; same decoding settings only."""
    from midspan.files import write_atomic
    from midspan.report.markdown import table_markdown
    from midspan.report.tables import table_text
    from midspan.runs.compare import change_table, compare_runs
    from midspan.runs.folder import FinishedRun

    changes = compare_runs(FinishedRun.open(first), FinishedRun.open(second))
    table = change_table(changes, everything)
    typer.echo(table_text(table) if table.rows else "No cell changed.")
    typer.echo(f"\n{table.caption}")
    if markdown is not None:
        whole = change_table(changes, everything=True)
        page = f"# {first} and {second}\n\n{table_markdown(whole)}\n\n{whole.caption}\n"
        write_atomic(markdown, page)
