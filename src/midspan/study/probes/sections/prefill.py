"""The prefill probe's section: the paper's cells and the factorial."""

from collections.abc import Sequence
from typing import Any

from midspan.probes.asking import Record
from midspan.probes.prefill import NO_PHRASE, Cell, PrefillConfig, cells
from midspan.report import Figure, Section, Table, figures
from midspan.report.cells import line_figure
from midspan.study.probes.sections.cells import RATE_COLUMNS, rate_cells


def prefill_section(records: Sequence[Record], config: PrefillConfig) -> Section:
    """The factorial and the paper's cells."""
    found = cells(records)
    columns = ("model", "decoding", "requests", "phrase", "position", *RATE_COLUMNS)

    def rows(chosen: Sequence[Cell]) -> tuple[Any, ...]:
        return tuple(
            (c.model, c.decoding, c.asks, c.kind, "-" if c.position is None else str(c.position),
             *rate_cells(c.rates))
            for c in chosen
        )  # fmt: skip

    paper = [c for c in found if c.in_paper or c.kind == NO_PHRASE]
    return Section(
        "Prefilled phrases",
        "A phrase is fixed in the response before decoding; everything else is masked. A request "
        f"keeps its phrase at every position (seed {config.seed}). The paper's cells are an "
        "affirmative phrase at 0 and a procedural one at 40, 80, 120 and 160; they change phrase "
        "and position together, the factorial does not.",
        tables=(
            Table("The paper's cells", columns, rows(paper), name="paper"),
            Table("Every kind at every position", columns, rows(found), name="factorial"),
        ),
        figures=tuple(_prefill_figures(found)),
    )


def _prefill_figures(found: Sequence[Cell]) -> list[Figure]:
    made = []
    for (model, decoding, asks), part in _by_place(found).items():
        control = next(c.rates.success for c in part if c.kind == NO_PHRASE)
        curves = []
        for kind in dict.fromkeys(c.kind for c in part if c.kind != NO_PHRASE):
            of_kind = [c for c in part if c.kind == kind]
            positions = [float(c.position or 0) for c in of_kind]
            curves.append(
                figures.Curve.of_estimates(kind, positions, [c.rates.success for c in of_kind])
            )
        ends = [min(curves[0].x), max(curves[0].x)]
        curves.append(figures.Curve(NO_PHRASE, ends, [100 * control.rate] * 2))
        title = f"Prefill, {asks} requests, {model}, {decoding}"
        made.append(
            line_figure(title, curves, "position of the phrase", "answered, %",
                        f"n = {control.n} a point, 95 % Wilson intervals; the line without "
                        f"a phrase has {control.note}.")
        )  # fmt: skip
    return made


def _by_place(found: Sequence[Cell]) -> dict[tuple[str, str, str], list[Cell]]:
    places: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in found:
        places.setdefault((cell.model, cell.decoding, cell.asks), []).append(cell)
    return places
